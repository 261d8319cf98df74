"""The HTTP server's parts that are ours: gunicorn's thread worker, changed where it has to be.

- WSGI's environ has no place for what the data plane needs: header names as they were written,
  repeated headers one by one, names with underscores. So the parser keeps them, and they travel
  with the request's body, the one object of the request that the environ carries.
- A request that is refused before the application sees it gets a JSON error, as all others do.
- No client holds a thread by doing nothing: one that has not sent a byte yet, has had its last
  answer, or waits for the end of its job, is left to the event loop; one that sends or takes too
  slowly is given up.
"""

import errno
import json
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from app.held import HoldingWorker
from app.wire import PatientUnreader, TooSlow, WireBody

HEAD_LIMIT = 256 * 1024  # bytes of all headers of a request
LINGER_SECONDS = 10.0  # how long what a client still sends is read and dropped
LINGER_PAUSE_SECONDS = 1.0  # and how long it may send nothing meanwhile
LINGER_BYTES = 64 * 1024  # at a time
ACCEPT_PAUSE_SECONDS = 0.01
_LONGEST_SHOWN = 200

# What the parser refuses, by HTTP status: (status, reason phrase).
_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    errors.LimitRequestLine: (414, "URI Too Long"),
    errors.LimitRequestHeaders: (431, "Request Header Fields Too Large"),
    errors.ExpectationFailed: (417, "Expectation Failed"),
    TooSlow: (408, "Request Timeout"),
    errors.ParseException: (400, "Bad Request"),
}


class WireRequest(Request):  # type: ignore[misc]
    """A request that remembers its headers as they came."""

    wire_headers: list[tuple[str, str]]
    body: Any
    _expected_100_continue: bool

    def parse(self, unreader: PatientUnreader) -> Any:
        """Reads the request's head. Raises ParseException."""
        # gunicorn's own bound is the number of fields times their size: 125 MiB.
        self.max_buffer_headers = HEAD_LIMIT
        self.wire_headers = []
        unreader.expect_head()
        try:
            return super().parse(unreader)
        except TimeoutError as error:
            raise TooSlow("the request's head did not arrive in time") from error

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> Any:
        """Reads the headers as gunicorn does, and keeps them as they were written."""
        checked = super().parse_headers(data, from_trailer)
        if not from_trailer:
            lines = (line.partition(":") for line in data.decode("latin-1").split("\r\n"))
            self.wire_headers = [(name, value.strip(" \t")) for name, _, value in lines]
        return checked

    def set_body_reader(self) -> None:
        """Chooses how the body is read, and lets it carry the headers. Raises ParseException."""
        for name, value in self.headers:
            # gunicorn would also take "gzip, chunked", and the app never hear of the gzip.
            if name == "TRANSFER-ENCODING" and value.lower() != "chunked":
                raise errors.UnsupportedTransferCoding(value)
        super().set_body_reader()
        self.unreader.expect_body()
        self.body = WireBody(self.body.reader, self)
        # gunicorn would ask for the body at once, even of a request that is about to be refused.
        self.body.awaited, self._expected_100_continue = self._expected_100_continue, False


class WireParser(RequestParser):  # type: ignore[misc]
    """Reads the requests of one connection."""

    mesg_class = WireRequest

    def __init__(self, conn: Any, head_seconds: float, body_seconds: float) -> None:
        super().__init__(conn.cfg, conn.sock, conn.client)
        self.unreader = PatientUnreader(conn.sock, head_seconds, body_seconds)
        self.again = False  # the next request is the last one once more: it was held

    def __next__(self) -> Any:
        """The next request. Raises StopIteration, ParseException."""
        if self.again:
            self.again = False
            return self.mesg
        return super().__next__()


class Worker(HoldingWorker):
    """gunicorn's thread worker with our parser, our errors and our patience."""

    head_seconds = 10.0  # for a request's head
    body_seconds = 60.0  # the longest pause in a body, theirs or ours
    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: dict[Any, float] = {}  # connections, by when they are closed at last

    def load_wsgi(self) -> None:
        """Loads the application."""
        super().load_wsgi()
        self.wsgi = self.holding(self._settling(self.wsgi))

    def accept(self, listener: Any) -> None:
        """Takes a connection, or leaves it in the kernel's queue while there are no more handles.

        gunicorn's worker would end, and every request that it has with it.
        """
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            self.log.warning("no connection can be accepted: %s", error)
            time.sleep(ACCEPT_PAUSE_SECONDS)  # nothing tells when a handle is free

    def enqueue_req(self, conn: Any) -> None:
        """Hands a connection to a thread; a new one only when its first bytes are there."""
        is_new = conn.parser is None
        if is_new:
            conn.parser = WireParser(conn, self.head_seconds, self.body_seconds)
        if is_new and not _readable(conn.sock):
            conn.set_timeout()
            self.pending_conns.append(conn)
            self.watch(conn, self.on_pending_socket_readable)
        else:
            conn.data_ready = True
            super().enqueue_req(conn)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keeps the connection, or says goodbye without making the event loop wait for it."""
        broken = fs.cancelled() or fs.exception() is not None
        if broken or fs.result():
            super().finish_request(conn, fs)
        elif _is_over(conn):
            self.nr_conns -= 1
            conn.close()
        else:
            self._linger(conn)

    def murder_pending(self) -> None:
        """Closes connections whose time to wait, or to linger, is over."""
        if not self.alive:  # they have asked for nothing yet
            for conn in self.pending_conns:
                conn.timeout = 0
        super().murder_pending()
        now = time.monotonic()
        for conn, give_up in list(self._lingering.items()):
            # Where this process stood still itself, there may be something to drop by now.
            if now > give_up or (now > conn.timeout and not _readable(conn.sock)):
                self._leave(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answers a request that could not be read, or that broke the application."""
        for kind, (status, reason) in _REFUSALS.items():
            if isinstance(exc, kind):
                # The kind alone: what could not be read may be a credential.
                self.log.warning("refused a request of %s: %s", addr, type(exc).__name__)
                why = f"the request can't be read: {str(exc)[:_LONGEST_SHOWN]}"
                _answer(client, status, reason, "invalid_request", why)
                return
        self.log.error("error in a request of %s", addr, exc_info=exc)
        _answer(client, 500, "Internal Server Error", "server_error", "an error of the server")

    def _settling(self, app: Any) -> Any:
        """The application, with each connection settled before its answer begins."""

        def settled(environ: Any, start_response: Any) -> Any:
            def start(*args: Any) -> Any:
                environ["wsgi.input"].settle()
                environ["gunicorn.socket"].settimeout(self.body_seconds)
                return start_response(*args)

            return app(environ, start)

        return settled

    def _linger(self, conn: Any) -> None:
        """Closes our side, and the other one once the client has closed it or time is up.

        Closed at once on bytes that are still to come, the connection would be reset, and the
        reset can overtake the answer. gunicorn waits here up to 2 s, and accepts nothing meanwhile.
        """
        now = time.monotonic()
        self._lingering[conn] = now + LINGER_SECONDS
        conn.timeout = now + LINGER_PAUSE_SECONDS
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            self.watch(conn, self._drop)
        except (OSError, ValueError):  # the client, or gunicorn after a fault, closed it already
            self._leave(conn)

    def _drop(self, conn: Any, sock: Any) -> None:
        try:
            data = sock.recv(LINGER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.timeout = time.monotonic() + LINGER_PAUSE_SECONDS
        if not data:
            self._leave(conn)

    def _leave(self, conn: Any) -> None:
        del self._lingering[conn]
        with suppress(OSError, KeyError, ValueError):  # closed, or never registered
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _is_over(conn: Any) -> bool:
    """Whether this was the client's last request, by its own words, and nothing came behind it.

    Then no bytes are to come on which the connection could be reset.
    """
    request = conn.parser.mesg
    if request is None or request.must_close or not request.should_close():
        return False
    more = conn.parser.unreader.buf.getvalue() or _readable(conn.sock)
    return request.body.complete and not more


def _readable(sock: Any) -> bool:
    """Whether there is something to read by now, be it the end."""
    try:
        sock.setblocking(False)
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _answer(client: Any, status: int, reason: str, code: str, message: str) -> None:
    body = json.dumps({"code": code, "message": message}).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    util.write_nonblock(client, head.encode("latin-1") + body)
