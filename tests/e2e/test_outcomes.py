"""Every way in which a job can end, each with a real container."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import docker
import pytest

from app.domain.job import Reason, State
from tests.conftest import engine_answers, require
from tests.e2e.house import House
from tests.images import base_image

pytestmark = pytest.mark.docker

LIMIT = 100_000  # bytes of a response in this house
OK = "c.sendall(OK)\n"
SIGTERM_IGNORED = "on(signal.SIGTERM, signal.SIG_IGN)\n"
FAILED, TIMED_OUT = State.FAILED, State.TIMED_OUT
STOPSIGNAL_IMAGE = "onejob-test-stopsignal:1"


@dataclass
class Row:
    """What an app does, and what becomes of its job."""

    lines: str
    state: State
    reason: Reason
    exit_code: int | None = None
    http: int = 502  # of the result
    body: bytes | None = None  # of the response; None: an error of ours
    says: str = ""  # part of the status's Error
    changes: dict[str, Any] = field(default_factory=dict)
    prints: str = ""  # a line of its log; "": it prints nothing that is looked at


def answer(head: str, body: str = "b''") -> str:
    """Lines that take the job and answer with this head and body, without a stated length."""
    return f"c = take_job()\nc.sendall(b'HTTP/1.1 {head}\\r\\n\\r\\n' + {body})\n"


def deadline(seconds: int) -> dict[str, Any]:
    return {"scaling": {"deadline_seconds": seconds}}


ROWS = {
    # the app ends by itself
    "exit-0": Row(f"c = take_job(); {OK}", State.SUCCEEDED, Reason.EXIT_0, 0, 200, b"ok"),
    # The app's status is its own affair: how the process ends is what counts.
    "exit-0-after-500": Row(
        answer("500 Oops", "b'broken'"), State.SUCCEEDED, Reason.EXIT_0, 0, 500, b"broken"
    ),
    "exit-0-silent": Row("c = take_job()", State.SUCCEEDED, Reason.EXIT_0, 0, 200, b""),
    "exit-1-after-500": Row(
        answer("500 Oops", "b'broken'") + "sys.exit(1)",
        FAILED,
        Reason.EXIT_NONZERO,
        1,
        500,
        b"broken",
        "exit code 1",
    ),
    "exit-1-after-200": Row(
        f"c = take_job(); {OK}print('last words'); sys.exit(3)",
        FAILED,
        Reason.EXIT_NONZERO,
        3,
        200,
        b"ok",
        "last log line: last words",
        prints="last words",
    ),
    "exit-1-silent": Row(
        "c = take_job(); sys.exit(1)", FAILED, Reason.EXIT_NONZERO, 1, says="exit code 1"
    ),
    "signal": Row(
        "c = take_job(); print('in vain', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
        FAILED,
        Reason.SIGNALLED,
        139,
        says="SIGSEGV",
        prints="in vain",
    ),
    "crash-before-health": Row(
        "raise ValueError('no model file')",
        FAILED,
        Reason.EXITED_BEFORE_REQUEST,
        1,
        says="ValueError: no model file",
        prints="ValueError: no model file",
    ),
    "exit-0-before-health": Row("", FAILED, Reason.EXITED_BEFORE_REQUEST, 0),
    # the start
    "never-healthy": Row(
        "s = listen()\nwhile True: answer_health(s, b'HTTP/1.1 503 Busy\\r\\n\\r\\n')",
        FAILED,
        Reason.NEVER_HEALTHY,
        143,
        changes={"startup_seconds": 10},
    ),
    "nobody-answers": Row(
        "forever()", FAILED, Reason.STARTUP_TIMEOUT, 143, changes={"startup_seconds": 1}
    ),
    "starts-late-within-its-bound": Row(
        f"time.sleep(1.5); c = take_job(); {OK}",
        State.SUCCEEDED,
        Reason.EXIT_0,
        0,
        200,
        b"ok",
        changes={"startup_seconds": 30},
    ),
    "needs-20-seconds-to-bind": Row(
        f"time.sleep(20); c = take_job(); {OK}", State.SUCCEEDED, Reason.EXIT_0, 0, 200, b"ok"
    ),
    "command-not-found": Row(
        "",
        FAILED,
        Reason.COMMAND_NOT_FOUND,
        127,
        says="no-such-program",
        changes={
            "container": {
                "entrypoint_overrides": {"enabled": True, "entrypoint": ["no-such-program"]}
            }
        },
    ),
    "image-missing": Row(
        "",
        FAILED,
        Reason.IMAGE_PULL_FAILED,
        changes={"container": {"image": "127.0.0.1:1/nothing:1"}},
    ),
    # the deadline
    "deadline-while-starting": Row(
        "forever()", TIMED_OUT, Reason.DEADLINE, 143, 504, says="before", changes=deadline(4)
    ),
    "deadline-while-working": Row(
        "c = take_job(); print('at it', flush=True); forever()",
        TIMED_OUT,
        Reason.DEADLINE,
        143,
        504,
        changes=deadline(10),
        prints="at it",
    ),
    "deadline-after-the-response": Row(
        f"c = take_job(); {OK}forever()",
        TIMED_OUT,
        Reason.DEADLINE,
        143,
        200,
        b"ok",
        changes=deadline(10),
    ),
    "sigterm-ignored": Row(
        f"{SIGTERM_IGNORED}c = take_job(); print('on and on', flush=True); forever()",
        TIMED_OUT,
        Reason.DEADLINE,
        137,
        504,
        changes=deadline(10),
        prints="on and on",
    ),
    "exit-0-at-the-deadline": Row(
        "on(signal.SIGTERM, lambda *_: sys.exit(0)); c = take_job(); forever()",
        TIMED_OUT,
        Reason.DEADLINE,
        0,
        504,
        changes=deadline(10),
    ),
    "the-images-own-stop-signal": Row(
        f"{SIGTERM_IGNORED}on(signal.SIGUSR1, lambda *_: sys.exit(7))\nc = take_job(); forever()",
        TIMED_OUT,
        Reason.DEADLINE,
        7,
        504,
        changes=deadline(10) | {"container": {"image": STOPSIGNAL_IMAGE}},
    ),
    "never-ending-response": Row(
        answer("200 OK") + "while True: c.sendall(b'x'); time.sleep(0.1)",
        TIMED_OUT,
        Reason.DEADLINE,
        143,
        504,
        changes=deadline(10),
    ),
    # memory
    "out-of-memory": Row(
        "c = take_job(); print('loading', flush=True); x = bytearray(500_000_000)",
        FAILED,
        Reason.OOM_KILLED,
        137,
        says="limit 64 MiB",
        prints="loading",
        changes={"compute": {"name": "small", "size": 1}},
    ),
    # the response
    "response-over-the-bound": Row(
        answer("200 OK", f"b'x' * {LIMIT + 1}"),
        FAILED,
        Reason.RESPONSE_TOO_LARGE,
        says=f"{LIMIT} bytes",
    ),
    "response-far-over-the-bound": Row(
        answer("200 OK", "b'x' * 50_000_000"),
        FAILED,
        Reason.RESPONSE_TOO_LARGE,
        1,
        says="last log line: ",
    ),
    "response-at-the-bound": Row(
        answer("200 OK", f"b'x' * {LIMIT}"),
        State.SUCCEEDED,
        Reason.EXIT_0,
        0,
        200,
        b"x" * LIMIT,
    ),
    "truncated": Row(
        answer("200 OK\\r\\nContent-Length: 10", "b'123'"),
        FAILED,
        Reason.RESPONSE_INVALID,
        0,
        says="truncated",
    ),
    "malformed": Row(
        "c = take_job(); c.sendall(b'nonsense\\r\\n\\r\\n')",
        FAILED,
        Reason.RESPONSE_INVALID,
        0,
        says="malformed",
    ),
    "chunked": Row(
        answer(
            "200 OK\\r\\nTransfer-Encoding: chunked",
            "b'3\\r\\nabc\\r\\n2\\r\\nde\\r\\n0\\r\\n\\r\\n'",
        ),
        State.SUCCEEDED,
        Reason.EXIT_0,
        0,
        200,
        b"abcde",
    ),
    "interim-responses-first": Row(
        answer("103 Early\\r\\nLink: x\\r\\n\\r\\nHTTP/1.1 200 OK", "b'late'"),
        State.SUCCEEDED,
        Reason.EXIT_0,
        0,
        200,
        b"late",
    ),
    "kept-alive": Row(
        answer("200 OK\\r\\nContent-Length: 2\\r\\nConnection: keep-alive", "b'ok'")
        + "time.sleep(0.3); sys.exit(0)",
        State.SUCCEEDED,
        Reason.EXIT_0,
        0,
        200,
        b"ok",
    ),
    # the app's family
    "children-hold-the-socket": Row(
        answer("200 OK", "b'half'") + "if os.fork() == 0: forever()\n",
        State.SUCCEEDED,
        Reason.EXIT_0,
        0,
        200,
        b"half",
    ),
    "children-that-left-the-group": Row(
        f"{SIGTERM_IGNORED}c = take_job()\nif os.fork() == 0: os.setsid(); forever()\n{OK}",
        State.SUCCEEDED,
        Reason.EXIT_0,
        0,
        200,
        b"ok",
    ),
    "listens-on-ipv6-loopback-only": Row(
        f"c = take_job('::1'); {OK}", State.SUCCEEDED, Reason.EXIT_0, 0, 200, b"ok"
    ),
    "has-no-terminal": Row(
        "c = take_job(); tty = any(os.isatty(n) for n in range(3))\n"
        "c.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' + str(tty).encode())",
        State.SUCCEEDED,
        Reason.EXIT_0,
        0,
        200,
        b"False",
    ),
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, dict[str, str]]]:
    """A house in which the jobs of all rows were submitted, so that they run side by side."""
    require(engine_answers(), "no Docker engine answers")
    folder = tmp_path_factory.mktemp("outcomes")
    compute = folder / "compute.toml"
    compute.write_text("[cpu]\nmemory_mb = 256\n[small]\nmemory_mb = 64\n")
    _make_stopsignal_image()
    house = House(
        folder / "data",
        compute_file=compute,
        response_limit_bytes=LIMIT,
        stop_grace_seconds=8,  # to handle a signal in, also by an app that waits for a processor
        concurrency=8,  # more at once would starve each other on a small machine
    )
    try:
        house.start()
        for name, row in ROWS.items():
            house.deploy(name, row.lines, **dict(row.changes))
        yield house, {name: house.faces.submit(name) for name in ROWS}
        house.until_nothing_is_left()
    finally:
        house.stop()


@pytest.mark.parametrize("name", ROWS)
def test_an_end_is_told_as_it_was(jobs: tuple[House, dict[str, str]], name: str) -> None:
    house, ids = jobs
    row = ROWS[name]
    status = house.finished(name, ids[name])
    result = house.faces.result(name, ids[name])
    assert (status["State"], status["Reason"]) == (row.state, row.reason), status
    if row.exit_code is not None:
        assert status["ExitCode"] == row.exit_code
        assert result["X-Exit-Code"] == str(row.exit_code)
    assert row.says in (status["Error"] or "")
    assert (status["Error"] is None) == (row.state is State.SUCCEEDED)
    assert result.status == row.http
    assert result["X-Job-State"] == row.state
    if row.body is None:
        assert result.json["message"] == status["Error"]
    else:
        assert result.body == row.body


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.prints])
def test_what_was_printed_is_kept_however_it_ended(
    jobs: tuple[House, dict[str, str]], name: str
) -> None:
    house, ids = jobs
    house.until(name, ids[name], lambda status: status["Timeline"][-1]["Event"] == "released")
    path = f"/job-deployments/{name}/jobs/{ids[name]}/logs"
    lines = house.faces.control("GET", f"{path}?format=json").json
    assert ROWS[name].prints in [line["message"] for line in lines]
    text = house.faces.control("GET", path).body.decode()
    assert text.splitlines() == [line["message"] for line in lines]
    printed = house.faces.control("GET", f"/job-deployments/{name}/logs?order=asc").json
    assert printed == lines


def test_a_job_that_waits_too_long_expires(jobs: tuple[House, dict[str, str]]) -> None:
    house, _ = jobs
    house.deploy("patient", "c = take_job(); forever()")
    first = house.faces.submit("patient")
    house.until("patient", first, lambda status: status["State"] == "running")
    ttl = {"scaling": {"queue_message_ttl_seconds": 1}}
    assert house.faces.control("PATCH", "/job-deployments/patient", ttl).status == 200
    second = house.faces.submit("patient", "/", b"2")
    status = house.finished("patient", second)
    assert (status["State"], status["Reason"]) == ("expired", "queue_ttl")
    assert house.faces.result("patient", second).json["code"] == "queue_timeout"
    assert house.status("patient", first)["State"] == "running"
    house.faces.control("POST", f"/job-deployments/patient/jobs/{first}/cancel")


def _make_stopsignal_image() -> None:
    client = docker.APIClient()
    dockerfile = io.BytesIO(f"FROM {base_image()}\nSTOPSIGNAL SIGUSR1\n".encode())
    steps = client.build(fileobj=dockerfile, tag=STOPSIGNAL_IMAGE, rm=True, decode=True)
    assert not [step for step in steps if "error" in step]
    client.close()
