"""Reading from a client's connection, with a bound on the time it may take.

All waiting for a client counts, and what arrives makes up for it: so a client that sends a byte
now and then is given up as well as one that sends nothing, and a large body over a slow line is
not.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.unreader import SocketUnreader

BYTES_PER_SECOND = 8 * 1024  # what a client has to send on average, once its patience is used up
SKIP_BYTES = 64 * 1024  # a body that nobody wants is read to its end up to this size,
SKIP_SECONDS = 0.05  # if it is here by then; else its connection ends


class TooSlow(ParseException):  # type: ignore[misc]
    """A request's head did not arrive in time."""


class BrokenBody(OSError):
    """A request's body ended early, stalled, or is no valid chunked encoding."""


class PatientUnreader(SocketUnreader):  # type: ignore[misc]
    """Reads from a connection. Raises TimeoutError when it was waited for long enough."""

    def __init__(self, sock: Any, head_seconds: float, body_seconds: float) -> None:
        super().__init__(sock)
        self._head_seconds = head_seconds
        self._body_seconds = body_seconds
        self.expect(head_seconds)

    def expect_head(self) -> None:
        """From now on a head is waited for."""
        self.expect(self._head_seconds)

    def expect_body(self) -> None:
        """From now on a body is waited for."""
        self.expect(self._body_seconds)

    def expect(self, seconds: float) -> None:
        """From now on the client has this patience: no pause is longer."""
        self._patience = self._left = seconds

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes, empty at the end of the stream."""
        if self._left <= 0:
            raise TimeoutError("waited long enough")
        began = time.monotonic()
        self.sock.settimeout(self._left)
        data: bytes = super().chunk(size_hint)
        waited = time.monotonic() - began
        self._left = min(self._patience, self._left - waited + len(data) / BYTES_PER_SECOND)
        return data


class WireBody(Body):  # type: ignore[misc]
    """A request's body. It carries what else of the request WSGI has no place for.

    Every read raises BrokenBody unless the body arrives whole.
    """

    def __init__(self, reader: Any, request: Any) -> None:
        super().__init__(reader)
        self.wire_headers: list[tuple[str, str]] = request.wire_headers
        self.began = time.perf_counter()  # its head is there
        self.awaited = False  # the client sends it only once it was asked to
        self.held: Future[bool] | None = None  # the answer waits for this (see app/held.py),
        self.resumed = False  # and is asked for again now.
        # To be called if the answer that may be held is sent after all: it counts then.
        self.answered: Callable[[], None] = _nothing
        # What is sent instead of a body, as it comes: see app/streams.py.
        self.stream: Iterator[bytes] | None = None
        self.stream_head = b""
        self._request = request

    @property
    def complete(self) -> bool:
        """Whether all of it was taken from the connection."""
        if isinstance(self.reader, ChunkedReader):
            return not self.failed and self.reader.parser is None
        return not self.failed and self.reader.length == 0

    def settle(self) -> None:
        """To be called before the answer: what is left is read, or the connection ends with it.

        The next request would otherwise be looked for in the middle of this one, or a thread
        wait for a client that has its answer and need not send any more.
        """
        small = getattr(self.reader, "length", 0) <= SKIP_BYTES
        if not self.complete and small and not self.awaited:
            self._skip()
        if not self.complete:
            self._request.force_close()

    def _skip(self) -> None:
        self._request.unreader.expect(SKIP_SECONDS)
        try:
            self.read(SKIP_BYTES)
        except BrokenBody:
            return

    def _ask(self) -> None:
        if self.awaited:
            self.awaited = False
            self._request.unreader.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _read_reader(self, size: int) -> bytes:
        expected = min(size, getattr(self.reader, "length", 0))
        try:
            self._ask()
            data: bytes = super()._read_reader(size)
        except TimeoutError as error:
            raise BrokenBody("the rest of it did not arrive in time") from error
        except NoMoreData as error:
            raise BrokenBody("it ended too early") from error
        except (ParseException, OSError) as error:
            raise BrokenBody(str(error)) from error
        if len(data) < expected:
            self.failed = True
            raise BrokenBody(f"it ended {expected - len(data)} bytes or more too early")
        return data


def _nothing() -> None:
    pass
