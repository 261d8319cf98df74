"""A real Redis for tests: on loopback, with its append-only file, killable and restartable.

Fixtures for others: import `redis_server`, `redis_client` and `redis_url` in a conftest.py.
ONEJOB_TEST_REDIS names the server binary; without it, it is the embedded one or the machine's.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.stack import NoRedis
from app.stack import redis_server as embedded_server
from tests.conftest import require
from tests.ports import claim_port

READY_SECONDS = 60.0
END_SECONDS = 30.0
_WATCHDOG = 'read -r _; kill -9 "$0"'  # its standard input ends with the process that tests


class NotReady(Exception):
    """A Redis server ended, or did not answer in time; the text has the end of its log."""


class RedisServer:
    """One Redis server process and its data directory. It never outlives the test process."""

    def __init__(self, folder: Path, port: int | None, appendfsync: str) -> None:
        self.folder = folder
        self._claim = None if port else claim_port()  # held: nobody gets it while Redis is down
        self.port: int = port or self._claim.getsockname()[1]
        self._appendfsync = appendfsync
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls, folder: Path, port: int | None = None, appendfsync: str = "always"
    ) -> "RedisServer":
        """A server that answers, with its data in `folder`; on a free port if none is named.

        `appendfsync` "always" is what the service runs with. "everysec" is three times faster, and
        may lose what was acknowledged: it puts its write off while an earlier fsync still runs.

        Raises NotReady, and NoRedis if there is no binary.
        """
        folder.mkdir(parents=True, exist_ok=True)
        server = cls(folder, port, appendfsync)
        server.restart()
        return server

    @property
    def url(self) -> str:
        """The server's first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def binary(self) -> str:
        """The program. Raises NoRedis."""
        return server_binary()

    @property
    def pid(self) -> int | None:
        """The process id, None while it is down."""
        return self._process.pid if self._process else None

    def connect(self) -> redis.Redis:
        """A new client with connections of its own, which repeats nothing by itself."""
        return self._client(30)

    def until_all_is_read(self) -> None:
        """Waits until its clients have read its answers to what it has done so far."""
        client = self.connect()
        client.ping()  # answers to earlier commands have been written before this one's
        client.close()
        self._until(lambda: not self._unread(), "a client reads no answer")

    def until_a_client_gives_up(self) -> None:
        """Waits until a client has closed its connection before the server, stopped, read all."""
        self._until(self._given_up, "no client gives up")

    def _until(self, look: Callable[[], bool], otherwise: str) -> None:
        give_up = time.monotonic() + READY_SECONDS
        while not look():
            assert time.monotonic() < give_up, otherwise
            time.sleep(0.002)  # nobody tells what becomes of the connections of others

    def _unread(self) -> bool:
        """Whether something lies unread on a connection to it, by the kernel's word."""
        open_ones = [row for row in _connections() if row[3] == "01"]  # an end is unread, too
        return any(row[2] == self._address and _unread_bytes(row) for row in open_ones)

    def _given_up(self) -> bool:
        closed = [row for row in _connections() if row[3] == "08"]  # by the other end
        return any(row[1] == self._address and _unread_bytes(row) > 1 for row in closed)

    @property
    def _address(self) -> str:
        return f"0100007F:{self.port:04X}"

    def kill(self) -> None:
        """kill -9. What it acknowledged is in its append-only file, if that is synced always."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in order; one that is down already stays so."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Starts it on the same port and data, ended before if it runs. Raises NotReady."""
        self.stop()
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._until_it_answers()
        except NotReady:
            self.kill()
            raise

    def _argv(self) -> list[str]:
        words = [word for name, value in self.options().items() for word in (f"--{name}", value)]
        return [self.binary, *words]

    def options(self) -> dict[str, str]:
        """Its configuration."""
        return {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "save": "",
            "maxmemory-policy": "noeviction",
        }

    def _until_it_answers(self) -> None:
        assert self._process is not None
        give_up = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                log = (self.folder / "redis.log").read_text(errors="replace")
                raise NotReady("\n".join(log.splitlines()[-10:]))
            time.sleep(0.01)  # it has no other sign of being ready

    def _answers(self) -> bool:
        # The process id tells our server from another one that took the port.
        client = self._client(1)
        try:
            return bool(client.ping()) and client.info("server")["process_id"] == self.pid
        except redis.RedisError:  # not bound yet, or still loading its file
            return False
        finally:
            client.close()

    def _client(self, timeout_seconds: float) -> redis.Redis:
        retry = Retry(NoBackoff(), 0)
        return redis.Redis.from_url(self.url, socket_timeout=timeout_seconds, retry=retry)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._watchdog is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._watchdog.kill()
        self._watchdog.communicate()
        self._process = self._watchdog = None


def _connections() -> list[list[str]]:
    """The machine's TCP connections: number, this end, the other end, state, queues, and more."""
    return [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]


def _unread_bytes(connection: list[str]) -> int:
    """What lies there for this end; the other one's end of sending counts as one."""
    return int(connection[4].partition(":")[2], 16)


def server_binary() -> str:
    """The Redis server to test against. Raises NoRedis."""
    return os.environ.get("ONEJOB_TEST_REDIS") or embedded_server()


def require_redis() -> None:
    """Skips the test, or fails it where CI is set, if there is no Redis server to start."""
    try:
        server_binary()
    except NoRedis as error:
        require(False, str(error))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests of this process."""
    require_redis()
    server = RedisServer.start(tmp_path_factory.mktemp("redis"), appendfsync="everysec")
    yield server
    server.stop()


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of an empty database."""
    client = redis_server.connect()
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def redis_url(redis_server: RedisServer, redis_client: redis.Redis) -> str:
    """The URL of an empty database."""
    return redis_server.url
