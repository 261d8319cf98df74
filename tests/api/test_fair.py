"""Several processes on one socket: connections are shared evenly, and nobody waits for one that
hangs."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import pytest

from app.fair import SILENT_SECONDS, TOLERANCE, Shares
from tests.api.server import GRACE, SOON_SECONDS, ApiServer
from tests.api.wire import Connection
from tests.redis_server import RedisServer
from tests.stopped import stopped

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
CONNECTIONS = 16
READY_SECONDS = 60.0
TRIES = 5
LISTENS = "0A"


@pytest.fixture(scope="module")
def pair(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server of two processes, both of which answer."""
    folder = tmp_path_factory.mktemp("pair")
    started = ApiServer.start(folder, redis_server.url, api_workers=2, api_threads=CONNECTIONS)
    try:
        _until_both_answer(started)
        started.hurry()  # one steps aside for 5 ms, in which the other has to come to its turn
        yield started
    finally:
        started.stop()


def _until_both_answer(server: ApiServer) -> None:
    """Each takes connections once it has loaded the application."""
    give_up = time.monotonic() + READY_SECONDS
    while len(server.worker_pids) < 2 or not all(_polls(pid) for pid in server.worker_pids):
        assert time.monotonic() < give_up, "two processes are not there in time"
        time.sleep(0.02)  # it has no other sign of being ready


def _polls(pid: int) -> bool:
    """Whether its event loop watches the socket, beside the pipe that wakes it."""
    folder = Path(f"/proc/{pid}")
    try:
        loops = [fd.name for fd in (folder / "fd").iterdir() if "eventpoll" in os.readlink(fd)]
        return any((folder / "fdinfo" / fd).read_text().count("tfd:") > 1 for fd in loops)
    except FileNotFoundError:  # it closes one meanwhile
        return False


def _taken(server: ApiServer) -> set[str]:
    """The inodes of the connections that its processes have, by the kernel's word."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    own = [row for row in rows if row[1].endswith(f":{server.port:04X}") and row[3] != LISTENS]
    return {row[9] for row in own} - {"0"}


def _inodes(pid: int) -> set[str]:
    """Those of a process's sockets."""
    links = (os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir())
    return {link.removeprefix("socket:[").removesuffix("]") for link in links}


@contextmanager
def kept(server: ApiServer, count: int) -> Iterator[list[Connection]]:
    """So many connections, each of which has had an answer and is kept."""
    with ExitStack() as stack:
        opened = [stack.enter_context(Connection(server.port)) for _ in range(count)]
        for connection in opened:
            assert connection.send(HEALTH).answer().status == 200
        yield opened


def _until_all_are_closed(server: ApiServer) -> None:
    give_up = time.monotonic() + READY_SECONDS
    while _taken(server):
        assert time.monotonic() < give_up, "connections that clients closed are still there"
        time.sleep(0.01)  # it has no other sign of that


def check_shares(pair: ApiServer) -> None:
    """Sixteen connections that come at once are shared by the two processes that are there.

    Not each time: whom the machine holds up, takes none meanwhile.
    """
    differences = [_difference(pair) for _ in range(TRIES)]
    assert median(differences) <= TOLERANCE + 2, differences


def _difference(pair: ApiServer) -> int:
    """How many more of sixteen connections one of the two processes takes."""
    _until_all_are_closed(pair)
    with kept(pair, CONNECTIONS):
        taken = _taken(pair)
        shares = [len(taken & _inodes(pid)) for pid in pair.worker_pids[-2:]]
    assert sum(shares) == CONNECTIONS
    return max(shares) - min(shares)


def test_kept_connections_are_shared_evenly(pair: ApiServer) -> None:
    check_shares(pair)


def test_a_process_that_hangs_stops_nobody_else(pair: ApiServer) -> None:
    hung = pair.worker_pids[0]
    with stopped(hung):
        began = time.monotonic()
        with kept(pair, CONNECTIONS):
            assert time.monotonic() - began < SOON_SECONDS


def test_a_process_that_was_killed_is_replaced_and_takes_its_share(pair: ApiServer) -> None:
    os.kill(pair.worker_pids[0], signal.SIGKILL)
    give_up = time.monotonic() + READY_SECONDS
    while len(pair.worker_pids) < 3 or not _polls(pair.worker_pids[-1]):
        assert time.monotonic() < give_up, "it is not replaced in time"
        time.sleep(0.02)  # it has no other sign of being ready
    check_shares(pair)


def test_requests_that_follow_at_once_are_all_answered(pair: ApiServer) -> None:
    with kept(pair, 2 * CONNECTIONS + 8) as connections:  # more than there are threads
        for _ in range(5):
            for connection in connections:
                connection.send(HEALTH, HEALTH)
            for connection in connections:
                assert [connection.answer().status for _ in range(2)] == [200, 200]


def test_a_server_with_kept_connections_stops_soon(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    server = ApiServer.start(tmp_path, redis_server.url, *GRACE, api_workers=2)
    try:
        with kept(server, CONNECTIONS):
            assert server.seconds_to_stop() < SOON_SECONDS
    finally:
        server.stop()


def test_the_least_is_that_of_those_who_take_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    shares, now = Shares(), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert shares.least() is None
    shares.tell(1, 7)
    shares.tell(2, 3)
    assert shares.least() == 3
    shares.forget(2)
    assert shares.least() == 7
    shares.tell(2, 3)
    now += SILENT_SECONDS - 1
    shares.tell(1, 8)
    assert shares.least() == 3
    now += 1
    assert shares.least() == 8  # the other has been silent for too long
