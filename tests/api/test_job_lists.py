"""/v1/job-deployments/<name>/jobs: pages, and one job in full."""

import re
from typing import Any

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.wire import Answer, call
from tests.api.worker import PlayedWorker
from tests.ledger.scene import submission

LARGEST_BYTES = 32 * 1024 * 1024
SHORT_MICROSECONDS = 100_000  # meanwhile nobody is answered; the API waits 0.7 s for Redis
TRIES = 3  # of which any may meet a machine that is busy
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def jobs(api: Faces, query: str = "", name: str = "hello") -> Answer:
    """The answer to a list."""
    return api.control("GET", f"/job-deployments/{name}/jobs{query}")


def show(api: Faces, job_id: str, name: str = "hello") -> Answer:
    """The answer about one job."""
    return api.control("GET", f"/job-deployments/{name}/jobs/{job_id}")


def listed(api: Faces, query: str = "") -> list[str]:
    """The ids of one page."""
    answer = jobs(api, query)
    assert answer.status == 200, answer
    return [job["Id"] for job in answer.json["jobs"]]


def test_no_jobs_are_an_empty_page(api: Faces, hello: str) -> None:
    assert jobs(api).json == {"jobs": [], "cursor": None}
    assert jobs(api, "/").json == jobs(api, "?cursor=").json == jobs(api).json


def test_the_newest_comes_first_and_fifty_make_a_page(api: Faces, hello: str) -> None:
    made = [api.submit(hello) for _ in range(52)]
    first = jobs(api).json
    assert [job["Id"] for job in first["jobs"]] == made[:1:-1]
    second = jobs(api, f"?cursor={first['cursor']}").json
    assert [job["Id"] for job in second["jobs"]] == [made[1], made[0]]
    assert second["cursor"] is None
    assert listed(api, "?limit=1000") == made[::-1]
    assert listed(api, "?limit=1") == [made[-1]]


def test_neither_the_longest_page_nor_the_largest_body_holds_up_redis(
    api: Faces, hello: str, ledger: Ledger
) -> None:
    record = ledger.deployments.get(hello)
    for n in range(1000):
        upload = ledger.payloads.upload(b"head")
        ledger.jobs.accept(record, f"j{n}", submission(), upload)

    def longest_call() -> int:
        ledger.client.slowlog_reset()
        assert len(listed(api, "?limit=1000")) == 1000
        api.submit(hello, body=bytes(LARGEST_BYTES))
        slow: Any = ledger.client.slowlog_get(128)  # by Redis's own clock
        return max((call["duration"] for call in slow), default=0)

    assert any(longest_call() < SHORT_MICROSECONDS for _ in range(TRIES))


def test_a_cursor_stays_good_when_more_jobs_come(api: Faces, hello: str) -> None:
    made = [api.submit(hello) for _ in range(4)]
    cursor = jobs(api, "?limit=2").json["cursor"]
    api.submit(hello)
    assert listed(api, f"?limit=2&cursor={cursor}") == [made[1], made[0]]


def test_states_are_chosen_as_often_as_one_likes(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    ended, running, queued = (api.submit(hello) for _ in range(3))
    worker.respond(hello, ended)
    worker.run(hello, running)
    assert listed(api, "?state=succeeded") == [ended]
    assert listed(api, "?state=queued&state=running") == [queued, running]
    assert listed(api, "?state=queued&state=queued") == [queued]
    assert listed(api, "?state=failed") == []
    everything = "&".join(f"state={state}" for state in State)
    assert listed(api, f"?{everything}") == [queued, running, ended]


def test_a_line_of_the_list_says_how_a_job_stands(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit(hello, "/secret?token=x", b"12345")
    fields = worker.store(b"HTTP/1.1 500 No\r\n\r\n", b"1234567")
    detail = "the process ended with exit code 3"
    worker.finish(hello, job_id, State.FAILED, Reason.EXIT_NONZERO, detail, **fields, exit_code=3)
    (line,) = jobs(api).json["jobs"]
    same = ("Id", "Status", "State", "Reason", "Error", "ExitCode", "Attempt", "CreatedAt")
    status = api.status(hello, job_id).json
    assert {name: line[name] for name in same} == {name: status[name] for name in same}
    assert (line["State"], line["Reason"], line["ExitCode"]) == ("failed", "exit_nonzero", 3)
    assert line["Request"] == {"Method": "POST", "Size": 5}
    assert line["Result"] == {"Status": 500, "Size": 7, "ExpiresAt": line["ResultExpiresAt"]}
    assert line["Log"]["Size"] is None
    assert "Timeline" not in line


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ("state=done", "state", "queued, dispatched, starting"),
        ("state=", "state", "queued"),
        ("state=queued&state=Queued", "state", "queued"),
        ("state=queued,running", "state", "queued"),
        *((f"limit={n}", "limit", "1 to 1000") for n in ("0", "1001", "-1", "", "x", "1.0", "1_0")),
        ("limit=%D9%A3", "limit", "1 to 1000"),
        ("limit=" + "9" * 5000, "limit", "1 to 1000"),
        *(
            (f"cursor={c}", "cursor", "lists")
            for c in ("x", "1", "0", "0" * 12 + ".1", "%00", "(1")
        ),
    ],
)
def test_what_a_list_can_not_be_asked(
    api: Faces, hello: str, query: str, field: str, allowed: str
) -> None:
    answer = jobs(api, f"?{query}")
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert answer.json["message"].startswith(f"{field}: ")
    assert allowed in answer.json["message"]
    assert len(answer.json["message"]) < 300


def test_all_that_a_list_can_not_be_asked_is_told_at_once(api: Faces, hello: str) -> None:
    told = jobs(api, "?cursor=x&limit=0&state=running&state=over").json["message"].split("; ")
    assert [part.partition(":")[0] for part in told] == ["state", "limit", "cursor"]
    assert told[0].startswith("state: 'over' is not allowed: must be one of queued, ")


def test_a_cursor_of_a_deployment_that_was_made_again_is_none(
    api: Faces, hello: str, ledger: Ledger
) -> None:
    for _ in range(2):
        api.submit(hello)
    cursor = jobs(api, "?limit=1").json["cursor"]
    assert api.control("DELETE", "/job-deployments/hello").json["status"] == "deleted"
    api.deploy("hello")
    assert jobs(api, f"?cursor={cursor}").status == 400


def test_one_job_in_full(api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger) -> None:
    job_id = api.submit(hello, "/a%2Fb//c?x=%20", b"12345")
    worker.respond(hello, job_id, body=b"1234567")
    answer = show(api, job_id)
    assert answer.status == 200
    job, status = answer.json, api.status(hello, job_id).json
    assert {name: job[name] for name in status} == status
    assert [entry["Event"] for entry in job["Timeline"]][-1] == "released"
    assert job["Request"] == {"Method": "POST", "Target": "/a%2Fb//c?x=%20", "Size": 5}
    until = job["ResultExpiresAt"]
    assert INSTANT.fullmatch(until)
    assert job["Result"] == {"Status": 200, "Size": 7, "ExpiresAt": until}
    assert job["Log"] == {"Size": None, "ExpiresAt": until}
    assert (job["Deployment"], job["Version"], job["Compute"]) == ("hello", 1, "cpu")
    assert job["CancelRequested"] is False
    (attempt,) = job["Attempts"]
    assert (attempt["Attempt"], attempt["Node"], attempt["Reason"]) == (1, "played", "exit_0")
    assert attempt["StartedAt"] == job["StartedAt"]
    assert api.control("GET", job["Links"]["Self"].removeprefix("/v1")).json == job
    assert api.control("GET", job["Links"]["Logs"].removeprefix("/v1")).status == 200
    assert api.control("POST", job["Links"]["Cancel"].removeprefix("/v1")).status == 200
    assert api.control("POST", job["Links"]["Retry"].removeprefix("/v1")).status == 202
    named = [("X-Inference-Id", job_id)]
    assert api.data("GET", job["Links"]["Status"], named).json == status
    assert api.data("GET", job["Links"]["Result"], named).body == b"1234567"


def test_each_attempt_is_told(api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger) -> None:
    job_id = api.submit(hello)
    grip = worker.claim(hello, job_id)
    ledger.attempts.abandon(grip, Reason.ENGINE_LOST, "no container")
    ledger.attempts.requeue(grip)
    first, second = show(api, job_id).json["Attempts"]
    assert (first["Attempt"], first["Reason"], first["Node"]) == (1, "engine_lost", "played")
    assert INSTANT.fullmatch(first["EndedAt"])
    assert (second["Attempt"], second["Reason"], second["EndedAt"]) == (2, None, None)


def test_a_cancel_that_is_not_carried_out_yet_shows(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit(hello)
    worker.run(hello, job_id)
    assert show(api, job_id).json["CancelRequested"] is False
    cancel = f"/job-deployments/hello/jobs/{job_id}/cancel?timeout=0"
    assert api.control("POST", cancel).status == 202
    assert show(api, job_id).json["CancelRequested"] is True


@pytest.mark.parametrize("job_id", ["unknown", "%00", "a%2Fb", "a%20b", "x" * 129])
def test_what_is_no_job(api: Faces, hello: str, job_id: str) -> None:
    answer = show(api, job_id)
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_what_is_no_deployment(api: Faces) -> None:
    for answer in (jobs(api, name="unknown"), show(api, "x", "unknown")):
        assert (answer.status, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/jobs", "/jobs/x"])
def test_a_token_is_needed(api: Faces, hello: str, path: str) -> None:
    for headers in ([], [api.bearer]):
        answer = call(api.port, "GET", f"/v1/job-deployments/hello{path}", headers)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized_request")
