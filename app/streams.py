"""Answers that go on and on: one thread of a process sends all of them, as it comes.

What is sent is an iterator. It gives bytes, or b"" where there is nothing more for now, and is
asked again a moment later. Its end is the end of the connection, as is a client that hangs up, or
takes nothing for too long. Whoever gives it sees to how many there are.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

STEP_SECONDS = 0.5  # between two looks at what has come
STALL_SECONDS = 60.0  # that a client may take nothing
TURNS = 16  # of one stream, before the others have theirs
logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Stream:
    """One connection, and what it is sent."""

    sock: Any
    source: Iterator[bytes]
    end: Callable[[], None]
    rest: bytes  # what the client has not taken yet
    taken_at: float = field(default_factory=time.monotonic)

    def turn(self) -> bool:
        """Sends what there is; whether more may come."""
        if _has_hung_up(self.sock):
            return False
        for _ in range(TURNS):
            if not self.rest:
                self.rest = next(self.source)
                self.taken_at = time.monotonic() if self.rest else self.taken_at
            if not self.rest or not self._send():
                break
        return not self.rest or time.monotonic() < self.taken_at + STALL_SECONDS

    def _send(self) -> bool:
        """Whether the client took all of it."""
        try:
            sent = self.sock.send(self.rest)
        except BlockingIOError:
            return False
        self.rest, self.taken_at = self.rest[sent:], time.monotonic()
        return not self.rest

    def close(self) -> None:
        """Ends it."""
        with suppress(Exception):
            self.source.close()  # type: ignore[attr-defined]
        self.end()


class Streams:
    """All such connections of a process. Its thread begins with the first of them."""

    def __init__(self) -> None:
        self._streams: list[_Stream] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._over = False

    def __len__(self) -> int:
        return len(self._streams)

    def take(
        self, sock: Any, head: bytes, source: Iterator[bytes], end: Callable[[], None]
    ) -> None:
        """Sends this from now on, behind a head. `end` is called once nobody needs the socket."""
        sock.setblocking(False)
        stream = _Stream(sock, source, end, head)
        with self._changed:
            if not self._over:
                if self._thread is None:  # not earlier: a thread does not outlive a fork
                    self._start()
                if self._thread is not None:
                    self._streams.append(stream)
                    self._changed.notify()
                    return
        stream.close()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="streams", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many; the event loop, which calls, goes on
            logger.error("nobody can follow: %s", error)
        else:
            self._thread = thread

    def end(self) -> None:
        """Ends all of them, now and in time to come."""
        with self._changed:
            streams, self._streams, self._over = self._streams, [], True
        for stream in streams:
            stream.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._streams)
                streams = self._streams[:]
            for stream in streams:
                if not _goes_on(stream):
                    self._leave(stream)
            with self._changed:
                self._changed.wait(STEP_SECONDS)  # a new one has its head at once

    def _leave(self, stream: _Stream) -> None:
        with self._changed:
            if stream not in self._streams:  # it was ended from outside
                return
            self._streams.remove(stream)
        stream.close()


def head_of(status: str, headers: Sequence[tuple[str, str]], *_: object) -> bytes:
    """The head of an answer whose body ends with the connection."""
    kept = [one for one in headers if one[0].lower() != "content-length"]  # of the one not sent
    fields = [*kept, ("Date", formatdate(usegmt=True)), ("Connection", "close")]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _goes_on(stream: _Stream) -> bool:
    try:
        return stream.turn()
    except (StopIteration, OSError):
        return False
    except Exception:  # this thread must not end: the others would wait for ever
        logger.exception("a fault of ours")
        return False


def _has_hung_up(sock: Any) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
