"""Verda's own Python SDK, unmodified, against this server; the test plays the worker."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from requests import HTTPError
from verda import VerdaClient
from verda.containers import (
    ComputeResource,
    Container,
    EntrypointOverridesSettings,
    EnvVar,
    EnvVarType,
    GeneralStorageMount,
    HealthcheckSettings,
)
from verda.containers._containers import MemoryMount
from verda.exceptions import APIException
from verda.inference_client import InferenceClient, InferenceClientError
from verda.job_deployments import (
    JobDeployment,
    JobDeploymentsService,
    JobDeploymentStatus,
    JobScalingOptions,
)

from app.domain.errors import NotFound
from tests.api.faces import Faces
from tests.api.server import CLIENT_ID, CLIENT_SECRET
from tests.api.worker import PlayedWorker

JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
SCALING = JobScalingOptions(max_replica_count=1, queue_message_ttl_seconds=300, deadline_seconds=60)


@pytest.fixture
def verda(api: Faces) -> VerdaClient:
    """The SDK's client."""
    return VerdaClient(CLIENT_ID, CLIENT_SECRET, base_url=f"http://127.0.0.1:{api.port}/v1")


@pytest.fixture
def jobs(verda: VerdaClient) -> JobDeploymentsService:
    """The SDK's service of job deployments."""
    return verda.job_deployments


def wanted(name: str = "hello") -> JobDeployment:
    """A deployment with a bit of everything."""
    container = Container(
        image="example/hello:1",
        exposed_port=8000,
        healthcheck=HealthcheckSettings(enabled=True, port=8000, path="/health"),
        entrypoint_overrides=EntrypointOverridesSettings(enabled=True, cmd=["serve"]),
        env=[EnvVar("A", "b", EnvVarType.PLAIN)],
        volume_mounts=[GeneralStorageMount("/scratch"), MemoryMount(64)],
    )
    return JobDeployment(name, [container], ComputeResource("cpu", 1), SCALING)


@pytest.fixture
def inference(api: Faces, jobs: JobDeploymentsService) -> InferenceClient:
    """The SDK's client of a deployment's data plane."""
    made = jobs.create(wanted())
    assert made.endpoint_base_url == f"http://127.0.0.1:{api.port}/hello"
    return InferenceClient(api.key, made.endpoint_base_url)


def test_a_deployment_through_its_life(jobs: JobDeploymentsService) -> None:
    made = jobs.create(wanted())
    assert made.name == "hello"
    assert made.scaling == SCALING
    assert made.created_at is not None
    read = jobs.get_by_name("hello")
    assert read == made
    assert read.containers[0].name == "hello-0"
    assert read.containers[0].env == [EnvVar("A", "b", EnvVarType.PLAIN)]
    assert read.containers[0].volume_mounts is not None
    assert [type(m) for m in read.containers[0].volume_mounts] == [GeneralStorageMount, MemoryMount]
    (summary,) = jobs.get()
    assert (summary.name, summary.compute.size) == ("hello", 1)
    assert jobs.get_status("hello") is JobDeploymentStatus.RUNNING
    assert jobs.get_scaling_options("hello") == SCALING
    jobs.delete("hello", timeout=1000.0)
    assert jobs.get() == []


def test_what_the_sdk_has_read_it_can_send_back(jobs: JobDeploymentsService) -> None:
    read = jobs.create(wanted())
    read.name = "copy"
    copied = jobs.create(read)
    assert copied.containers[0].healthcheck == read.containers[0].healthcheck
    assert copied.containers[0].image["image"] == "example/hello:1"


def test_errors_are_its_own(jobs: JobDeploymentsService, verda: VerdaClient, api: Faces) -> None:
    jobs.create(wanted())
    with pytest.raises(APIException, match="exists already") as taken:
        jobs.create(wanted())
    assert taken.value.code == "conflict"
    with pytest.raises(APIException) as unknown:
        jobs.get_by_name("unknown")
    assert unknown.value.code == "not_found"
    with pytest.raises(APIException, match=r"compute\.name") as invalid:
        jobs.create(JobDeployment("x", wanted().containers, ComputeResource("gpu", 1), SCALING))
    assert invalid.value.code == "invalid_request"
    with pytest.raises(APIException) as wrong:
        VerdaClient(CLIENT_ID, "wrong", base_url=f"http://127.0.0.1:{api.port}/v1")
    assert wrong.value.code == "unauthorized_request"


def test_an_expired_token_is_renewed(verda: VerdaClient, jobs: JobDeploymentsService) -> None:
    before = verda._authentication._access_token
    verda._authentication._expires_at = 0
    assert jobs.get() == []
    assert verda._authentication._expires_at > 0
    assert verda._authentication._access_token
    verda._authentication._refresh_token = before  # not one; it asks with its credentials then
    verda._authentication._expires_at = 0
    assert jobs.get() == []


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


def test_its_health_check_and_its_errors(inference: InferenceClient, api: Faces) -> None:
    assert inference.health().json() == {"status": "ok"}
    with pytest.raises(InferenceClientError, match="401"):
        InferenceClient("wrong", inference.endpoint_base_url).run({})
    with pytest.raises(InferenceClientError, match="405"):
        inference.options("/x")
    with pytest.raises(InferenceClientError, match="405") as refused:
        inference.head("/x")
    assert isinstance(refused.value.__cause__, HTTPError)
