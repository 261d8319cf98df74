"""The spool: one directory per attempt on the engine's host, shared with the attempt's usher.

    <spool root>/node                 the node's identity
    <spool root>/usher-<digest>       the usher's binary
    <spool root>/images/              see `workers.image_records`
    <spool root>/held/                marks of what worker processes hold: `workers.holding`
    <spool root>/attempts/            only root can enter
    <spool root>/attempts/<replica>/  mounted into the replica, writable by any user
        plan, argv, request           written by us, before the container is created
        started, events, response.*   written by the usher; `started` by us to keep it from running,
                                      as a link that leads nowhere

The app owns its directory: it may put links, FIFOs, gigabytes or lies there, and change them while
we read. So everything is read relative to a directory handle, without following links, regular
files only, bounded; and what is read concerns that one job.
"""

import os
import re
import secrets
import shutil
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from workers import durable

EVENTS_LIMIT = 64 * 1024
HEAD_LIMIT = 256 * 1024
CHUNK_BYTES = 1024 * 1024
TORN_STEP = (
    "write this machine's id into it (its replicas' label onejob.node, and `onejob node list`, have"
    " it), or remove it, and `onejob node forget` that id: then this is a new machine"
)
_NODE = re.compile(r"[0-9a-f]{16}", re.ASCII)
_KEPT = "kept"  # where the run-once marker leads as a link; the usher's own is a file


class Untrusted(Exception):
    """The file in the spool is not one that we read."""


class Spool:
    """One attempt's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def events_path(self) -> Path:
        """The file whose growth tells of a new event."""
        return self.path / "events"

    def exists(self) -> bool:
        """Whether the directory is there, whole: it appears by one rename."""
        return self.path.is_dir()

    def made_at(self) -> datetime | None:
        """When something was last made in it, None if it is gone."""
        with suppress(OSError):
            return datetime.fromtimestamp(self.path.stat(follow_symlinks=False).st_mtime, UTC)
        return None

    def started(self) -> bool:
        """Whether the usher took its run-once marker: the container ran."""
        return os.path.lexists(self.path / "started")

    def keep_from_starting(self) -> bool:
        """Takes the usher's run-once marker. False if it is taken: by the usher, most likely.

        A container that is started after this ends at once.
        """
        try:
            os.symlink(_KEPT, self.path / "started")  # at once whole, also where the disk is full
        except FileExistsError:
            return False
        except FileNotFoundError:
            return True  # without its directory it can't be started
        return True

    def kept_from_starting(self) -> bool:
        """Whether a supervisor took the marker, and no usher."""
        try:
            return os.readlink(self.path / "started") == _KEPT
        except OSError:
            return False

    def prepare(
        self, plan: Mapping[str, str | int], argv: Iterable[str], request: Iterable[bytes]
    ) -> None:
        """Makes the directory with what the usher needs, all or nothing.

        One that another supervisor of the same attempt made is left as it is: its content is
        the same.
        """
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        draft.mkdir(mode=0o700)
        try:
            _fill(draft, plan, argv, request)
            draft.chmod(0o777)
            draft.rename(self.path)
        except Exception as error:  # the request is read from the ledger: anything may fail
            remove_tree(draft)
            if not isinstance(error, OSError) or not self.exists():
                raise

    def read_all_events(self) -> str | None:
        """The event file's text; None if it can't be read, or not to its end."""
        try:
            with _regular_file(self.path, "events") as handle:
                text = os.read(handle, EVENTS_LIMIT + 1)
        except (OSError, Untrusted):
            return None
        return text.decode("ascii", "replace") if len(text) <= EVENTS_LIMIT else None

    def read_events(self) -> str:
        """The event file's text, the first 64 KiB; empty if there is none to trust."""
        try:
            with _regular_file(self.path, "events") as handle:
                return os.read(handle, EVENTS_LIMIT).decode("ascii", "replace")
        except (OSError, Untrusted):
            return ""

    def read_head(self) -> bytes:
        """The stored response's head. Raises OSError, Untrusted."""
        return b"".join(self._read("response.head", HEAD_LIMIT))

    def read_body(self, limit: int) -> Iterator[bytes]:
        """The stored response's body in chunks. Raises OSError; Untrusted if it is longer."""
        return self._read("response.body", limit)

    def remove(self) -> None:
        """Removes the directory, whatever the app made of it. Gone already is fine."""
        remove_tree(self.path)

    def _read(self, name: str, limit: int) -> Iterator[bytes]:
        with _regular_file(self.path, name) as handle:
            left = limit
            while chunk := os.read(handle, min(CHUNK_BYTES, left + 1)):
                if len(chunk) > left:
                    raise Untrusted(f"{name} is longer than {limit} bytes")
                left -= len(chunk)
                yield chunk


class SpoolRoot:
    """All attempts of one node, and the node's identity."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.attempts = path / "attempts"
        self.images = path / "images"

    def make(self) -> str:
        """Makes what is missing and returns the node's id, random and made once.

        Raises OSError; Torn where the id was lost.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.attempts.mkdir(mode=0o700, exist_ok=True)
        self.attempts.chmod(0o700)
        identity = self.path / "node"
        if not identity.exists():
            durable.make_once(identity, secrets.token_hex(8))
        return durable.read(identity, _is_node, TORN_STEP)

    def attempt(self, replica: str) -> Spool:
        """The directory of one replica, there or not."""
        return Spool(self.attempts / replica)

    def replicas(self) -> list[str]:
        """Names of the replicas that have a directory."""
        return sorted(p.name for p in self.attempts.iterdir() if not p.name.startswith("."))

    def remove_drafts(self, older_seconds: float) -> list[str]:
        """Removes what a killed worker left of a directory it was making; returns the names."""
        removed = []
        for path in self.attempts.glob(".*"):
            with suppress(FileNotFoundError):  # it was finished, or another sweep was faster
                if path.stat(follow_symlinks=False).st_mtime < time.time() - older_seconds:
                    remove_tree(path)
                    removed.append(path.name)
        return removed


def _is_node(text: str) -> bool:
    return _NODE.fullmatch(text) is not None


def remove_tree(path: Path) -> None:
    """Removes a directory tree that an app may have filled. Gone already is fine."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        # Deeper than Python recurses, or changed while it was read.
        subprocess.run(["rm", "-rf", "--", str(path)], check=False)


def _fill(
    draft: Path, plan: Mapping[str, str | int], argv: Iterable[str], request: Iterable[bytes]
) -> None:
    lines = "".join(f"{key} {value}\n" for key, value in plan.items())
    _write(draft / "plan", [lines.encode()])
    _write(draft / "argv", [argument.encode() + b"\0" for argument in argv])
    _write(draft / "request", request)
    # Made here, so that it can be watched from the start; writable by the image's user.
    (draft / "events").touch()
    (draft / "events").chmod(0o666)


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
    path.chmod(0o644)


@contextmanager
def _regular_file(directory: Path, name: str) -> Iterator[int]:
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Untrusted(f"{name} is not a regular file")
        yield handle
    finally:
        os.close(handle)
