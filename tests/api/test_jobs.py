"""One job, for whoever looks after it: cancel and retry; and pause, resume, purge of them all."""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from app.domain.job import Reason, State
from app.domain.transport import RequestHead
from app.ledger import Ledger
from tests.api.faces import Faces, deployment
from tests.api.wire import Answer, call
from tests.api.worker import PlayedWorker


def post(api: Faces, name: str, job_id: str, verb: str) -> Answer:
    return api.control("POST", f"/job-deployments/{name}/jobs/{job_id}/{verb}")


def test_a_job_that_waits_is_cancelled_at_once(api: Faces, hello: str) -> None:
    first, second = api.submit(hello), api.submit(hello)
    for job_id in (second, first):  # queued, dispatched
        answer = post(api, hello, job_id, "cancel")
        assert answer.status == 200
        assert (answer.json["Id"], answer.json["State"]) == (job_id, "cancelled")
        assert answer.json["Reason"] == "cancelled"


@pytest.mark.parametrize("running", [False, True])
def test_a_cancel_is_answered_once_the_container_is_gone(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger, running: bool
) -> None:
    job_id = api.submit(hello)
    grip = worker.run(hello, job_id) if running else worker.claim(hello, job_id)
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(post(api, hello, job_id, "cancel")))
    asking.start()
    while worker.job(hello, job_id).cancel is None:
        pass  # as soon as the flag is there the worker sees it
    ledger.attempts.finish(grip, State.CANCELLED, Reason.CANCELLED, "cancelled on request", {})
    asking.join(0.3)
    assert asking.is_alive(), "its container is still there"
    ledger.attempts.release(grip)
    asking.join()
    assert (answers[0].status, answers[0].json["State"]) == (200, "cancelled")


@pytest.mark.parametrize("timeout", ["-1", "abc", "300001"])
def test_a_bad_timeout_cancels_nothing(api: Faces, hello: str, timeout: str) -> None:
    job_id = api.submit(hello)
    answer = post(api, hello, job_id, f"cancel?timeout={timeout}")
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert timeout in answer.json["message"]
    assert api.status(hello, job_id).json["State"] == "dispatched"


def test_a_job_that_is_over_says_what_it_is(api: Faces, hello: str, worker: PlayedWorker) -> None:
    job_id = api.submit(hello)
    worker.respond(hello, job_id)
    for _ in range(2):
        answer = post(api, hello, job_id, "cancel")
        assert (answer.status, answer.json["State"]) == (200, "succeeded")


def test_a_cancel_that_takes_too_long_is_202_with_the_state(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    job_id = api.submit(hello)
    worker.run(hello, job_id)
    answer = post(api, hello, job_id, "cancel?timeout=200")
    assert (answer.status, answer.json["State"]) == (202, "running")
    assert worker.job(hello, job_id).cancel is Reason.CANCELLED


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_an_unknown_job_is_404(api: Faces, hello: str, verb: str) -> None:
    assert post(api, hello, "nobody", verb).status == 404
    assert post(api, "nothing", "nobody", verb).status == 404


@pytest.mark.parametrize("size", [3, 2_500_000])
def test_a_retry_makes_a_new_job_of_the_same_request(
    api: Faces, hello: str, worker: PlayedWorker, size: int
) -> None:
    body = b"xyz" * (size // 3)
    old = api.submit(hello, "/train?x=1", body, X_Twice="yes")
    worker.finish(hello, old, State.FAILED, Reason.NODE_LOST, "lost")
    answer = post(api, hello, old, "retry")
    new = answer["X-Inference-Id"]
    assert (answer.status, answer["Location"]) == (202, f"/result/{hello}")
    assert answer.json == {
        "Id": new,
        "StatusPath": f"/status/{hello}",
        "ResultPath": f"/result/{hello}",
    }
    assert new != old
    before, old_body = worker.request(hello, old)
    after, new_body = worker.request(hello, new)
    assert (before.method, before.target, old_body) == (after.method, after.target, new_body)
    assert new_body == body
    assert ids(before) == [old]
    assert ids(after) == [new]
    assert ("X-Twice", "yes") in after.headers
    assert worker.job(hello, old).state is State.FAILED


def ids(head: RequestHead) -> list[str]:
    return [value for name, value in head.headers if name == "X-Inference-Id"]


def test_what_is_not_over_can_not_be_retried(api: Faces, hello: str) -> None:
    answer = post(api, hello, api.submit(hello), "retry")
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert "dispatched" in answer.json["message"]


def test_a_request_that_is_no_longer_kept_can_not_be_retried(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    job_id = api.submit(hello)
    worker.respond(hello, job_id)
    ledger.client.unlink(f"onejob:payload:{worker.job(hello, job_id).payload}")
    answer = post(api, hello, job_id, "retry")
    assert (answer.status, answer.json["code"]) == (410, "result_expired")


def test_both_need_a_token(api: Faces, hello: str) -> None:
    job_id = api.submit(hello)
    for verb in ("cancel", "retry"):
        path = f"/v1/job-deployments/{hello}/jobs/{job_id}/{verb}"
        assert api.data("POST", path).status == 401


# -- all of a deployment's jobs ----------------------------------------------------------------


def all_of(api: Faces, name: str, verb: str) -> Answer:
    return api.control("POST", f"/job-deployments/{name}/{verb}")


def test_a_paused_deployment_accepts_and_starts_nothing(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    answer = all_of(api, hello, "pause")
    assert (answer.status, answer.body) == (201, b"")
    assert api.control("GET", f"/job-deployments/{hello}/status").json == {"status": "paused"}
    job_id = api.submit(hello)
    assert api.status(hello, job_id).json["State"] == "queued"
    answer = all_of(api, hello, "resume")
    assert (answer.status, answer.body) == (201, b"")
    assert api.status(hello, job_id).json["State"] == "dispatched"
    worker.respond(hello, job_id)


def test_a_purge_cancels_what_waits_and_leaves_what_runs(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    running, *waiting = (api.submit(hello) for _ in range(4))
    worker.run(hello, running)
    answer = all_of(api, hello, "purge-queue")
    assert (answer.status, answer.body) == (201, b"")
    assert api.status(hello, running).json["State"] == "running"
    for job_id in waiting:
        assert api.status(hello, job_id).json["Reason"] == "purged"
        assert api.result(hello, job_id).status == 410


@pytest.mark.parametrize("verb", ["pause", "resume", "purge-queue"])
def test_an_unknown_deployment_is_404(api: Faces, verb: str) -> None:
    assert all_of(api, "nothing", verb).status == 404


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_one_that_is_being_deleted_is_409(
    api: Faces, hello: str, ledger: Ledger, verb: str
) -> None:
    ledger.deployments.terminate(hello)
    assert all_of(api, hello, verb).status == 409


# -- the retry policy --------------------------------------------------------------------------


def test_a_retry_policy_comes_back(api: Faces) -> None:
    policy = {"max_attempts": 3, "on": ["node_lost", "oom_killed", "exit_nonzero"]}
    answer = api.control("POST", "/job-deployments", deployment(retry_policy=policy))
    assert (answer.status, answer.json["retry_policy"]) == (201, policy)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"max_attempts": 0, "on": ["node_lost"]}, ["retry_policy.max_attempts", "0", "at least"]),
        ({"max_attempts": 101, "on": []}, ["retry_policy.max_attempts", "101", "at most 100"]),
        ({"on": ["node_lost"]}, ["retry_policy.max_attempts is missing"]),
        ({"max_attempts": 2, "on": ["nonsense"]}, ["retry_policy.on[0]", "nonsense", "node_lost"]),
        ({"max_attempts": 2, "on": ["cancelled"]}, ["retry_policy.on", "cancelled", "node_lost"]),
        ({"max_attempts": 2, "on": "node_lost"}, ["retry_policy.on", "must be a list"]),
        ("always", ["retry_policy", "always", "must be an object"]),
    ],
)
def test_a_bad_retry_policy_is_refused(api: Faces, policy: object, words: list[str]) -> None:
    answer = api.control("POST", "/job-deployments", deployment(retry_policy=policy))
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    for word in words:
        assert word in answer.json["message"]


def test_the_status_tells_of_earlier_attempts(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    job_id = api.submit(hello)
    assert api.status(hello, job_id).json["EarlierAttempts"] == []
    grip = worker.run(hello, job_id)
    ledger.attempts.abandon(grip, Reason.OOM_KILLED, "out of memory")
    ledger.attempts.requeue(grip)
    status = api.status(hello, job_id).json
    (earlier,) = status["EarlierAttempts"]
    assert (earlier["Attempt"], earlier["Reason"]) == (1, "oom_killed")
    assert (earlier["Node"], earlier["Detail"]) == ("played", "out of memory")
    assert earlier["StartedAt"] < earlier["EndedAt"]
    assert status["Attempt"] == 2
    details = [e["Detail"] for e in status["Timeline"] if e["Event"] == "abandoned"]
    assert details == ["out of memory"]


@pytest.mark.parametrize("verb", ["cancel", "retry", "logs"])
def test_an_id_with_a_nul_is_no_other_jobs(api: Faces, hello: str, verb: str) -> None:
    """In the name of a key it would end there."""
    first, second = api.submit(hello), api.submit(hello)
    for job_id in (first, second):
        method = "GET" if verb == "logs" else "POST"
        path = f"/job-deployments/{hello}/jobs/{job_id}%00/{verb}"
        answer = api.control(method, path)
        assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert api.status(hello, first).json["State"] == "dispatched"
    assert api.status(hello, second).json["State"] == "queued"


def test_where_many_wait_already_a_cancel_is_answered_at_once(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit(hello)
    grip = worker.run(hello, job_id)
    with ThreadPoolExecutor(8) as pool:  # the server has 4 threads
        asked = [pool.submit(post, api, hello, job_id, "cancel?timeout=20000") for _ in range(8)]
        assert next(as_completed(asked)).result().status == 202
        assert call(api.port, "GET", "/health").status == 200
        worker.end(grip, State.CANCELLED, Reason.CANCELLED, "cancelled on request", {})
        assert {one.result().status for one in asked} == {200, 202}
