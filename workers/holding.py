"""Which attempts the worker processes of a node hold, so that each can tell for all of them.

Of one whose image is being pulled there is neither container nor directory. So each process marks
what it holds by a file under a lock. A lock ends with its process; nothing waits for one.

    <spool root>/held/<replica>+<random>
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = "+"  # no replica has it in its name


class Holding:
    """The marks of one node."""

    def __init__(self, spool_root: Path) -> None:
        self._folder = spool_root / "held"

    @contextmanager
    def mark(self, replica: str) -> Iterator[None]:
        """Marks an attempt for the time of the block; not where the disk takes no mark."""
        mark: int | None = None
        path = self._folder / f"{replica}{_MARK}{secrets.token_hex(4)}"
        with suppress(OSError):
            mark = self._make(path)
        try:
            yield
        finally:
            if mark is not None:
                path.unlink(missing_ok=True)
                os.close(mark)

    def replicas(self) -> set[str]:
        """What any process of the node holds; marks of processes that are gone are removed."""
        if not self._folder.exists():
            return set()
        marks = [path for path in self._folder.iterdir() if not path.name.startswith(".")]
        return {path.name.rpartition(_MARK)[0] for path in marks if _held(path)}

    def _make(self, path: Path) -> int:
        """It appears locked: whoever finds one that is not may remove it."""
        self._folder.mkdir(exist_ok=True)
        draft = path.with_name(f".{path.name}")
        mark = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(mark, fcntl.LOCK_SH)
        draft.rename(path)
        return mark


def _held(path: Path) -> bool:
    try:
        mark = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # let go of just now
        return False
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(mark)
