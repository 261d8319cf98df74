"""/status and /result: what they say of a job in every state that it can be in."""

import re
from typing import Any

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.api.ends import Play, cancel, ends, expire
from tests.api.faces import Faces
from tests.api.wire import Answer
from tests.api.worker import OK, PlayedWorker

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def started(api: Faces, worker: PlayedWorker, play: Play, **headers: str) -> str:
    """A job of which the worker played its part; its id."""
    job_id = api.submit("hello", **headers)
    play(worker, job_id)
    return job_id


def nothing(worker: PlayedWorker, job_id: str) -> None:
    """No worker is there."""


def claim(worker: PlayedWorker, job_id: str) -> None:
    worker.claim("hello", job_id)


def run(worker: PlayedWorker, job_id: str) -> None:
    worker.run("hello", job_id)


OPEN: list[tuple[Play, str, str]] = [
    (nothing, "dispatched", "Queue"),
    (claim, "starting", "Queue"),
    (run, "running", "Inference"),
]
OVER: list[tuple[Play, str, str, int, str]] = [
    (
        ends(State.FAILED, Reason.EXIT_NONZERO, "exit code 3", exit_code=3),
        "failed",
        "exit_nonzero",
        502,
        "job_failed",
    ),
    (
        ends(State.FAILED, Reason.IMAGE_NOT_FOUND, "no such image"),
        "failed",
        "image_not_found",
        502,
        "job_failed",
    ),
    (
        ends(State.TIMED_OUT, Reason.DEADLINE, "the deadline of 60 s passed"),
        "timed_out",
        "deadline",
        504,
        "deadline_exceeded",
    ),
    (expire, "expired", "queue_ttl", 504, "queue_timeout"),
    (cancel, "cancelled", "cancelled", 410, "cancelled"),
    (
        ends(State.CANCELLED, Reason.PURGED, "the queue was purged"),
        "cancelled",
        "purged",
        410,
        "cancelled",
    ),
]


@pytest.mark.parametrize(("play", "state", "word"), OPEN)
def test_a_job_that_is_not_over(
    api: Faces, hello: str, worker: PlayedWorker, play: Play, state: str, word: str
) -> None:
    job_id = started(api, worker, play)
    status = api.status("hello", job_id)
    assert status.status == 200
    assert (status.json["Status"], status.json["State"]) == (word, state)
    assert status.json["Error"] is None
    result = api.result("hello", job_id)
    assert result.status == 404
    assert result.json["code"] == "not_found"
    assert result.json["message"].startswith("result not found")
    assert state in result.json["message"]
    assert int(result["Retry-After"]) >= 1
    assert result["X-Inference-Id"] == job_id
    assert result["X-Job-State"] == state
    assert "X-Exit-Code" not in result


@pytest.mark.parametrize(("play", "state", "reason", "code", "error"), OVER)
def test_a_job_that_is_over_without_a_response(
    api: Faces,
    hello: str,
    worker: PlayedWorker,
    play: Play,
    state: str,
    reason: str,
    code: int,
    error: str,
) -> None:
    job_id = started(api, worker, play)
    status = api.status("hello", job_id).json
    assert status["Status"] == "Completed"
    assert (status["State"], status["Reason"]) == (state, reason)
    assert status["Error"]
    result = api.result("hello", job_id)
    assert result.status == code
    assert result.json == {"code": error, "message": status["Error"]}
    assert result["X-Job-State"] == state
    assert result["X-Inference-Id"] == job_id
    exit_code = status["ExitCode"]
    assert result.all("X-Exit-Code") == ([] if exit_code is None else [str(exit_code)])


def test_every_job_that_waits_knows_its_place(api: Faces, hello: str, worker: PlayedWorker) -> None:
    first, *others = [api.submit("hello") for _ in range(3)]
    assert api.status("hello", first).json["QueuePosition"] is None
    statuses = [api.status("hello", job_id).json for job_id in others]
    assert [status["QueuePosition"] for status in statuses] == [1, 2]
    assert {(status["State"], status["Status"]) for status in statuses} == {("queued", "Queue")}
    worker.respond("hello", first)
    assert api.status("hello", others[0]).json["State"] == "dispatched"
    assert api.status("hello", others[1]).json["QueuePosition"] == 1


def test_a_response_is_served_and_the_status_tells_all(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit("hello")
    worker.respond("hello", job_id, OK, b"done")
    result = api.result("hello", job_id)
    assert (result.status, result.body) == (200, b"done")
    assert (result["X-Job-State"], result["X-Exit-Code"]) == ("succeeded", "0")
    status = api.status("hello", job_id).json
    assert status["Id"] == job_id
    assert status["Status"] == "Completed"
    assert status["Error"] is None
    assert (status["State"], status["Reason"]) == ("succeeded", "exit_0")
    assert (status["ExitCode"], status["OOMKilled"]) == (0, False)
    assert (status["Attempt"], status["Node"]) == (1, "played")
    assert status["Replica"].startswith("onejob-")
    assert status["ResponseStatus"] == 200
    names = ("CreatedAt", "StartedAt", "FinishedAt", "DeadlineAt", "ResultExpiresAt")
    assert all(INSTANT.fullmatch(status[name]) for name in names)
    assert status["CreatedAt"] <= status["FinishedAt"] < status["ResultExpiresAt"]
    events = [entry["Event"] for entry in status["Timeline"]]
    assert events == [
        "queued",
        "dispatched",
        "starting",
        "started",
        "sent",
        "succeeded",
        "released",
    ]
    assert all(INSTANT.fullmatch(entry["At"]) for entry in status["Timeline"])


def test_the_status_of_a_job_that_waits_says_null_for_what_is_not_yet(
    api: Faces, hello: str
) -> None:
    status = api.status("hello", api.submit("hello")).json
    missing = "Reason ExitCode Replica Node StartedAt FinishedAt DeadlineAt ResponseStatus"
    assert [status[name] for name in missing.split()] == [None] * 8


def test_a_response_is_served_even_where_the_deadline_then_came(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit("hello")
    fields = worker.store(OK, b"in time") | {"exit_code": 143}
    worker.finish("hello", job_id, State.TIMED_OUT, Reason.DEADLINE, "the deadline", **fields)
    result = api.result("hello", job_id)
    assert (result.status, result.body) == (200, b"in time")
    assert (result["X-Job-State"], result["X-Exit-Code"]) == ("timed_out", "143")


def test_a_response_is_served_even_where_the_job_then_failed(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit("hello")
    worker.respond("hello", job_id, b"HTTP/1.1 201 Made\r\n\r\n", b"still", exit_code=3)
    result = api.result("hello", job_id)
    assert (result.status, result.reason, result.body) == (201, "Made", b"still")
    assert (result["X-Job-State"], result["X-Exit-Code"]) == ("failed", "3")


def test_the_apps_own_404_can_be_told_from_ours(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit("hello")
    worker.respond("hello", job_id, b"HTTP/1.1 404 Not Found\r\n\r\n", b"mine")
    result = api.result("hello", job_id)
    assert (result.status, result["X-Job-State"]) == (404, "succeeded")


def test_success_without_a_response_is_200_and_empty(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = started(api, worker, ends(State.SUCCEEDED, Reason.EXIT_0, "", exit_code=0))
    result = api.result("hello", job_id)
    assert (result.status, result.body) == (200, b"")
    assert result["Content-Type"] == "application/octet-stream"
    assert (result["X-Job-State"], result["X-Exit-Code"]) == ("succeeded", "0")


def test_a_result_that_nobody_wanted_is_410(api: Faces, hello: str, worker: PlayedWorker) -> None:
    play = ends(State.SUCCEEDED, Reason.EXIT_0, "", exit_code=0)
    job_id = started(api, worker, play, Prefer="respond-async-proxy")
    assert api.status("hello", job_id).json["State"] == "succeeded"
    result = api.result("hello", job_id)
    assert (result.status, result.json["code"]) == (410, "result_expired")


def test_after_its_retention_the_result_is_410_and_the_status_stays(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    job_id = api.submit("hello")
    worker.respond("hello", job_id, OK, b"done")
    job = worker.job("hello", job_id)
    ttl: Any = ledger.client.ttl(f"onejob:payload:{job.response}")
    assert 0 < ttl <= 7 * 24 * 3600 + 1  # it goes by itself
    ledger.client.delete(f"onejob:payload:{job.response}")
    result = api.result("hello", job_id)
    assert (result.status, result.json["code"]) == (410, "result_expired")
    assert (result["X-Inference-Id"], result["X-Job-State"]) == (job_id, "succeeded")
    assert result["X-Exit-Code"] == "0"
    status = api.status("hello", job_id).json
    assert status["ResultExpiresAt"] in result.json["message"]
    assert status["State"] == "succeeded"


def test_an_oom_kill_is_told(api: Faces, hello: str, worker: PlayedWorker) -> None:
    play = ends(State.FAILED, Reason.OOM_KILLED, "out of memory", exit_code=137, oom_killed=1)
    job_id = started(api, worker, play)
    status = api.status("hello", job_id).json
    assert (status["OOMKilled"], status["ExitCode"]) == (True, 137)
    assert api.result("hello", job_id)["X-Exit-Code"] == "137"


def test_what_an_app_printed_may_be_anything(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    detail = 'exit code 1; last log line: \x00\x1b[31m"\r\n\u2028ü</script>'
    job_id = started(api, worker, ends(State.FAILED, Reason.EXIT_NONZERO, detail))
    assert api.status("hello", job_id).json["Error"] == detail
    assert api.result("hello", job_id).json["message"] == detail
    uid = ledger.deployments.get("hello").uid
    ledger.client.hset(f"onejob:job:{uid}:{job_id}", "detail", b"\xff\xfe")
    assert api.status("hello", job_id).json["Error"] == "\ufffd\ufffd"


def head_of(api: Faces, job_id: str) -> tuple[Answer, Answer]:
    """The answer to HEAD, and one more on the same connection."""
    with api.open("HEAD", "/result/hello", ("X-Inference-Id", job_id)) as connection:
        head = connection.answer(head_only=True)
        return head, connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").answer()


def test_head_of_a_result_is_its_head(api: Faces, hello: str, worker: PlayedWorker) -> None:
    job_id = api.submit("hello")
    waiting, after = head_of(api, job_id)
    assert (waiting.status, waiting["X-Job-State"], after.status) == (404, "dispatched", 200)
    worker.respond("hello", job_id, OK, b"a body")
    head, after = head_of(api, job_id)
    assert (head.status, head["Content-Length"], head["X-Exit-Code"]) == (200, "6", "0")
    assert after.status == 200


def test_an_exit_code_that_nobody_knows_is_not_the_apps_to_say(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit("hello")
    fields = worker.store(b"HTTP/1.1 200 OK\r\nX-Exit-Code: 0\r\n\r\n", b"x")
    worker.finish("hello", job_id, State.FAILED, Reason.NODE_LOST, "its node is gone", **fields)
    result = api.result("hello", job_id)
    assert (result.status, result["X-Job-State"]) == (200, "failed")
    assert "X-Exit-Code" not in result
