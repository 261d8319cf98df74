"""The example app, as a plain process: it answers one request and ends."""

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "examples" / "hello" / "app.py"


class Running:
    """One run of the app."""

    def __init__(self) -> None:
        environ = os.environ | {"PORT": "0", "JOB_ID": "job-1", "JOB_ATTEMPT": "2"}
        self.process = subprocess.Popen(
            [sys.executable, str(APP)], env=environ, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.line().removeprefix("listening on port "))

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, method: str, target: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, target, body)
        response = connection.getresponse()
        answer = response.status, str(response.headers["Content-Type"]), response.read()
        connection.close()
        return answer

    def exit_code(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def running() -> Iterator[Running]:
    app = Running()
    yield app
    app.process.kill()
    app.process.communicate()


def test_health_checks_do_not_end_it(running: Running) -> None:
    for _ in range(3):
        assert running.ask("GET", "/health") == (200, "text/plain", b"ok")
    assert running.process.poll() is None


def test_it_echoes_the_job_and_exits_with_0(running: Running) -> None:
    body = os.urandom(3_000_000)
    status, kind, answer = running.ask("POST", "/job?duration=0.01&failed=false", body)
    assert (status, kind) == (200, "application/json")
    assert json.loads(answer) == {
        "job_id": "job-1",
        "attempt": "2",
        "deadline": None,
        "method": "POST",
        "path": "/job?duration=0.01&failed=false",
        "size": 3_000_000,
        "sha256": hashlib.sha256(body).hexdigest(),
        "duration": 0.01,
        "failed": False,
    }
    assert running.exit_code() == 0


def test_failed_answers_500_and_exits_with_1(running: Running) -> None:
    status, _, answer = running.ask("POST", "/job?failed=true", b"")
    assert (status, json.loads(answer)["failed"]) == (500, True)
    assert running.exit_code() == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_any_method_and_path_is_a_job(running: Running, method: str) -> None:
    status, _, answer = running.ask(method, "/some/path?x=1")
    assert (status, json.loads(answer)["path"]) == (200, "/some/path?x=1")
    assert json.loads(answer)["method"] == method
    assert running.exit_code() == 0


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("duration=soon", "duration: 'soon' is not a number from 0 to 604800"),
        ("duration=-1", "duration: '-1' is not a number from 0 to 604800"),
        ("duration=nan", "duration: 'nan' is not a number from 0 to 604800"),
        ("duration=inf", "duration: 'inf' is not a number from 0 to 604800"),
        ("failed=yes", "failed: 'yes' is not true or false"),
    ],
)
def test_bad_input_is_named_and_fails_the_job(running: Running, query: str, error: str) -> None:
    status, _, answer = running.ask("POST", f"/job?{query}", b"x" * 1_000_000)
    assert (status, json.loads(answer)) == (400, {"error": error})
    assert running.exit_code() == 1


def test_it_prints_progress_and_ends_at_sigterm(running: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.request("POST", "/job?duration=600", b"12345")
    assert running.line() == "POST /job?duration=600: 5 bytes"
    assert running.line() == "1 of 600 s"
    running.process.send_signal(signal.SIGTERM)
    assert running.exit_code() == 128 + signal.SIGTERM
    assert "stopped before the end" in iter(running.line, "")  # after more seconds, perhaps
    connection.close()
