"""GET /v1/job-deployments/{name}/jobs/{id}/logs: what the job's replica printed."""

from datetime import datetime

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.wire import Answer, call
from tests.api.worker import PlayedWorker

PRINTED = b"one\n\xff two\n" * 100_000  # more than a chunk
AT = 1_700_000_000_123_456_789


def logs(api: Faces, name: str, job_id: str) -> Answer:
    return api.control("GET", f"/job-deployments/{name}/jobs/{job_id}/logs")


@pytest.fixture
def printed(api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger) -> str:
    """The id of a job that has printed something."""
    job_id = api.submit(hello)
    grip = worker.run(hello, job_id)
    ledger.attempts.finish(grip, State.FAILED, Reason.EXIT_NONZERO, "exit code 1", {})
    worker.print(grip, PRINTED, at=AT, cut=True)
    ledger.attempts.release(grip)
    return job_id


def test_the_log_is_served_as_it_was(api: Faces, hello: str, printed: str) -> None:
    answer = logs(api, hello, printed)
    assert (answer.status, answer.body) == (200, PRINTED)
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["X-Log-Truncated"] == "true"


def test_as_json_it_has_instants_and_streams(
    api: Faces, hello: str, printed: str, worker: PlayedWorker
) -> None:
    path = f"/job-deployments/{hello}/jobs/{printed}/logs"
    answer = api.control("GET", f"{path}?format=json")
    assert (answer.status, answer["X-Log-Truncated"]) == (200, "true")
    common = {
        "container_name": f"{hello}-0",
        "replica": worker.job(hello, printed).replica,
        "stream": "stdout",
    }
    assert answer.json[:2] == [
        {"timestamp": AT, **common, "message": "one"},
        {"timestamp": AT + 1, **common, "message": "\ufffd two"},
    ]
    assert len(answer.json) == 200_000
    headers = [("Accept", "application/json"), ("Authorization", f"Bearer {api.token}")]
    assert call(api.port, "GET", f"/v1{path}", headers).json == answer.json
    assert api.control("GET", f"{path}?format=text").body == PRINTED
    wrong = api.control("GET", f"{path}?format=xml&follow=maybe")
    assert (wrong.status, wrong.json["message"].split("; ")) == (
        400,
        [
            "format: 'xml' is not allowed: must be text or json",
            "follow: 'maybe' is not allowed: must be true or false",
        ],
    )


def test_until_the_job_is_over_there_is_none(api: Faces, hello: str, worker: PlayedWorker) -> None:
    job_id = api.submit(hello)
    answer = logs(api, hello, job_id)
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert "dispatched" in answer.json["message"]
    assert answer["Retry-After"] == "1"


def test_a_job_that_never_ran_printed_nothing(api: Faces, hello: str, worker: PlayedWorker) -> None:
    job_id = api.submit(hello)
    worker.finish(hello, job_id, State.FAILED, Reason.IMAGE_NOT_FOUND, "no image")
    answer = logs(api, hello, job_id)
    assert (answer.status, answer.body, answer["X-Log-Truncated"]) == (200, b"", "false")


def test_after_its_retention_it_says_when_it_went(
    api: Faces, hello: str, printed: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    ledger.client.unlink(f"onejob:payload:{worker.job(hello, printed).log}")
    answer = logs(api, hello, printed)
    assert (answer.status, answer.json["code"]) == (410, "result_expired")
    until = answer.json["message"].rsplit(" ", 1)[1]
    assert datetime.fromisoformat(until) > datetime.fromisoformat("2026-01-01T00:00:00Z")


def test_unknown_jobs_and_deployments_are_404(api: Faces, hello: str) -> None:
    assert logs(api, hello, "nope").status == 404
    assert logs(api, "nope", "nope").status == 404


def test_it_needs_a_token(api: Faces, hello: str, printed: str) -> None:
    answer = api.data("GET", f"/v1/job-deployments/{hello}/jobs/{printed}/logs")
    assert answer.status == 401  # an inference key is none
