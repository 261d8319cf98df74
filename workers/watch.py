"""Tells when a file grows, through one inotify instance for the whole process.

An instance per attempt would run into the host's limit (128 by default), and a thread per attempt
into its memory. It only rings a bell: whoever hears it reads the file.

Apps can write to their file without a pause. Of what comes close together one ring is made, so
that none of them takes the process's time from the others.
"""

import ctypes
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_MODIFY = 0x00000002
_IN_IGNORED = 0x00008000
_IN_DONT_FOLLOW = 0x02000000  # an app may have put a link there
_IN_CLOEXEC = os.O_CLOEXEC
_REST_SECONDS = 0.005  # the kernel joins equal events meanwhile
_EVENT = struct.Struct("iIII")  # watch descriptor, mask, cookie, length of the name
_OVERFLOWN = -1  # events were lost: it may have been any
_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """Rings callbacks when watched files are written to."""

    def __init__(self) -> None:
        self._fd = _checked(_libc.inotify_init1(_IN_CLOEXEC))
        self._lock = threading.Lock()
        # Two who watch one file get the same descriptor from the kernel.
        self._bells: dict[int, list[Callable[[], None]]] = {}
        self._thread = threading.Thread(target=self._read, name="spool-watcher", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(self, path: Path, bell: Callable[[], None]) -> Iterator[None]:
        """Rings `bell` after writes to `path` inside the block. Raises OSError."""
        with self._lock:
            mask = _IN_MODIFY | _IN_DONT_FOLLOW
            watch = _checked(_libc.inotify_add_watch(self._fd, os.fsencode(path), mask))
            self._bells.setdefault(watch, []).append(bell)
        try:
            yield
        finally:
            with self._lock:
                bells = self._bells[watch]
                bells.remove(bell)
                if not bells:
                    del self._bells[watch]
                    _libc.inotify_rm_watch(self._fd, watch)  # gone with its file: fine

    def _read(self) -> None:
        while True:
            data = os.read(self._fd, 64 * 1024)
            for bell in self._rung_by(data):
                bell()
            time.sleep(_REST_SECONDS)

    def _rung_by(self, data: bytes) -> list[Callable[[], None]]:
        with self._lock:
            watches = set(_descriptors(data))
            if _OVERFLOWN in watches:
                watches = set(self._bells)
            return [bell for watch in watches for bell in self._bells.get(watch, ())]


def _descriptors(data: bytes) -> Iterator[int]:
    offset = 0
    while offset < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size + length
        if not mask & _IN_IGNORED:
            yield watch


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
