"""Connections whose answer waits for something, or goes on and on: they cost no thread.

The application says so by a future that it hangs on the request's body (`held`). Its answer is
dropped then, and it is asked for another one (`resumed`) once the future is done: until then the
connection is one that the event loop watches, like those between two requests.

An answer that goes on and on hangs on the body, too (`stream`): see app/streams.py.
"""

import selectors
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from app.fair import FairWorker
from app.streams import Streams, head_of

_HELD = object()  # what became of a request: it is held


class _Held(BaseException):
    """Leaves gunicorn's handling of a request before anything is sent; it catches Exceptions."""


class HoldingWorker(FairWorker):
    """gunicorn's thread worker, which holds connections."""

    held_connections = 256  # at most; beyond it the first answer is sent

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: dict[Any, Future[bool]] = {}  # connections, by what they wait for
        self._places = threading.BoundedSemaphore(self.held_connections)
        self._streams = Streams()

    @property
    def busy_conns(self) -> int:
        """How many of its connections may want a thread: not those that are held."""
        return super().busy_conns - len(self._held) - len(self._streams)

    def handle(self, conn: Any) -> Any:
        """Handles a connection's requests until one of them is held."""
        try:
            return super().handle(conn)
        except _Held:
            return _HELD

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Holds the connection, or keeps or closes it."""
        if not fs.cancelled() and fs.exception() is None and fs.result() is _HELD:
            (self._hold if conn.parser.mesg.body.held else self._stream)(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Called in every turn of the event loop: who is held is answered when this one ends."""
        super().murder_pending()
        if not self.alive:
            for future in list(self._held.values()):
                future.cancel()
            self._streams.end()

    def holding(self, app: Any) -> Any:
        """The application, whose requests may be held."""

        def held(environ: Any, start_response: Any) -> Any:
            body, head = environ["wsgi.input"], list[Any]()

            def start(*args: Any) -> Any:
                head[:] = args
                return start_response(*args)

            answer = app(environ, start)
            if body.stream is not None and self.alive:
                answer.close()
                body.stream_head = head_of(*head)
                raise _Held
            if body.held is None or body.resumed:
                return answer
            if not self.alive or not self._places.acquire(blocking=False):
                body.held.cancel()
                body.answered()
                return answer
            answer.close()
            raise _Held

        return held

    def watch(self, conn: Any, callback: Callable[[Any, Any], None]) -> None:
        """Calls back when there is something to read, be it the end. Raises OSError, ValueError."""
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(callback, conn))

    def _hold(self, conn: Any) -> None:
        future = self._held[conn] = conn.parser.mesg.body.held
        try:
            self.watch(conn, self._look)
        except (OSError, ValueError):  # the client closed it already
            self._drop_held(conn)
            return
        future.add_done_callback(lambda _: self.method_queue.defer(self._resume, conn))

    def _stream(self, conn: Any) -> None:
        body = conn.parser.mesg.body
        end = partial(self.method_queue.defer, self._end_stream, conn)
        self._streams.take(conn.sock, body.stream_head, body.stream, end)

    def _end_stream(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def _look(self, conn: Any, sock: Any) -> None:
        """The client has hung up, or sent its next request ahead, which has to wait."""
        self.poller.unregister(sock)
        try:
            gone = not sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.watch(conn, self._look)
            return
        except OSError:
            gone = True
        if gone:
            self._drop_held(conn)

    def _resume(self, conn: Any) -> None:
        if conn not in self._held:  # its client has hung up
            return
        self._leave_place(conn)
        conn.parser.again = conn.parser.mesg.body.resumed = True
        self.enqueue_req(conn)

    def _drop_held(self, conn: Any) -> None:
        self._leave_place(conn).cancel()
        self.nr_conns -= 1
        conn.close()

    def _leave_place(self, conn: Any) -> Future[bool]:
        with suppress(OSError, KeyError, ValueError):  # closed, or no longer registered
            self.poller.unregister(conn.sock)
        self._places.release()
        return self._held.pop(conn)
