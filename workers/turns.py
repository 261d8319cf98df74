"""Turns: of all processes of a machine, one at a time does a thing that need be done only once.

A turn is a lock on a file, which the kernel takes back from a process that ends. One that is
stopped keeps it and would hold up all others: so whoever has a turn shows again and again that it
lives, and nobody waits for one that does not.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOK_SECONDS = 0.05  # nothing tells when a lock is free, unless one waits for it without a bound
PATIENCE_SECONDS = 10.0  # with one that shows no life


class Turn:
    """A turn that is had, or was given up waiting for."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def note_done(self) -> None:
        """Notes that the thing is done as of now."""
        os.pwrite(self._handle, f"{time.monotonic():020.6f}".encode(), 0)

    def done_since(self, at: float) -> bool:
        """Whether it was done after that instant of the monotonic clock, which is the machine's.

        What was noted before the last boot may be from any instant, also from a later one.
        """
        with suppress(ValueError):
            return at <= float(os.pread(self._handle, 20, 0)) <= time.monotonic()
        return False


@contextmanager
def turn(path: Path, wait: Callable[[], None]) -> Iterator[Turn]:
    """A turn, as long as the block takes; `wait` is called while another one has it.

    When that one shows no life the block is entered all the same. What `wait` raises passes.
    Raises OSError.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(handle, wait)
        yield Turn(handle)
    finally:
        os.close(handle)  # which lets go of the lock


def free(path: Path) -> bool:
    """Removes the file of a turn that nobody has. Whoever opens it just now may share a turn."""
    with suppress(OSError), path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


def show_life(path: Path) -> None:
    """Whoever has the turn lives: at least every few seconds."""
    with suppress(OSError):
        os.utime(path)


def _wait_for(handle: int, wait: Callable[[], None]) -> None:
    seen, since = -1, time.monotonic()
    while not _locked(handle):
        shown = os.fstat(handle).st_mtime_ns
        if shown != seen:
            seen, since = shown, time.monotonic()
        elif time.monotonic() > since + PATIENCE_SECONDS:
            return
        wait()
        time.sleep(LOOK_SECONDS)
    os.utime(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
