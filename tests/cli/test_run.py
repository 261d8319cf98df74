"""`onejob run`: one command from a request to its response."""

import os
import pty
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from app.domain.job import Reason, State
from tests.api.faces import Faces
from tests.api.worker import PlayedWorker
from tests.cli.conftest import Onejob
from tests.cli.door import door
from tests.cli.stage import Player, start
from tests.e2e.house import until


def test_the_response_is_all_of_standard_output(
    onejob: Onejob, hello: str, player: Player, worker: PlayedWorker
) -> None:
    player.respond(hello, body=b"\x00\xff")
    answer = onejob("run", hello, "/job?x=ä b", "-d", '{"x": 1}', "-H", "X-Mine:  it ")
    assert (answer.exit_code, answer.stdout_bytes) == (0, b"\x00\xff")
    told = re.fullmatch(r"job (\S+)\nsucceeded  HTTP 200  \d+\.\d s\n", answer.stderr)
    assert told, answer.stderr
    head, body = worker.request(hello, told[1])
    assert (head.method, head.target, body) == ("POST", "/job?x=%C3%A4%20b", b'{"x": 1}')
    assert ("X-Mine", "it") in head.headers
    assert ("Content-Type", "application/json") in head.headers


def test_bodies_come_from_files_and_standard_input(
    onejob: Onejob, hello: str, worker: PlayedWorker, tmp_path: Path
) -> None:
    (tmp_path / "it").write_bytes(b"\x80 from a file")
    file = onejob("run", hello, "-d", f"@{tmp_path}/it", "--no-wait").output.strip()
    head, body = worker.request(hello, file)
    assert body == b"\x80 from a file"
    assert ("Content-Type", "application/octet-stream") in head.headers
    piped = onejob("run", hello, "-d", "-", "--no-wait", input=b"piped").output.strip()
    assert worker.request(hello, piped)[1] == b"piped"
    assert onejob("run", hello, "-d", "@/nonexistent/it").exit_code == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "POST"])
def test_every_method_and_an_own_id(
    onejob: Onejob, hello: str, worker: PlayedWorker, method: str
) -> None:
    answer = onejob("run", hello, "job", "-X", method, "--id", "mine", "--no-wait")
    assert answer.output == "mine\n"
    head, body = worker.request(hello, "mine")
    assert (head.method, head.target, body) == (method, "/job", b"")
    again = onejob("run", hello, "job", "-X", method, "--id", "mine", "--no-wait")
    assert (again.exit_code, again.output) == (0, "mine\n")
    assert onejob("run", hello, "other", "-X", method, "--id", "mine").exit_code == 6


@pytest.mark.parametrize(
    "header",
    ["nonsense", "Authorization: x", "X-Inference-Id: x", "Prefer: wait=1", "A: b\r\nC: d"],
)
def test_headers_that_it_can_not_send_are_refused(onejob: Onejob, hello: str, header: str) -> None:
    assert onejob("run", hello, "-H", header).exit_code == 2


def test_a_job_that_fails_ends_with_1_and_its_reason(
    onejob: Onejob, hello: str, player: Player, worker: PlayedWorker
) -> None:
    def out_of_memory(job_id: str) -> None:
        worker.finish(hello, job_id, State.FAILED, Reason.OOM_KILLED, "more than 64 MiB")

    player.do(hello, out_of_memory)
    answer = onejob("run", hello)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "failed  oom_killed: more than 64 MiB" in answer.stderr


def test_when_time_runs_out_the_job_goes_on_and_the_ways_to_it_are_told(
    onejob: Onejob, api: Faces, hello: str
) -> None:
    answer = onejob("run", hello, "--id", "mine", "--timeout", "0.1")
    assert (answer.exit_code, answer.stdout) == (7, "")
    assert "onejob status hello mine" in answer.stderr
    assert api.status(hello, "mine").json["State"] == "dispatched"


class TestOnAShakyLine:
    """A door before the API that loses what it is told to lose."""

    def test_a_request_whose_answer_was_lost_is_repeated_as_the_same_job(
        self, onejob: Onejob, api: Faces, hello: str, player: Player
    ) -> None:
        player.respond(hello, body=b"once")
        with door(api.port, ["answer", "connection", "through"]) as port:
            answer = onejob("run", hello, "-d", "{}", "--url", f"http://127.0.0.1:{port}")
        assert (answer.exit_code, answer.stdout) == (0, "once")
        assert len(api.control("GET", "/job-deployments/hello/jobs").json["jobs"]) == 1

    def test_a_server_that_says_later_is_asked_later(
        self, onejob: Onejob, api: Faces, hello: str, player: Player
    ) -> None:
        player.respond(hello, body=b"once")
        with door(api.port, ["busy", "through", "busy", "connection", "through"]) as port:
            answer = onejob("run", hello, "-d", "{}", "--url", f"http://127.0.0.1:{port}")
        assert (answer.exit_code, answer.stdout) == (0, "once")

    def test_after_a_while_it_gives_up_and_says_how_to_go_on(
        self, onejob: Onejob, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.commands.run.REPEAT_SECONDS", 0)
        answer = onejob("run", "hello", "--id", "mine", "--url", "http://127.0.0.1:1")
        assert answer.exit_code == 5
        assert "repeat the command with --id mine" in answer.stderr


class TestInterrupted:
    def test_the_job_is_left_to_itself(self, environ: object, api: Faces, hello: str) -> None:
        process = start("run", hello, "--id", "mine", stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert process.stderr.readline() == b"job mine\n"
        process.send_signal(signal.SIGINT)
        told = process.communicate()[1].decode()
        assert process.returncode == 130
        assert "onejob cancel hello mine" in told
        assert api.status(hello, "mine").json["State"] == "dispatched"

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_is_cancelled_on_request(
        self, environ: object, api: Faces, hello: str, number: int
    ) -> None:
        words = ("run", hello, "--id", "mine", "--cancel-on-interrupt")
        process = start(*words, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert process.stderr.readline() == b"job mine\n"
        process.send_signal(number)
        told = process.communicate()[1].decode()
        assert (process.returncode, "job mine is cancelled" in told) == (130, True)
        assert api.status(hello, "mine").json["State"] == "cancelled"

    def test_who_could_not_cancel_is_told_before(
        self, onejob: Onejob, api: Faces, hello: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ONEJOB_CLIENT_SECRET")
        assert onejob("run", hello, "--cancel-on-interrupt").exit_code == 4
        assert api.control("GET", "/job-deployments/hello/jobs").json["jobs"] == []


def test_on_a_terminal_there_is_a_live_line(
    environ: object, api: Faces, hello: str, worker: PlayedWorker
) -> None:
    first = api.submit(hello)
    ours, theirs = pty.openpty()
    process = start("run", hello, "--id", "mine", stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        seen = _read_until(terminal, b"place 1 in the queue")
        worker.respond(hello, first)
        until(lambda: api.status(hello, "mine").json["State"] == "dispatched")
        grip = worker.run(hello, "mine")
        seen += _read_until(terminal, b"running")
        worker.end(grip, State.SUCCEEDED, Reason.EXIT_0, "done", {"exit_code": 0})
        seen += _read_to_its_end(terminal)
    assert b"succeeded" in seen
    assert process.communicate()[0] == b""
    assert process.returncode == 0
    assert re.search(rb"\r\x1b\[2K +queued  place 1 in the queue  \d+\.\d s", seen)
    assert seen.count(b"\n") == 2  # the id; what is live is rewritten; the fate


def _read_until(terminal: IO[bytes], words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        piece = os.read(terminal.fileno(), 4096)
        assert piece
        seen += piece
    return seen


def _read_to_its_end(terminal: IO[bytes]) -> bytes:
    seen = b""
    with suppress(OSError):  # as a terminal says that nobody has its other side any more
        while piece := os.read(terminal.fileno(), 4096):
            seen += piece
    return seen
