"""The real API for tests: gunicorn with our worker class, on loopback, over a real Redis."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.hurried import hurry
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 15.0
GRACE = ("--graceful-timeout", "90")  # who waits for a client to go, waits longer than SOON_SECONDS
SOON_SECONDS = 40.0  # a busy machine may take as long for what takes one or two
TRIES = 5  # a free port may be taken by another before gunicorn binds it
PRODUCT = "app.web:create_app()"
PATIENT = "tests.api.patient:create_app()"  # the same, but for its patience with Redis
CLIENT_ID = "tests"
CLIENT_SECRET = "a secret of the tests"
TOKEN_SECRET = "what signs the tokens of the tests"
SECRETS_KEY = "b25lIG9mIHRoZSBzZWNyZXRzIGtleXMgb2YgdGVzdHM="
THREADS = 4  # few, so that a thread that is pinned is missed
_WATCHDOG = 'read -r _; kill -9 "$0"'  # its standard input ends with the process that tests


class NotReady(Exception):
    """The API ended, or did not answer in time; the text has the end of its log."""


class ApiServer:
    """One gunicorn with one worker process. It never outlives the test process."""

    def __init__(
        self, folder: Path, redis_url: str, arguments: tuple[str, ...], settings: dict[str, str]
    ) -> None:
        """`arguments` are gunicorn's, the application last."""
        self.port = free_port()
        self._log = folder / f"api-{self.port}.log"
        self._arguments = arguments
        self._environ = _environ(self.port, redis_url) | settings
        self._process: subprocess.Popen[bytes]
        self._watchdog: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls, folder: Path, redis_url: str, *arguments: str, app: str = PATIENT, **settings: object
    ) -> "ApiServer":
        """A server that answers, with arguments of gunicorn. Raises NotReady.

        `settings` are named as in app/settings.py. What tells of a Redis that hangs is the PRODUCT.
        """
        folder.mkdir(parents=True, exist_ok=True)
        given = {f"ONEJOB_{name.upper()}": str(value) for name, value in settings.items()}
        for left in reversed(range(TRIES)):
            server = cls(folder, redis_url, (*arguments, app), given)
            try:
                server._launch()
            except NotReady:
                if not left:
                    raise
                continue
            return server
        raise AssertionError("unreachable")

    @property
    def url(self) -> str:
        """The base URL of both faces."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it wrote so far."""
        return self._log.read_text(errors="replace")

    @property
    def worker_pids(self) -> list[int]:
        """The processes that it ever had answer requests."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.log)]

    def processor_seconds(self) -> float:
        """What those of its worker processes that are there have used so far."""
        files = [Path(f"/proc/{pid}/stat") for pid in self.worker_pids]
        stats = [file.read_text().split() for file in files if file.exists()]
        ticks = sum(int(stat[13]) + int(stat[14]) for stat in stats)
        return ticks / os.sysconf("SC_CLK_TCK")

    def hurry(self) -> None:
        """As root, has its processes go before all others of this machine, busy as it may be."""
        for pid in (self._process.pid, *self.worker_pids):
            hurry(pid)

    def until_it_says(self, words: str) -> None:
        """Waits until its log has these words."""
        give_up = time.monotonic() + READY_SECONDS
        while words not in self.log:
            assert time.monotonic() < give_up, f"{words!r} is not in the log"
            time.sleep(0.01)  # a file gives no sign

    def stop(self) -> None:
        """Ends it in order, and for sure."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._watchdog.kill()
        self._watchdog.communicate()

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def seconds_to_stop(self) -> float:
        """Asks it to end, waits for that, and tells how long it took."""
        began = time.monotonic()
        self.ask_to_stop()
        self._process.wait(2 * SOON_SECONDS)
        return time.monotonic() - began

    def _launch(self) -> None:
        argv = [sys.executable, "-m", "gunicorn", "-c", "python:app.gunicorn_config"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*argv, *self._arguments],
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it may have to hurry, and not the tests with it
            )
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._until_it_answers()
        except NotReady:
            self.stop()
            raise

    def _until_it_answers(self) -> None:
        give_up = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise NotReady("\n".join(self.log.splitlines()[-20:]))
            time.sleep(0.05)  # it has no other sign of being ready

    def _answers(self) -> bool:
        # Another server, which took the port, would answer as well.
        if "Listening at" not in self.log:
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def _environ(port: int, redis_url: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ONEJOB_", "GUNICORN"))}
    return inherited | {
        "ONEJOB_REDIS_URL": redis_url,
        "ONEJOB_CLIENT_ID": CLIENT_ID,
        "ONEJOB_CLIENT_SECRET": CLIENT_SECRET,
        "ONEJOB_TOKEN_SECRET": TOKEN_SECRET,
        "ONEJOB_SECRETS_KEY": SECRETS_KEY,
        "ONEJOB_BIND": f"127.0.0.1:{port}",
        "ONEJOB_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "ONEJOB_API_WORKERS": "1",
        "ONEJOB_API_THREADS": str(THREADS),
    }
