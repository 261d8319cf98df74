"""One run of the usher, outside of containers: its spool, its process, what it told."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.ports import claim_port

APP = Path(__file__).with_name("app.py")
REQUEST = b"POST /job HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nwork"
PATIENCE_SECONDS = 60  # far longer than a busy machine holds up any process
TRIES = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """One line of the events file."""

    at: int  # microseconds since the epoch
    name: str
    values: dict[str, str]


def first_good(tries: Iterable[T], good: Callable[[T], bool]) -> T:
    """The first try that came out well, else the last one.

    For what this machine spoils where it is busy with something else: a fault does so each time.
    """
    for one in tries:
        if good(one):
            break
    return one


def at_best(measured: Callable[[], float], bound: float) -> float:
    """Measures until it is below the bound, a few times at most."""
    return first_good((measured() for _ in range(TRIES)), lambda one: one < bound)


def longer(milliseconds: int) -> tuple[int, ...]:
    """For an app to get as far as it wants to go, however busy this machine is."""
    return milliseconds, 4 * milliseconds, 16 * milliseconds


def plan_text(values: Mapping[str, object]) -> str:
    return "".join(f"{key} {value}\n" for key, value in values.items())


@dataclass
class Replica:
    """What the worker does: fill a spool, start the usher, read what it says."""

    usher: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    claims: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = self.new_port()
        self.spool = self.folder / "spool"
        self.home = self.folder / "home"
        self.spool.mkdir(parents=True)
        self.home.mkdir()
        (self.spool / "events").touch()
        self.write_plan()
        (self.spool / "request").write_bytes(REQUEST)

    def new_port(self) -> int:
        """A port for this replica's app alone."""
        self.claims.append(claim_port())
        return int(self.claims[-1].getsockname()[1])

    def write_plan(self, **changes: object) -> None:
        values: dict[str, object] = {
            "version": 1,
            "port": self.port,
            "health_enabled": 1,
            "health_port": self.port,
            "health_path": "/health",
            "health_timeout_ms": PATIENCE_SECONDS * 1000,
            "startup_ms": 0,
            "deadline_ms": PATIENCE_SECONDS * 1000,
            "grace_ms": PATIENCE_SECONDS * 1000,
            "stop_signal": 15,
            "response_limit": 1 << 30,
        }
        text = plan_text({k: v for k, v in (values | changes).items() if v is not None})
        (self.spool / "plan").write_text(text)

    def write_command(self, *arguments: str | bytes) -> None:
        words = (a if isinstance(a, bytes) else a.encode() for a in arguments)
        (self.spool / "argv").write_bytes(b"".join(w + b"\0" for w in words))

    def write_app(self, lines: str) -> None:
        self.write_command(sys.executable, "-I", "-S", str(APP), lines)

    def start(self, *, alone: bool = False, env: Mapping[str, str] | None = None,
              before: tuple[str, ...] = ()) -> None:  # fmt: skip
        """Starts the usher; `alone` as process 1 of its own process namespace."""
        prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child") if alone else ()
        environment = {"PATH": os.environ["PATH"], "PORT": str(self.port)} | dict(env or {})
        environment["ASAN_OPTIONS"] = "detect_leaks=0:handle_segv=0"  # leaks are found by tracing
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*before, *prefix, str(self.usher), str(self.spool)],
                cwd=self.home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.alone = alone

    def usher_pid(self) -> int:
        """As seen from here."""
        assert self.process is not None
        if not self.alone:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(self.until(children.read_text).split()[0])

    def signal(self, number: int) -> None:
        os.kill(self.usher_pid(), number)

    def wait(self) -> int:
        assert self.process is not None
        code = self.process.wait(PATIENCE_SECONDS)
        assert "Sanitizer" not in self.log(), self.log()
        assert "runtime error" not in self.log(), self.log()
        return code

    def run(self, lines: str, *, alone: bool = False, **plan: object) -> int:
        """Runs an app to its end. Returns the usher's exit code."""
        self.write_plan(**plan)
        self.write_app(lines)
        self.start(alone=alone)
        return self.wait()

    def close(self) -> None:
        """Leaves no process behind, whatever the test did."""
        for claim in self.claims:
            claim.close()
        if self.process is None or self.process.poll() is not None:
            return
        self.process.kill()
        self.process.wait()
        started = self.event("started")
        if started is not None and not self.alone:
            try:
                os.killpg(int(started.values["pid"]), signal.SIGKILL)
            except ProcessLookupError:
                return

    # -- what it told ------------------------------------------------------------------------

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def events(self) -> list[Event]:
        found = []
        for line in (self.spool / "events").read_text().splitlines():
            at, name, *pairs = line.split(" ")
            found.append(Event(int(at), name, dict(pair.split("=", 1) for pair in pairs)))
        return found

    def names(self) -> list[str]:
        return [event.name for event in self.events()]

    def event(self, name: str) -> Event | None:
        return next((event for event in self.events() if event.name == name), None)

    def values(self, name: str) -> dict[str, str]:
        event = self.event(name)
        assert event is not None, f"no {name} in {self.names()}; log: {self.log()}"
        return event.values

    def head(self) -> bytes:
        return (self.spool / "response.head").read_bytes()

    def body(self) -> bytes:
        return (self.spool / "response.body").read_bytes()

    def nothing_stored(self) -> bool:
        return not [p.name for p in self.spool.iterdir() if p.name.startswith("response.")]

    def said(self, name: str) -> str:
        """What the app said under that name, as soon as it has."""
        return self.until((self.home / name).read_bytes).decode()

    def said_exists(self, name: str) -> None:
        """Waits until the app has said that, whatever it is."""
        self.until((self.home / name).exists)

    def until_event(self, name: str) -> Event:
        found = self.until(lambda: self.event(name))
        assert found is not None
        return found

    def until(self, look: object) -> object:  # type: ignore[override]
        """Looks until there is something to see."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                seen = look()  # type: ignore[operator]
            except FileNotFoundError:
                seen = None
            if seen:
                return seen
            time.sleep(0.002)
        raise AssertionError(f"waited in vain; events: {self.names()}; log: {self.log()}")
