"""Which images of this machine came by a pull of ours, and when a job last wanted each.

    <spool root>/images/<digest of the id>       the id and its references; its time is the last use
    <spool root>/images/<digest of a ref>.pull   the turn of those who pull that reference

Every worker of the machine reads and writes them. What is lost here is only never collected.
"""

import hashlib
import json
import os
import secrets
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from workers import turns
from workers.images import PulledImage

TURN_SECONDS = 24 * 3600.0  # how long the file of a turn is kept after it was last had


class ImageRecords:
    """The records, in a directory that is made if need be; None: in one of this process alone."""

    def __init__(self, folder: Path | None) -> None:
        self._own = None if folder else tempfile.TemporaryDirectory(prefix="onejob-images-")
        self._folder = folder or Path(self._own.name if self._own else "")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def turn_path(self, ref: str) -> Path:
        """The file of the turn for a reference's pull."""
        return self._folder / f"{_name(ref)}.pull"

    def note_pulled(self, id: str, ref: str) -> None:
        """A pull of ours has brought this image."""
        known = self._read(self._path(id))
        refs = sorted({ref, *(known.refs if known else ())})
        draft = self._folder / f".{secrets.token_hex(8)}"
        with draft.open("w") as file:
            json.dump({"id": id, "refs": refs}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path(id))

    def has(self, id: str) -> bool:
        """Whether a pull of ours brought it."""
        return self._path(id).exists()

    def note_used(self, id: str) -> None:
        """A job wants this image now."""
        with suppress(OSError):  # it is not ours, or the disk is full
            os.utime(self._path(id))

    def used_at(self, id: str) -> datetime | None:
        """When a job last wanted it; None if it is not ours."""
        with suppress(OSError):
            return datetime.fromtimestamp(self._path(id).stat().st_mtime, UTC)
        return None

    def forget(self, id: str) -> None:
        """It is gone."""
        self._path(id).unlink(missing_ok=True)

    def all(self) -> list[PulledImage]:
        """All of them, the least recently used first."""
        paths = [p for p in self._folder.iterdir() if not p.suffix and p.name[0] != "."]
        return sorted(filter(None, map(self._read, paths)), key=lambda image: image.used_at)

    def tidy(self) -> None:
        """Removes what pulls of long ago, or those that were killed, have left."""
        for path in [*self._folder.glob("*.pull"), *self._folder.glob(".*")]:
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - TURN_SECONDS:
                    turns.free(path)

    def _path(self, id: str) -> Path:
        return self._folder / _name(id)

    def _read(self, path: Path) -> PulledImage | None:
        try:
            used_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            record = json.loads(path.read_bytes())
            return PulledImage(record["id"], tuple(record["refs"]), used_at)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
