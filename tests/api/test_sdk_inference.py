"""Verda's own Python SDK, unmodified, against the data plane; the test plays the worker.

Each method of its InferenceClient is called, its answer looked at, and what its user is told of
each mistake and of each end that a job may have.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from verda.inference_client import AsyncStatus, InferenceClient, InferenceClientError
from verda.job_deployments import JobDeploymentsService

from app.domain.errors import NotFound
from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.api.ends import cancel, ends, expire
from tests.api.sdk import refused, wanted
from tests.api.worker import PlayedWorker

JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


def test_a_job_from_submit_to_result(inference: InferenceClient, worker: PlayedWorker) -> None:
    execution = inference.run({"hello": "world"}, path="/generate?x=1")
    waiting = execution.status_json()
    assert (waiting["Id"], waiting["Status"]) == (execution.id, "Queue")
    assert execution.result()["code"] == "not_found"
    head, body = worker.request("hello", execution.id)
    assert (head.method, head.target) == ("POST", "/generate?x=1")
    assert body == b'{"hello": "world"}'
    assert ("Content-Type", "application/json") in head.headers
    worker.respond("hello", execution.id, JSON, b'{"answer": 42}')
    assert execution.status_json()["Status"] == execution.status() == "Completed"
    assert execution.result() == {"answer": 42}


def test_each_word_that_it_knows(inference: InferenceClient, worker: PlayedWorker) -> None:
    running, waiting = inference.run({}), inference.run({})
    assert running.status() is AsyncStatus.Initialized  # before it has asked
    for execution in (running, waiting):
        assert execution.status_json()["Status"] == execution.status() == AsyncStatus.Queue
    grip = worker.run("hello", running.id)
    assert running.status_json()["Status"] == running.status() == AsyncStatus.Inference
    worker.end(grip, State.SUCCEEDED, Reason.EXIT_0, "it went well", {})
    assert running.status_json()["Status"] == running.status() == AsyncStatus.Completed
    assert running.result() == {"result": ""}  # it succeeded without a response


def test_headers_and_methods_of_its_users_choice(
    inference: InferenceClient, worker: PlayedWorker
) -> None:
    inference.set_global_header("X-One", "1")
    inference.set_global_headers({"X-Two": "2", "X-Three": "3"})
    inference.remove_global_header("X-Three")
    with inference:
        execution = inference.run({}, http_method="PUT", headers={"X-Four": "4"})
    head, body = worker.request("hello", execution.id)
    assert (head.method, body) == ("PUT", b"{}")
    sent = {name: value for name, value in head.headers if name in ("X-One", "X-Two", "X-Four")}
    assert sent == {"X-One": "1", "X-Two": "2", "X-Four": "4"}
    names = {name.lower() for name, _ in head.headers}
    assert not names & {"x-three", "authorization", "prefer"}


def test_a_result_that_is_not_json(inference: InferenceClient, worker: PlayedWorker) -> None:
    execution = inference.run({})
    worker.respond("hello", execution.id, body=b"plain")
    assert execution.result() == {"result": "plain"}


def test_a_job_whose_result_nobody_wants(inference: InferenceClient, worker: PlayedWorker) -> None:
    chosen = {"X-Inference-Id": "one"}
    assert inference.run({"x": 1}, no_response=True, headers=chosen) is None
    head, body = worker.request("hello", "one")
    assert (body, head.headers.count(("Prefer", "respond-async"))) == (b'{"x": 1}', 1)


@pytest.mark.parametrize("prefer", ["wait=60", "respond-async-container"])
def test_a_synchronous_run_waits_if_it_says_so(
    inference: InferenceClient, worker: PlayedWorker, prefer: str
) -> None:
    headers = {"Prefer": prefer, "X-Inference-Id": "one"}
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(inference.run_sync, {"x": 1}, path="/generate", headers=headers)
        until_accepted(worker, "one")
        assert worker.request("hello", "one")[1] == b'{"x": 1}'
        worker.respond("hello", "one", JSON, b'{"answer": 42}')
        got = response.result()
    assert (got.status_code, got.output()) == (200, {"answer": 42})
    assert got.headers["X-Job-State"] == "succeeded"


def test_a_synchronous_run_may_take_its_answer_piece_by_piece(
    inference: InferenceClient, worker: PlayedWorker
) -> None:
    execution = inference.run({}, headers={"X-Inference-Id": "one"})
    worker.respond("hello", execution.id, body=b"first\nsecond\n")
    headers = {"Prefer": "wait=60", "X-Inference-Id": "one"}
    got = inference.run_sync({}, headers=headers, stream=True)
    assert list(got.stream()) == [b"first", b"second"]
    again = inference.run_sync({}, headers=headers, stream=True)
    assert b"".join(again.stream(chunk_size=3, as_text=False)) == b"first\nsecond\n"
    assert inference.run_sync({}, headers=headers).output(is_text=True) == "first\nsecond\n"


def test_a_synchronous_run_that_does_not_say_so_gets_the_id(inference: InferenceClient) -> None:
    got = inference.run_sync({"x": 1})
    assert got.status_code == 202
    assert got.output()["Id"] == got.headers["X-Inference-Id"]


def test_every_method_of_the_client_makes_a_job(
    inference: InferenceClient, worker: PlayedWorker
) -> None:
    sent = [
        inference.get("/a", params={"x": "y z"}),
        inference.post("b", json={"x": None}),
        inference.post("b/", data={"x": "y"}, headers={"Content-Type": "text/plain"}),
        inference.put("c", data="text"),
        inference.patch("d", json={}),
        inference.delete("e"),
    ]
    got = [worker.request("hello", answer.json()["Id"]) for answer in sent]
    assert [(head.method, head.target, body) for head, body in got] == [
        ("GET", "/a?x=y+z", b""),
        ("POST", "/b", b'{"x": null}'),
        ("POST", "/b/", b"x=y"),
        ("PUT", "/c", b"text"),
        ("PATCH", "/d", b"{}"),
        ("DELETE", "/e", b""),
    ]


def until_accepted(worker: PlayedWorker, job_id: str) -> None:
    give_up = time.monotonic() + 20
    while True:
        try:
            worker.job("hello", job_id)
            return
        except NotFound:
            assert time.monotonic() < give_up, "nothing was accepted"
            time.sleep(0.01)  # its client gets no answer yet


def test_its_health_check(
    inference: InferenceClient, jobs: JobDeploymentsService, worker: PlayedWorker
) -> None:
    assert inference.health().json() == {"status": "ok"}
    worker.run("hello", inference.run({}).id)
    jobs.pause("hello")
    assert is_unhealthy(inference) == {"status": "paused"}
    jobs.delete("hello", timeout=0)
    assert is_unhealthy(inference) == {"status": "terminating"}
    refused(404, "not_found", "no deployment 'nobody'", other(inference, "nobody").health)


def is_unhealthy(inference: InferenceClient) -> Any:
    """What the health check says where it is no good: the one error whose form is another."""
    with pytest.raises(InferenceClientError, match=r"Health check failed: .* 503") as error:
        inference.health()
    return error.value.__cause__.__cause__.response.json()  # type: ignore[union-attr]


def other(inference: InferenceClient, name: str, key: str | None = None) -> InferenceClient:
    """A client of another deployment, or with another key."""
    return InferenceClient(key or inference.inference_key, f"{inference.base_domain}/{name}")


# -- what its user is told ----------------------------------------------------------------------


def test_a_wrong_key(inference: InferenceClient) -> None:
    execution = inference.run({})
    wrong, words = other(inference, "hello", "wrong"), "not an inference key of this server"
    for call in (lambda: wrong.run({}), lambda: wrong.run_sync({}), wrong.health):
        refused(401, "unauthorized_request", words, call)
    execution._inference_client = wrong
    assert execution.result() == {"code": "unauthorized_request", "message": f"this is {words}"}


def test_an_unknown_deployment(inference: InferenceClient) -> None:
    nobody = other(inference, "nobody")
    for call in (
        lambda: nobody.run({}),
        lambda: nobody.run({}, no_response=True),
        lambda: nobody.run_sync({}, headers={"Prefer": "wait=60"}),
        lambda: nobody.get("x"),
    ):
        refused(404, "not_found", "no deployment 'nobody'", call)


def test_an_id_that_is_taken_or_none(inference: InferenceClient) -> None:
    taken = {"X-Inference-Id": "one"}
    assert inference.run({"x": 1}, headers=dict(taken)).id == "one"
    assert inference.run({"x": 1}, headers=dict(taken)).id == "one"  # a safe repeat
    refused(409, "conflict", "'one'", lambda: inference.run({"x": 2}, headers=dict(taken)))
    none = {"X-Inference-Id": "a b"}
    words = "X-Inference-Id: 'a b' is not allowed"
    refused(400, "invalid_request", words, lambda: inference.run({}, headers=none))


def test_methods_that_make_no_job(inference: InferenceClient) -> None:
    words = "OPTIONS makes no job"
    answer = refused(405, "method_not_allowed", words, lambda: inference.options("/x"))
    assert answer.headers["Allow"] == "POST, GET, PUT, PATCH, DELETE"
    with pytest.raises(InferenceClientError, match="405"):  # the answer to HEAD has no body
        inference.head("/x")


def test_a_deployment_that_is_being_deleted(
    inference: InferenceClient, jobs: JobDeploymentsService, worker: PlayedWorker
) -> None:
    worker.run("hello", inference.run({}).id)
    jobs.delete("hello", timeout=0)
    refused(409, "conflict", "is being deleted", lambda: inference.run({}))


def test_a_body_over_the_limit(inference: InferenceClient) -> None:
    body = "x" * (32 * 1024 * 1024 + 1)
    words = "over the limit of 33554432 bytes"
    refused(413, "payload_too_large", words, lambda: inference.post("x", data=body))


ENDS: list[tuple[Callable[[PlayedWorker, str], None], int, str, str]] = [
    (ends(State.FAILED, Reason.EXIT_NONZERO, "exit code 3"), 502, "job_failed", "exit code 3"),
    (ends(State.TIMED_OUT, Reason.DEADLINE, "after 60 s"), 504, "deadline_exceeded", "after 60 s"),
    (expire, 504, "queue_timeout", "waited"),
    (cancel, 410, "cancelled", "cancelled on request"),
]


@pytest.mark.parametrize(("end", "status", "code", "words"), ENDS)
def test_a_job_that_ended_without_a_response(
    inference: InferenceClient,
    worker: PlayedWorker,
    end: Callable[[PlayedWorker, str], None],
    status: int,
    code: str,
    words: str,
) -> None:
    execution = inference.run({}, headers={"X-Inference-Id": "one"})
    end(worker, execution.id)
    told = execution.status_json()
    assert execution.status() is AsyncStatus.Completed
    assert words in told["Error"]
    assert execution.result() == execution.output() == {"code": code, "message": told["Error"]}
    headers = {"X-Inference-Id": "one", "Prefer": "wait=60"}
    answer = refused(status, code, words, lambda: inference.run_sync({}, headers=headers))
    assert answer.headers["X-Job-State"] == told["State"]


def test_a_result_that_is_no_longer_kept(
    inference: InferenceClient, worker: PlayedWorker, ledger: Ledger
) -> None:
    execution = inference.run({})
    worker.respond("hello", execution.id, JSON, b"{}")
    ledger.client.delete(f"onejob:payload:{worker.job('hello', execution.id).response}")
    gone = execution.result()
    assert gone["code"] == "result_expired"
    assert execution.status_json()["ResultExpiresAt"] in gone["message"]
    assert execution.status() is AsyncStatus.Completed


def test_a_job_that_is_unknown(
    inference: InferenceClient, jobs: JobDeploymentsService, worker: PlayedWorker
) -> None:
    execution = inference.run({})
    jobs.delete("hello")
    jobs.create(wanted())
    assert execution.result() == {"code": "not_found", "message": f"no job '{execution.id}'"}
    with pytest.raises(KeyError, match="Status"):  # the SDK looks at no status code here
        execution.status_json()
