"""What stands in for an engine, an usher, a stopped process: parts of the rig."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.domain.job import Job
from tests.contracts.scripted_engine import Replica, ScriptedEngine
from workers import plan
from workers.engine import ContainerSpec, Image
from workers.secret_files import SecretFiles, SecretRoot
from workers.spool import Spool, SpoolRoot

IMAGE = "example/app:1"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
BODY = b"\0answer\xff\r\n" * 1000

Hook = Callable[[str], None]
PATIENCE_SECONDS = 60.0  # with threads and processes of a busy machine; tests wait for signs


class Killed(BaseException):
    """kill -9, as far as a thread can be killed: nothing of ours catches it."""


def kill_at(point: str, time: int = 1) -> Hook:
    """A hook that kills the supervisor when it comes to a point for the n-th time."""
    left = [time]

    def hook(passed: str) -> None:
        if passed == point:
            left[0] -= 1
            if not left[0]:
                raise Killed(point)

    return hook


class Refused(Exception):
    """The engine has started a container a second time, and its usher does nothing."""


class Engine(ScriptedEngine):
    """Counts what was really made, too, and the apps that its ushers started."""

    def __init__(self) -> None:
        super().__init__({IMAGE: Image("sha256:app", ("python3",), ("app.py",), 15)})
        self.made: Counter[str] = Counter()
        self.apps: Counter[str] = Counter()

    def _made(self, spec: ContainerSpec) -> Replica:
        self.made[spec.name] += 1
        return super()._made(spec)


class Hooked:
    """Passes everything on, and calls a hook before and after each method."""

    def __init__(self, target: Any, name: str, hook: Hook) -> None:
        self._target, self._name, self._hook = target, name, hook

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if not callable(method):
            return method

        def call(*args: Any, **options: Any) -> Any:
            self._hook(f"before {self._name}.{name}")
            answer = method(*args, **options)
            self._hook(f"after {self._name}.{name}")
            return answer

        return call


class HookedSpoolRoot(SpoolRoot):
    """Its spools call a hook."""

    def __init__(self, path: Path, hook: Hook) -> None:
        super().__init__(path)
        self._hook = hook

    def attempt(self, replica: str) -> Spool:
        return Hooked(super().attempt(replica), "spool", self._hook)  # type: ignore[return-value]


class HookedSecretRoot(SecretRoot):
    """Its files call a hook."""

    def __init__(self, path: Path, hook: Hook) -> None:
        super().__init__(path)
        self._hook = hook

    def attempt(self, replica: str) -> SecretFiles:
        return Hooked(super().attempt(replica), "secrets", self._hook)  # type: ignore[return-value]


class Usher:
    """Process 1 of a replica, played by the test."""

    def __init__(self, engine: Engine, spec: ContainerSpec) -> None:
        self.engine, self.name = engine, spec.name
        source = next(m.source for m in spec.mounts if m.target == plan.SPOOL_TARGET)
        self.spool = Path(source)

    def tell(self, event: str) -> None:
        """Writes an event, with its values."""
        with (self.spool / "events").open("a") as file:
            file.write(f"{int(time.time() * 1e6)} {event}\n")

    def start(self) -> None:
        """Takes the run-once marker and starts the app. Raises Refused."""
        try:
            (self.spool / "started").touch(exist_ok=False)
        except FileExistsError:
            self.tell("refused")
            self.engine.exit(self.name, 125)
            raise Refused from None
        self.engine.apps[self.name] += 1
        self.tell("started pid=2")

    def send(self) -> None:
        """Hands the request to the app."""
        self.tell("healthy")
        self.tell("sent")

    def respond(self, head: bytes = HEAD, body: bytes = BODY) -> None:
        """Stores a complete response."""
        (self.spool / "response.head").write_bytes(head)
        (self.spool / "response.body").write_bytes(body)
        self.tell(f"responded status=200 bytes={len(body)}")

    def exit(self, code: int = 0, words: str = "oom_kills=0", told: bool = True) -> None:
        """The app ended; the container ends with it."""
        if told:
            self.tell(f"exited code={code} {words}")
        self.engine.exit(self.name, code)

    def signalled(self, number: int, words: str = "oom_kills=0") -> None:
        """The app was ended by a signal."""
        self.tell(f"exited signal={number} {words}")
        self.engine.exit(self.name, 128 + number)

    def finish(self) -> None:
        """All that is left of a job that goes well."""
        self.respond()
        self.exit()


class Background(threading.Thread):
    """A task in a thread, with its answer."""

    def __init__(self, task: Callable[[], Job | None]) -> None:
        super().__init__(daemon=True)
        self._task = task
        self._answer: Job | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Runs it."""
        try:
            self._answer = self._task()
        except BaseException as error:
            self._error = error

    def answer(self) -> Job | None:
        """Waits for its end; raises what it raised."""
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive(), f"not within {PATIENCE_SECONDS} s"
        if self._error is not None:
            raise self._error
        return self._answer


class Gate:
    """A hook that holds a supervisor up at one point, as a stopped process is."""

    def __init__(self, point: str) -> None:
        self._point = point
        self._arrived, self._opened = threading.Event(), threading.Event()

    def __call__(self, point: str) -> None:
        if point == self._point and not self._arrived.is_set():
            self._arrived.set()
            assert self._opened.wait(PATIENCE_SECONDS)

    def wait(self) -> None:
        """Until the supervisor stands there."""
        assert self._arrived.wait(PATIENCE_SECONDS), f"nobody came to {self._point!r}"

    def open(self) -> None:
        """Lets it go on."""
        self._opened.set()


def works(usher: Usher) -> None:
    """A job that goes well, and is over before `start` returns."""
    runs(usher)
    usher.finish()


def runs(usher: Usher) -> None:
    """A job that got its request, and goes on."""
    usher.start()
    usher.send()
