"""`onejob up` as people see it: a story in plain lines, a next step for each error, a clean end."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.conftest import engine_answers, require
from tests.e2e.house import until
from tests.ports import free_port
from tests.stopped import stopped

pytestmark = pytest.mark.docker

ONEJOB = Path(sys.executable).parent / "onejob"
ESCAPE = "\x1b["
WAIT_SECONDS = 90
TRIES = 3  # to meet the example while it runs: for 2 s, in which a busy machine may stand still


class Up:
    """One run of the command."""

    def __init__(self, data: Path, *options: str, out: int = subprocess.PIPE) -> None:
        self.data = data
        argv = [ONEJOB, "up", "--data", data, "--port", str(free_port())]
        argv += ["--flower-port", str(free_port()), *options]
        self.process = subprocess.Popen(
            [str(word) for word in argv],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.seen = ""

    def read_until(self, words: str) -> None:
        """Reads on until it said that."""
        assert self.process.stdout is not None
        while words not in self.seen:
            line = self.process.stdout.readline()
            assert line, f"{words!r} never came: {self.seen}"
            self.seen += line.decode()

    def end(self) -> int:
        """Reads on to its end; the exit code."""
        if self.process.stdout is not None:
            self.seen += self.process.stdout.read().decode()
        return self.process.wait(WAIT_SECONDS)

    def left(self) -> list[str]:
        """Processes that still work in its data directory, and containers of its node."""
        found = [" ".join(command) for command in commands() if str(self.data) in " ".join(command)]
        node = self.data / "spool" / "node"
        if node.exists():
            client = docker.APIClient()
            filters = {"label": f"onejob.node={node.read_text()}"}
            found += [c["Id"] for c in client.containers(all=True, filters=filters)]
            client.close()
        return found


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts the command on a data directory of this test; ends what is left of it."""
    require(engine_answers(), "no Docker engine answers")
    made: list[Up] = []

    def start(*options: str, **more: int) -> Up:
        made.append(Up(tmp_path / "data", *options, **more))
        return made[-1]

    yield start
    for run in made:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
            run.end()


@contextlib.contextmanager
def on_a_terminal(up: Callable[..., Up]) -> Iterator[tuple[Up, Iterator[str]]]:
    """One run with a terminal, and what it writes there, in pieces as they come."""
    ours, theirs = pty.openpty()
    run = up("--once", out=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        yield (
            run,
            (piece.decode("utf-8", "replace") for piece in iter(lambda: _read(terminal), b"")),
        )


def read_until(words: str, pieces: Iterator[str]) -> str:
    """Reads on until it wrote that, or to its end; what it wrote."""
    text = ""
    for piece in pieces:
        text += piece
        if words in text:
            break
    return text


def redis_of(data: Path) -> list[int]:
    """The process id of the Redis that works in a data directory; none if it has ended."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cwd")
        if _target(path) == str(data / "redis")
    ]


def commands() -> list[list[str]]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace").split("\0"))
        except OSError:
            continue  # it ended meanwhile
    return found


def test_once_tells_a_jobs_life_in_plain_lines_and_ends_with_0(up: Callable[..., Up]) -> None:
    for _ in range(TRIES):
        run = up("--once")
        assert run.end() == 0
        lines = [line.split() for line in run.seen.splitlines()]
        first = [words[0] for words in lines if words]
        if "running" in first:
            break
    told = ["Onejob:", "engine", "usher", "example", "redis", "api", "worker", "flower"]
    assert [word for word in dict.fromkeys(first) if word in told] == told
    states = [word for word in first if word in ("starting", "running", "succeeded")]
    assert states[-2:] == ["running", "succeeded"]
    result = next(line for line in run.seen.splitlines() if line.split()[:1] == ["result"])
    assert json.loads(result[result.index("{") :])["size"] == len(b'{"hello": "world"}')
    assert ESCAPE not in run.seen
    assert run.left() == []


def test_on_a_terminal_it_has_colours_and_a_live_line(up: Callable[..., Up]) -> None:
    for _ in range(TRIES):
        with on_a_terminal(up) as (run, pieces):
            text = "".join(pieces)
        assert run.end() == 0
        assert "\x1b[1mOnejob:" in text
        assert "\x1b[32msucceeded" in text
        live = re.findall(r"\r\x1b\[2K +running +\S+ s +onejob-\S+", text)
        if len(live) > 3:
            break
    assert len(live) > 3, text


def test_a_redis_that_stalls_is_waited_for(up: Callable[..., Up]) -> None:
    for _ in range(TRIES):
        with on_a_terminal(up) as (run, pieces):
            text = read_until("flower ", pieces)
            for redis in redis_of(run.data):
                with stopped(redis):
                    text += read_until("trying again", pieces)
            text += "".join(pieces)
        assert run.end() == 0, text
        if "trying again" in text:
            break
    assert "trying again" in text
    assert text.count("POST /hello") == 1


def test_a_second_start_finds_the_keys_of_the_first(up: Callable[..., Up]) -> None:
    first = up("--once")
    assert first.end() == 0, first.seen
    keys = (first.data / "credentials.json").read_text()
    second = up("--once")
    assert second.end() == 0
    assert (first.data / "credentials.json").read_text() == keys
    assert "hello, found again" in second.seen


MOMENTS = [
    "Onejob:",
    "engine ",
    "redis ",
    "api ",
    "worker ",
    "flower ",
    "job ",
    "running ",
    "Serving",
]


@pytest.mark.parametrize(
    ("moment", "number"),
    [(moment, signal.SIGINT) for moment in MOMENTS]
    + [(moment, signal.SIGTERM) for moment in ("redis ", "running ")],
)
def test_an_interrupt_leaves_nothing_behind(
    up: Callable[..., Up], moment: str, number: signal.Signals
) -> None:
    run = up()
    run.read_until(moment)
    run.process.send_signal(number)
    assert run.end() == 130, run.seen
    assert "Traceback" not in run.seen
    until(lambda: not run.left(), lambda: str(run.left()))


def test_a_taken_port_is_named_with_the_option_that_changes_it(up: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = up("--port", str(port))
        assert run.end() == 1
    what, next_step = run.seen.splitlines()[:2]
    assert what == f"onejob: port {port} is taken; choose another with --port"
    assert next_step.startswith("  next: ")


def test_without_an_engine_it_says_so(
    up: Callable[..., Up], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    run = up()
    assert run.end() == 1
    assert "no Docker engine answers at unix:///nonexistent/docker.sock" in run.seen
    assert "  next: start it" in run.seen
    assert run.left() == []


def test_wrong_settings_are_all_named_at_once(
    up: Callable[..., Up], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEJOB_QUEUE_LIMIT", "many")
    monkeypatch.setenv("ONEJOB_LEASE_SECONDS", "-1")
    run = up()
    assert run.end() == 1
    assert "ONEJOB_QUEUE_LIMIT" in run.seen
    assert "ONEJOB_LEASE_SECONDS" in run.seen
    assert "next: correct or unset these variables" in run.seen


def test_a_full_disk_is_told_with_a_next_step(up: Callable[..., Up], tmp_path: Path) -> None:
    require(os.geteuid() == 0, "mounting a small disk needs root")
    disk = tmp_path / "data"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk], check=False)
    require(mounted.returncode == 0, "a small disk can't be mounted here")
    try:
        (disk / "filler").write_bytes(b"x" * 12 * 1024)
        run = up()
        assert run.end() == 1
        assert "No space left on device" in run.seen
        assert "next: free some disk space" in run.seen, run.seen
        assert run.left() == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_data_directory_of_somebody_else_is_told_with_a_next_step(tmp_path: Path) -> None:
    require(os.geteuid() == 0, "becoming another user needs root")
    folder = Path("/root")
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, str(folder / "onejob-data")],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert (done.returncode, "Permission denied" in done.stdout) == (1, True), done
    assert "next: keep the data in a directory of yours with --data" in done.stdout


# All is imported before the rights are given up: where it lies, nobody may look.
NOBODY = """
import os, sys
from pathlib import Path
from app.stack import Layout
from app.story import Story
from app.up import up
os.setgid(65534)
os.setuid(65534)
sys.exit(up(Layout(Path(sys.argv[1]), 1, 1), True, Story()))
"""


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # it ended meanwhile
        return ""


def _read(terminal: object) -> bytes:
    try:
        return terminal.read(65536)  # type: ignore[attr-defined,no-any-return]
    except OSError:  # its other end was closed
        return b""
