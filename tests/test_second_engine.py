"""The second engine for tests: it is another one, it can be broken, and nothing is left of it."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from tests.e2e.house import until
from tests.images import base_image
from tests.second_engine import (
    SecondEngine,
    control_groups,
    loaded_engine,
    own_number,
    second_engine,
)

pytestmark = [pytest.mark.docker, pytest.mark.root]

ROOT = Path(__file__).parent.parent
SILENCE_SECONDS = 0.5
SLEEPS = ["python3", "-c", "import signal; signal.pause()"]
ECHOES = """
import socket, sys
link = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while word := link.recv(100):
    link.sendall(word)
"""


@pytest.fixture(scope="class")
def loaded() -> Iterator[SecondEngine]:
    """One for all tests of a class."""
    with loaded_engine() as engine:
        yield engine


@pytest.fixture
def engine(loaded: SecondEngine) -> Iterator[SecondEngine]:
    """One that runs, with live restore, and has no containers."""
    yield loaded
    if not loaded.live_restore:
        loaded.live_restore = True
        loaded.restart()
    elif not loaded.running:
        loaded.start()
    for left in loaded.client().containers.list(all=True):
        left.remove(force=True)


@pytest.fixture
def first() -> Iterator[docker.DockerClient]:
    """The first engine."""
    client = docker.from_env()
    yield client
    client.close()


def sleeper(client: docker.DockerClient) -> Any:
    """A container that runs until it is stopped."""
    return client.containers.run(base_image(), SLEEPS, detach=True, stop_signal="SIGKILL")


def state(container: Any) -> str:
    """What its engine says now."""
    container.reload()
    return str(container.status)


def members(engine: SecondEngine) -> list[str]:
    """The ids of all processes in its containers."""
    return [
        line
        for parent in control_groups(engine.name)
        for group in parent.glob("*/cgroup.procs")
        for line in group.read_text().split()
    ]


def first_bridge() -> list[str]:
    """The first engine's bridge: its name and addresses; nothing if it has none.

    It is up or down as containers of other tests come and go.
    """
    argv = ["ip", "-brief", "-4", "address", "show", "docker0"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()
    return said[:1] + said[2:]


class TestTwoEngines:
    def test_they_know_nothing_of_each_other(
        self, engine: SecondEngine, first: docker.DockerClient
    ) -> None:
        here, there = sleeper(first), sleeper(engine.client())
        try:
            assert [c.id for c in engine.client().containers.list()] == [there.id]
            assert there.id not in [c.id for c in first.containers.list()]
            engine.restart()
            engine.kill()
            assert state(here) == "running"
            code, words = here.exec_run(["python3", "-c", "print('unharmed')"])
            assert (code, words) == (0, b"unharmed\n")
        finally:
            here.remove(force=True)

    def test_the_bridge_of_the_first_one_stays(self, engine: SecondEngine) -> None:
        before = first_bridge()
        assert "docker0" in engine.machine.run(["ip", "-brief", "address"])
        engine.kill()
        engine.start()
        assert first_bridge() == before

    def test_its_death_takes_all_its_processes_and_leaves_its_files(
        self, engine: SecondEngine
    ) -> None:
        container = sleeper(engine.client())
        guest = subprocess.Popen([*engine.machine.prefix, "sleep", "infinity"])
        pids = [*members(engine), str(engine.pid)]
        engine.kill()
        assert len(pids) > 1
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert guest.wait(60) == -signal.SIGKILL
        engine.start()
        assert state(engine.client().containers.get(container.id)) == "exited"

    @pytest.mark.parametrize(("live_restore", "then"), [(True, "running"), (False, "exited")])
    def test_what_a_killed_daemon_leaves_running(
        self, engine: SecondEngine, live_restore: bool, then: str
    ) -> None:
        container = sleeper(engine.client())
        before, pid = members(engine), engine.pid
        engine.live_restore = live_restore
        engine.restart()
        assert engine.pid != pid
        assert state(engine.client().containers.get(container.id)) == then
        assert (members(engine) == before) is live_restore

    def test_one_that_was_stopped_goes_on_where_it_was(self, engine: SecondEngine) -> None:
        container = sleeper(engine.client())
        before = members(engine)
        engine.stop()
        with pytest.raises(docker.errors.DockerException):
            engine.client()
        assert members(engine) == before
        engine.start()
        assert state(engine.client().containers.get(container.id)) == "running"

    def test_a_paused_one_takes_connections_and_never_answers(self, engine: SecondEngine) -> None:
        client = engine.client()
        client.api.timeout = SILENCE_SECONDS  # from now on: it has answered already
        engine.pause()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(engine.url.removeprefix("unix://"))
        with pytest.raises(requests.ReadTimeout):
            client.ping()
        engine.resume()
        assert engine.client().ping()

    def test_a_paused_one_can_die_and_comes_back(self, engine: SecondEngine) -> None:
        engine.pause()
        engine.restart()
        engine.pause()
        engine.kill()
        engine.start()
        assert engine.client().ping()


class TestCable:
    @pytest.mark.parametrize("silently", [False, True], ids=["link-down", "packets-lost"])
    def test_what_is_sent_while_it_is_cut_arrives_once_it_is_mended(
        self, engine: SecondEngine, silently: bool
    ) -> None:
        here = engine.machine.here
        with closing(socket.create_server((here, 0))) as server:
            argv = [sys.executable, "-c", ECHOES, here, str(server.getsockname()[1])]
            guest = subprocess.Popen([*engine.machine.prefix, *argv])
            link, (address, _) = server.accept()
        assert address == engine.machine.there
        link.sendall(b"before")
        assert link.recv(100) == b"before"
        engine.machine.cut(silently=silently)
        link.sendall(b"meanwhile")
        link.settimeout(SILENCE_SECONDS)
        with pytest.raises(TimeoutError):
            link.recv(100)
        engine.machine.mend()
        link.settimeout(60)
        assert link.recv(100) == b"meanwhile"
        link.close()
        assert guest.wait(60) == 0


def left_overs(engine: SecondEngine) -> list[str]:
    """What there is of it on this machine, but for its files and control groups."""
    interfaces = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True).stdout
    found = [line for line in interfaces.splitlines() if line.startswith(engine.name)]
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if f"{engine.folder}/" in words or f"boot\0{engine.name}" in words:
            found.append(words)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found + [line for line in mounts if engine.name in line] + members(engine)


CRASHES = """
import os, signal, sys
from tests.images import base_image
from tests.second_engine import second_engine
with second_engine(int(sys.argv[1])) as engine:
    engine.load(base_image())
    engine.client().containers.run(base_image(), ["sleep", "infinity"], detach=True)
    print("up", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestNothingIsLeft:
    """Tests that make their own: that of the other classes is gone by then."""

    def test_after_a_test_that_failed(self) -> None:
        with pytest.raises(ZeroDivisionError), second_engine() as engine:
            engine.load(base_image())
            sleeper(engine.client())
            assert len(left_overs(engine)) > 2
            raise ZeroDivisionError
        assert left_overs(engine) == []
        assert not engine.folder.exists()
        assert not control_groups(engine.name)

    def test_no_process_after_a_test_process_that_was_killed(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", CRASHES, str(own_number())],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, "up\n"), done.stderr
        killed = SecondEngine(own_number())
        assert killed.folder.exists()
        until(lambda: not left_overs(killed), lambda: str(left_overs(killed)))
        with second_engine() as engine:
            assert engine.client().containers.list(all=True) == []
        assert not engine.folder.exists()
