"""What Docker alone can show: what a replica may do and use, and an engine that does not answer."""

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from app.domain.log import Stream, lines_of
from tests.workers.docker_rig import LIMITS, Rig, rigged
from workers import docker_engine
from workers.docker_engine import CALL_SECONDS, DockerEngine
from workers.docker_form import CAPABILITIES
from workers.engine import EngineUnavailable, Exit, Mount, Phase, StartRefused

BITS = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
}


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged() as rig:
        yield rig


pytestmark = pytest.mark.docker

STATUS = """
import json
lines = (line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({name: value.strip() for name, value in lines}))
"""


def test_root_in_a_replica_has_only_the_listed_capabilities(rig: Rig) -> None:
    status = rig.printed(rig.spec(STATUS))
    allowed = sum(1 << BITS[name] for name in CAPABILITIES)
    assert [int(status[f"Cap{which}"], 16) for which in ("Bnd", "Eff")] == [allowed, allowed]


def test_no_replica_gains_privileges_and_system_calls_are_filtered(rig: Rig) -> None:
    status = rig.printed(rig.spec(STATUS))
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_an_images_own_user_runs_without_capabilities(rig: Rig) -> None:
    status = rig.printed(rig.spec(STATUS, image=rig.image_with("USER 1234:1234")))
    assert status["Uid"].split() == ["1234"] * 4
    assert int(status["CapEff"], 16) == 0


def test_memory_beyond_the_limit_kills_and_the_exit_tells(rig: Rig) -> None:
    ended = rig.run(rig.spec("x = bytearray(200 * 2**20)"))
    assert ended.exit == Exit(137, oom_killed=True)


def test_there_is_no_swap_beside_the_memory(rig: Rig) -> None:
    made = rig.engine.create(rig.spec("pass"))
    config = rig.api.inspect_container(made.id)["HostConfig"]
    assert config["Memory"] == config["MemorySwap"] == LIMITS.memory_bytes


def test_no_more_processes_than_the_limit(rig: Rig) -> None:
    program = """
import json, threading
count = 1
try:
    while count < 100:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        count += 1
except RuntimeError:
    pass
print(json.dumps(count), flush=True)
import os
os._exit(0)
"""
    assert rig.printed(rig.spec(program)) == LIMITS.pids


def test_processor_time_is_limited(rig: Rig) -> None:
    program = """
import json, time
began, used = time.monotonic(), time.process_time()
while time.monotonic() < began + 1.5:
    pass
print(json.dumps((time.process_time() - used) / (time.monotonic() - began)))
"""
    limits = replace(LIMITS, cpus=0.25)
    # The machine is shared: a process may well get less than its share, never much more.
    assert rig.printed(rig.spec(program, limits=limits)) < 0.35


def test_shared_memory_has_its_size(rig: Rig) -> None:
    program = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize)"
    assert rig.printed(rig.spec(program)) == LIMITS.shm_bytes


def test_the_log_is_bounded_and_its_last_part_is_kept(rig: Rig) -> None:
    program = """
line = "x" * 999
for number in range(25_000):
    print(line)
print("the end")
"""
    ended = rig.run(rig.spec(program, limits=replace(LIMITS, cpus=2)))
    assert [piece.text for piece in rig.engine.logs(ended.id, 1)] == [b"the end\n"]
    bounds = rig.api.inspect_container(ended.id)["HostConfig"]["LogConfig"]
    assert bounds == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
    assert sum(len(p.text) for p in rig.engine.logs(ended.id, 10**9)) < 20 * 2**20


def test_neither_entrypoint_nor_health_check_of_the_image_runs(rig: Rig) -> None:
    image = rig.image_with(
        'ENTRYPOINT ["/bin/false"]', 'CMD ["more"]', 'HEALTHCHECK CMD ["/bin/false"]'
    )
    made = rig.engine.create(rig.spec("print(1)", image=image))
    inspected = rig.api.inspect_container(made.id)
    assert [inspected["Path"], *inspected["Args"]] == ["python3", "-uc", "print(1)"]
    assert inspected["Config"]["Healthcheck"]["Test"] == ["NONE"]


def test_the_volumes_that_an_image_declares_go_with_the_container(rig: Rig) -> None:
    made = rig.engine.create(rig.spec("pass", image=rig.image_with("VOLUME /data")))
    (mount,) = rig.api.inspect_container(made.id)["Mounts"]
    rig.engine.remove(made.id)
    assert mount["Name"] not in {v["Name"] for v in rig.api.volumes()["Volumes"] or ()}


def test_environment_and_mounts_arrive(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("from outside")
    program = """
import json, os
try:
    open("/there/new", "w")
    written = True
except OSError:
    written = False
print(json.dumps([os.environ["WORD"], open("/there/word").read(), written]))
"""
    mounts = (Mount("bind", str(tmp_path), "/there", read_only=True),)
    spec = rig.spec(program, env={"WORD": "a=b c"}, mounts=mounts)
    assert rig.printed(spec) == ["a=b c", "from outside", False]


def test_nothing_is_started_again_and_nothing_removes_itself(rig: Rig) -> None:
    made = rig.engine.create(rig.spec("pass"))
    config = rig.api.inspect_container(made.id)["HostConfig"]
    assert config["RestartPolicy"]["Name"] == "no"
    assert not config["AutoRemove"]
    assert not config["Privileged"]
    assert config["IpcMode"] == "private"


@pytest.mark.parametrize("target", ["/proc", "/etc/passwd/below"])
def test_a_mount_that_the_image_has_no_place_for_is_refused(rig: Rig, target: str) -> None:
    spec = rig.spec("pass", mounts=(Mount("bind", "/usr", target),))
    with pytest.raises(StartRefused):
        rig.start(spec)
    found = rig.engine.find(spec.name)
    assert found is not None
    assert (found.phase, found.exit) == (Phase.CREATED, None)


@pytest.mark.parametrize("change", ["USER nobody-knows", "WORKDIR /etc/passwd"])
def test_an_image_that_can_not_run_is_refused(rig: Rig, change: str) -> None:
    with pytest.raises(StartRefused):
        rig.start(rig.spec("pass", image=rig.image_with(change)))


def test_a_paused_container_is_not_taken_for_dead(rig: Rig) -> None:
    made = rig.start(rig.spec("import time; print(1); time.sleep(60)"))
    rig.first_line(made)
    rig.api.pause(made.id)
    assert [c.phase for c in rig.engine.owned(rig.node)] == [Phase.RUNNING]
    rig.engine.remove(made.id)


def test_many_calls_at_once_keep_their_connections(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    name = rig.engine.create(rig.spec("pass")).name
    with caplog.at_level(logging.WARNING, "urllib3"), ThreadPoolExecutor(30) as threads:
        ready = threading.Barrier(30)

        def look(_: int) -> str:
            ready.wait(60)
            found = rig.engine.find(name)
            return found.name if found else ""

        assert list(threads.map(look, range(30))) == [name] * 30
    assert caplog.messages == []


def test_a_log_takes_one_call(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """docker-py would look up first whether there is a terminal."""
    ended, asked = rig.run(rig.spec("print('words')")), list[str]()

    def send(client: docker.APIClient, request: Any, **options: Any) -> Any:
        asked.append(request.path_url.split("?")[0].rpartition("/")[2])
        return sending(client, request, **options)

    sending = docker.APIClient.send
    monkeypatch.setattr(docker.APIClient, "send", send)
    assert [piece.text for piece in rig.engine.logs(ended.id, 100)] == [b"words\n"]
    assert asked == ["logs"]


def test_a_log_tells_streams_and_instants_and_long_lines_in_pieces(rig: Rig) -> None:
    program = """
import sys
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
print("x" * 40_000, end="", flush=True)
"""
    pieces = rig.engine.logs(rig.run(rig.spec(program)).id, 100)
    told = {(piece.stream, piece.text) for piece in pieces}
    assert {(Stream.STDOUT, b"out\n"), (Stream.STDERR, b"err\n")} < told
    out = [piece for piece in pieces if piece.stream is Stream.STDOUT]
    assert len(out) > 2
    assert [line.message for line in lines_of(out)] == ["out", "x" * 40_000]
    assert all(0 <= time.time_ns() - piece.at < 60 * 10**9 for piece in pieces)


class SilentEngine:
    """Answers what version it is, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):  # closed before
            self._server.shutdown(socket.SHUT_RDWR)
        for end in (self._server, *self._connections):
            end.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._connections.append(connection)
                with suppress(OSError):  # who asked did not wait
                    if b"/version" in connection.recv(4096):
                        connection.sendall(_version())


def _version() -> bytes:
    body = json.dumps({"ApiVersion": "1.41"}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[SilentEngine]:
    engine = SilentEngine(tmp_path / "s")
    yield engine
    engine.close()


def impatient(silent: SilentEngine) -> DockerEngine:
    """An engine whose version is known; to tell that in time may take a busy machine some tries."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        with suppress(EngineUnavailable):
            return DockerEngine(silent.address, call_seconds=0.3)
    raise AssertionError("its version is not told")


def test_an_engine_that_falls_silent_is_unavailable_within_the_bound(silent: SilentEngine) -> None:
    engine = impatient(silent)
    began = time.monotonic()
    with pytest.raises(EngineUnavailable):
        engine.find("onejob-x")
    with pytest.raises(EngineUnavailable):
        engine.stop("x", 1)
    with pytest.raises(EngineUnavailable):
        engine.remove("x")
    assert time.monotonic() - began < CALL_SECONDS / 2  # of 0.3, 1.3 and 0.3 s
    engine.close()


def test_an_engine_that_falls_silent_holds_no_job_up_for_its_log(
    silent: SilentEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_engine, "LOOK_SECONDS", 0.3)
    engine = DockerEngine(silent.address)
    began = time.monotonic()
    with pytest.raises(EngineUnavailable):
        engine.logs("x", 100)
    assert time.monotonic() - began < CALL_SECONDS / 2
    engine.close()


def test_an_engine_that_went_away_is_unavailable(silent: SilentEngine) -> None:
    engine = DockerEngine(silent.address)
    silent.close()
    with pytest.raises(EngineUnavailable):
        engine.owned("n")
    with pytest.raises(EngineUnavailable):
        engine.image("x:1", refresh=False)
    engine.close()


def test_where_no_engine_is_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        DockerEngine(f"unix://{tmp_path}/nothing", call_seconds=5)
