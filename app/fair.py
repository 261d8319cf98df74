"""How the processes of one server share its connections, and each its threads.

All of them accept from one socket, and a busy process is as quick at it as an idle one: of sixteen
connections that come at once, one process may get all. Where clients keep their connections that
lasts, and the other processors stay idle. So each process tells the others how many it has, and
one that has clearly more than another leaves a new one to it for a moment.
"""

import mmap
import select
import struct
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

PROCESSES = 128  # places; twice as many as there may be, as they are replaced they go round
SILENT_SECONDS = 3  # a process tells its number every second; one that is silent longer may hang
TOLERANCE = 4  # connections more than another process has: short ones come and go
ASIDE_SECONDS = 0.005  # after which it takes the connection if nobody else did: they may be busy
STAY_MS = 2  # how long a thread waits for a connection's next request


class Shares:
    """The number of connections of each process, in memory that they share.

    Made before the processes are forked. Nothing is locked: a number that is a moment old will do.
    """

    def __init__(self) -> None:
        self._all = struct.Struct(f"{2 * PROCESSES}i")
        self._memory = mmap.mmap(-1, self._all.size)

    def tell(self, process: int, count: int) -> None:
        """Says how many connections a process has now."""
        self._write(process, count, int(time.monotonic()))

    def forget(self, process: int) -> None:
        """Of a process that takes no more."""
        self._write(process, 0, 0)

    def least(self) -> int | None:
        """The smallest number among the processes that take connections, None without any."""
        numbers, since = self._all.unpack_from(self._memory), int(time.monotonic()) - SILENT_SECONDS
        told = zip(numbers[::2], numbers[1::2], strict=True)
        return min((count for count, at in told if at > max(0, since)), default=None)

    def _write(self, process: int, count: int, at: int) -> None:
        struct.pack_into("2i", self._memory, process % PROCESSES * 8, count, at)


SHARES = Shares()


class FairWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's thread worker, which leaves new connections to who has fewer."""

    _aside_until = 0.0
    _stepped_aside = False  # for the connection that comes next

    @property
    def busy_conns(self) -> int:
        """How many of its connections may want a thread."""
        return int(self.nr_conns)

    def run(self) -> None:
        """The event loop."""
        SHARES.tell(self.age, 0)
        super().run()

    def accept(self, listener: Any) -> None:
        """Takes a new connection, or steps aside for a moment."""
        if self._steps_aside():
            self.set_accept_enabled(False)
        else:
            super().accept(listener)
            SHARES.tell(self.age, self.busy_conns)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listens for new connections or not; gunicorn asks for it in every turn of its loop."""
        super().set_accept_enabled(enabled and time.monotonic() >= self._aside_until)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the event loop."""
        aside = self._aside_until - time.monotonic()
        super().wait_for_and_dispatch_events(min(aside, timeout) if aside > 0 else timeout)
        if self.alive:
            SHARES.tell(self.age, self.busy_conns)
        else:
            SHARES.forget(self.age)

    def handle(self, conn: Any) -> Any:
        """Handles a connection's requests as long as the next one comes at once.

        The way through the event loop takes as long as a small request. No other connection waits
        for the thread meanwhile: there is one for each.
        """
        keep = super().handle(conn)
        while keep is True and self.alive and self.busy_conns <= self.cfg.threads and _more(conn):
            keep = super().handle(conn)
        return keep

    def _steps_aside(self) -> bool:
        if self._stepped_aside:  # and nobody took the connection
            self._stepped_aside = False
            return False
        least = SHARES.least() if self.busy_conns > TOLERANCE else None
        if least is None or self.busy_conns <= least + TOLERANCE:
            return False
        self._stepped_aside, self._aside_until = True, time.monotonic() + ASIDE_SECONDS
        return True


def _more(conn: Any) -> bool:
    if conn.parser.unreader.buf.getvalue():
        return True
    poll = select.poll()
    poll.register(conn.sock, select.POLLIN)
    return bool(poll.poll(STAY_MS))
