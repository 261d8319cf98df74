"""A second Docker engine for tests: a real dockerd on a machine of its own (tests/machine.py).

    with second_engine() as engine:
        engine.load(base_image())
        engine.client().containers.run(...)

A process that tests has at most one at a time. All there is of it on this machine bears a number
that the process keeps to its end, so processes do not meet, and find what a killed one left.
"""

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import docker
import requests

from tests.conftest import engine_answers, require
from tests.images import base_image
from tests.machine import Machine, Process, require_machine
from tests.stopped import stop

NAME = "onejob-second"
NUMBERS = range(1, 10)  # more than one digit is more than a machine's name may have
CGROUPS = Path("/sys/fs/cgroup")
START_SECONDS = 90.0
STARTS = 4  # in a row, of a dockerd that gives up
TAIL_LINES = 40
STOP_SECONDS = 60.0


@contextmanager
def second_engine(number: int | None = None) -> Iterator["SecondEngine"]:
    """An engine that answers, and has no images; nothing is left of it afterwards.

    `number` is one that another process keeps, and lends; without it, it is this process's own.
    """
    require_machine()
    require(shutil.which("dockerd"), "dockerd is not installed")
    engine = SecondEngine(number or own_number())
    engine.clear()  # what a killed test left
    try:
        engine.start()
        yield engine
    finally:
        engine.kill()
        engine.clear()


@contextmanager
def loaded_engine() -> Iterator["SecondEngine"]:
    """A second engine that has the base image."""
    require(engine_answers(), "no Docker engine answers")
    with second_engine() as engine:
        engine.load(base_image())
        yield engine


@cache
def own_number() -> int:
    """The number that this process keeps, by a lock that goes with it."""
    for number in NUMBERS:
        lock = os.open(_folder(number).with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return number
    raise AssertionError(f"{len(NUMBERS)} processes have a second engine already")


def _folder(number: int) -> Path:
    return Path(tempfile.gettempdir()) / f"{NAME}-{number}"


def control_groups(name: str) -> list[Path]:
    """All of that name; those of other tests' containers come and go while one looks."""
    walk = os.walk(CGROUPS)  # which passes over what has just gone
    return [Path(folder) / name for folder, inside, _ in walk if name in inside]


class SecondEngine:
    """One dockerd, its machine, and its files. What `live_restore` says holds at its next start."""

    def __init__(self, number: int) -> None:
        self.live_restore = True
        self.folder = _folder(number)  # the same for both machines; its containers can mount it
        self.name = self.folder.name  # of its machine, and of the parent of its control groups
        self.machine = Machine(self.name, number)
        self._dockerd: Process | None = None
        self._clients: list[docker.DockerClient] = []

    @property
    def url(self) -> str:
        """Where it is reached, from anywhere on this machine: a value for DOCKER_HOST."""
        return f"unix://{self.folder / 'docker.sock'}"

    @property
    def running(self) -> bool:
        """Whether there is a dockerd of it, paused or not."""
        return self._dockerd is not None

    @property
    def pid(self) -> int:
        """The id of dockerd's process, as seen from here."""
        return self._process.pid

    def client(self, timeout: float = 30) -> docker.DockerClient:
        """A new client; closed with the engine's end."""
        self._clients.append(docker.DockerClient(self.url, version="auto", timeout=timeout))
        return self._clients[-1]

    # -- its life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Starts dockerd, booting the machine if it is off. Waits until it answers.

        Like a service manager, it starts another one where one gives up: dockerd does if its
        containerd takes more than 15 s to start, as on a disk that other tests keep busy.
        """
        self.folder.mkdir(mode=0o711, exist_ok=True)
        if not self.machine.on:
            self.machine.boot()
        self._dockerd, starts = self._launched(), 1
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            ended = self._dockerd.ended()
            goes_on = starts < STARTS if ended else time.monotonic() < give_up
            assert goes_on, f"dockerd does not answer, started {starts} times:\n{self.tail()}"
            if ended:
                self._dockerd, starts = self._launched(), starts + 1
            time.sleep(0.05)  # a daemon that starts gives no other sign than its answer

    def stop(self) -> None:
        """SIGTERM; waits for its end. With live restore its containers go on."""
        self._end(signal.SIGTERM)

    def crash(self) -> None:
        """kill -9 of dockerd alone. With live restore its containers go on."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """kill -9 of dockerd alone, and a new one."""
        self.crash()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it takes connections and never answers, from when this returns."""
        stop(self.pid)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        self._process.send(signal.SIGCONT)

    def kill(self) -> None:
        """The machine dies, and all that ran on it or on its network. Its files stay."""
        self.machine.kill()
        self._dockerd = None
        while self._clients:
            self._clients.pop().close()

    def clear(self) -> None:
        """Removes what is left once all its processes are gone."""
        for top in (*CGROUPS.glob(self.name), *CGROUPS.glob(f"*/{self.name}")):
            for folder, _, _ in os.walk(top, topdown=False):
                os.rmdir(folder)
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def favour(self) -> None:
        """Has its containers go before all other processes: those of other tests.

        What they do in time is measured then, and not how long they wait for a processor.
        """
        for top, file, most in (
            (CGROUPS, "cpu.weight", 10_000),
            (CGROUPS / "cpu", "cpu.shares", 2**18),
        ):
            if (top / "cgroup.procs").exists():  # version 2 of control groups, or version 1
                (top / self.name).mkdir(exist_ok=True)
                with suppress(OSError):  # its controller may not be there
                    (top / self.name / file).write_text(str(most))

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:])

    # -- images ------------------------------------------------------------------------------

    def load(self, *tags: str) -> None:
        """Brings images here from the first engine."""
        first, second = docker.from_env(), self.client(timeout=300)
        for tag in tags:
            second.images.load(first.images.get(tag).save(named=tag))
        first.close()

    # -- inside ------------------------------------------------------------------------------

    @property
    def _log(self) -> Path:
        return self.folder / "dockerd.log"

    def _launched(self) -> Process:
        return self.machine.start(self._argv(), self._log)

    def _argv(self) -> list[str]:
        config = self.folder / "daemon.json"  # not this machine's one
        config.write_text("{}")
        options = {
            "config-file": str(config),
            "data-root": str(self.folder / "data"),
            "host": self.url,
            # /run is the machine's own, and so are /run/docker, the sockets of containerd and of
            # its shims. Control groups are not.
            "cgroup-parent": f"/{self.name}",
            "exec-opt": "native.cgroupdriver=cgroupfs",
        }
        argv = ["dockerd", *(f"--{name}={value}" for name, value in options.items())]
        return [*argv, "--live-restore"] if self.live_restore else argv

    def _answers(self) -> bool:
        try:
            docker.APIClient(self.url, version="auto", timeout=5).close()  # asks for its version
        except (docker.errors.DockerException, requests.RequestException):
            return False
        return True

    @property
    def _process(self) -> Process:
        assert self._dockerd is not None, "it does not run"
        return self._dockerd

    def _end(self, number: signal.Signals) -> None:
        self._process.send(number)
        assert self._process.ended(STOP_SECONDS), f"dockerd does not end:\n{self.tail()}"
        self._dockerd = None
