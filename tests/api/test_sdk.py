"""Verda's own Python SDK, unmodified, against this server; the test plays the worker."""

import dataclasses
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from requests import HTTPError
from verda import VerdaClient
from verda.containers import (
    ComputeResource,
    Container,
    ContainersService,
    CustomRegistryCredentials,
    DockerHubCredentials,
    EntrypointOverridesSettings,
    EnvVar,
    EnvVarType,
    GeneralStorageMount,
    HealthcheckSettings,
)
from verda.containers._containers import (
    AWSECRCredentials,
    ContainerRegistryCredentials,
    ContainerRegistrySettings,
    GCRCredentials,
    GithubCredentials,
    MemoryMount,
    SecretMount,
    SecretType,
)
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


# -- all that its service of job deployments can do ---------------------------------------------


def test_get_lists_summaries(jobs: JobDeploymentsService) -> None:
    assert jobs.get() == []
    made = jobs.create(wanted())
    (summary,) = jobs.get()
    assert (summary.name, summary.created_at) == (made.name, made.created_at)
    assert (summary.compute.name, summary.compute.size) == ("cpu", 1)


def test_create_and_get_by_name(jobs: JobDeploymentsService, api: Faces) -> None:
    made = jobs.create(wanted())
    assert (made.name, made.scaling, made.compute) == ("hello", SCALING, ComputeResource("cpu", 1))
    assert made.endpoint_base_url == f"http://127.0.0.1:{api.port}/hello"
    assert made.created_at is not None
    read = jobs.get_by_name("hello")
    assert read == made
    (container,) = read.containers
    assert (container.name, container.image["image"]) == ("hello-0", "example/hello:1")
    assert container.healthcheck == wanted().containers[0].healthcheck
    assert container.env == [EnvVar("A", "b", EnvVarType.PLAIN)]
    assert container.volume_mounts is not None
    assert [type(m) for m in container.volume_mounts] == [GeneralStorageMount, MemoryMount]
    assert read.container_registry_settings.is_private is False


def test_what_it_has_read_it_can_send_back(jobs: JobDeploymentsService) -> None:
    read = jobs.create(wanted())
    assert jobs.update("hello", read) == read
    read.name = "copy"
    copied = jobs.create(read)
    assert copied.containers[0].healthcheck == read.containers[0].healthcheck
    assert copied.containers[0].image["image"] == "example/hello:1"


def test_update_changes_what_is_given(jobs: JobDeploymentsService) -> None:
    changed = jobs.create(wanted())
    assert changed.scaling is not None
    changed.scaling.max_replica_count = 5
    changed.containers[0].image = "example/hello:2"
    changed.containers[0].env = []
    after = jobs.update("hello", changed)
    assert after == jobs.get_by_name("hello")
    assert after.scaling == JobScalingOptions(5, 300, 60)
    assert after.containers[0].image["image"] == "example/hello:2"
    assert after.containers[0].env == []


def test_update_keeps_what_a_new_object_leaves_out(jobs: JobDeploymentsService) -> None:
    before = jobs.create(wanted())
    bare = Container(image="example/hello:3", exposed_port=8000)
    after = jobs.update("hello", JobDeployment("hello", [bare], ComputeResource("cpu", 2)))
    assert (after.scaling, after.compute.size) == (SCALING, 2)
    assert after.containers[0].env == before.containers[0].env
    assert after.containers[0].volume_mounts == before.containers[0].volume_mounts


def test_get_status_and_get_scaling_options(jobs: JobDeploymentsService) -> None:
    jobs.create(wanted())
    assert jobs.get_status("hello") is JobDeploymentStatus.RUNNING
    assert jobs.get_scaling_options("hello") == SCALING


def test_pause_and_resume(jobs: JobDeploymentsService, inference: InferenceClient) -> None:
    jobs.pause("hello")
    assert jobs.get_status("hello") is JobDeploymentStatus.PAUSED
    execution = inference.run({})
    assert execution.status_json()["State"] == "queued"
    jobs.resume("hello")
    assert jobs.get_status("hello") is JobDeploymentStatus.RUNNING
    assert execution.status_json()["State"] == "dispatched"


def test_purge_queue(
    jobs: JobDeploymentsService, inference: InferenceClient, worker: PlayedWorker
) -> None:
    running, waiting = inference.run({}), inference.run({})
    worker.run("hello", running.id)
    jobs.purge_queue("hello")
    assert running.status_json()["Status"] == "Inference"
    ended = waiting.status_json()
    assert (ended["Status"], ended["Reason"]) == ("Completed", "purged")


@pytest.mark.parametrize("timeout", [None, 0.0, 1000.0])
def test_delete(jobs: JobDeploymentsService, timeout: float | None) -> None:
    jobs.create(wanted())
    jobs.delete("hello", timeout=timeout)
    assert jobs.get() == []


def test_delete_without_waiting(
    jobs: JobDeploymentsService, inference: InferenceClient, worker: PlayedWorker
) -> None:
    worker.run("hello", inference.run({}).id)
    jobs.delete("hello", timeout=0)
    assert jobs.get_status("hello") is JobDeploymentStatus.TERMINATING


def test_container_types(verda: VerdaClient) -> None:
    (cpu,) = verda.container_types.get()
    assert (cpu.name, cpu.currency, cpu.serverless_price) == ("cpu", "usd", 0)
    assert cpu.memory["size_in_gigabytes"] == 2
    assert verda.container_types.get(currency="eur")[0].currency == "eur"


# -- what its service of containers can do with secrets -----------------------------------------


@pytest.fixture
def containers(verda: VerdaClient) -> ContainersService:
    """The SDK's service that keeps secrets, too."""
    return verda.containers


def test_secrets(containers: ContainersService) -> None:
    assert containers.get_secrets() == []
    containers.create_secret("token", "hush")
    (secret,) = containers.get_secrets()
    assert (secret.name, secret.secret_type) == ("token", SecretType.GENERIC)
    told("conflict", "exists already", lambda: containers.create_secret("token", "other"))
    containers.delete_secret("token")
    assert containers.get_secrets() == []


def test_file_secrets(containers: ContainersService, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(bytes(range(256)))
    (tmp_path / "b.pem").write_bytes(b"")
    paths = [str(tmp_path / name) for name in ("a.pem", "b.pem")]
    containers.create_fileset_secret_from_file_paths("certificates", paths)
    (secret,) = containers.get_fileset_secrets()
    assert (secret.name, secret.secret_type) == ("certificates", SecretType.FILESET)
    containers.delete_fileset_secret("certificates")
    assert containers.get_fileset_secrets() == []


ECR_REPO = "1234.dkr.ecr.eu-north-1.amazonaws.com/app"
CONFIG_JSON = '{"auths": {"registry.test": {"auth": "dTpw"}}}'


def test_registry_credentials(containers: ContainersService) -> None:
    given = [
        DockerHubCredentials("hub", "u", "p"),
        GithubCredentials("github", "u", "p"),
        GCRCredentials("google", '{"type": "service_account"}'),
        AWSECRCredentials("aws", "AKIA0000", "p", "eu-north-1", ECR_REPO),
        CustomRegistryCredentials("own", CONFIG_JSON),
    ]
    for credentials in given:
        containers.add_registry_credentials(credentials)
    names = [known.name for known in containers.get_registry_credentials()]
    assert names == [credentials.name for credentials in given]
    for name in names:
        containers.delete_registry_credentials(name)
    assert containers.get_registry_credentials() == []


def test_a_deployment_with_all_of_them(
    containers: ContainersService, jobs: JobDeploymentsService, tmp_path: Path
) -> None:
    containers.create_secret("token", "hush")
    (tmp_path / "a.pem").write_bytes(b"hush")
    containers.create_fileset_secret_from_file_paths("files", [str(tmp_path / "a.pem")])
    containers.add_registry_credentials(CustomRegistryCredentials("own", CONFIG_JSON))
    private = ContainerRegistrySettings(True, ContainerRegistryCredentials("own"))
    full = with_container(
        image="registry.test/app:1",
        env=[EnvVar("TOKEN", "token", EnvVarType.SECRET)],
        volume_mounts=[SecretMount("/files", "files", ["a.pem"])],
    )
    made = jobs.create(dataclasses.replace(full, container_registry_settings=private))
    assert made.containers[0].env == [EnvVar("TOKEN", "token", EnvVarType.SECRET)]
    assert made.container_registry_settings == private
    assert jobs.update("hello", made) == made
    told("conflict", "used by hello", lambda: containers.delete_secret("token"))
    told("conflict", "used by hello", lambda: containers.delete_fileset_secret("files"))
    told("conflict", "used by hello", lambda: containers.delete_registry_credentials("own"))
    containers.delete_secret("token", force=True)
    assert jobs.update("hello", made) == made


# -- what its user is told ----------------------------------------------------------------------


def told(code: str, words: str, call: Callable[[], object]) -> None:
    """The call raises the SDK's own exception with that code, and a message with these words."""
    with pytest.raises(APIException, match=re.escape(words)) as error:
        call()
    assert error.value.code == code


def altered(**members: object) -> JobDeployment:
    """A deployment of which some members are others."""
    return dataclasses.replace(wanted(), **members)  # type: ignore[arg-type]


def with_container(**members: object) -> JobDeployment:
    """A deployment whose container is another in some members."""
    container = dataclasses.replace(wanted().containers[0], **members)  # type: ignore[arg-type]
    return altered(containers=[container])


MISTAKES = [
    (altered(compute=ComputeResource("gpu", 1)), "compute.name: "),
    (altered(compute=ComputeResource("cpu", 0)), "compute.size: 0 is not allowed: must be at"),
    (altered(scaling=JobScalingOptions(0, 1, 1)), "scaling.max_replica_count: 0 is not allowed"),
    (altered(scaling=JobScalingOptions(1, 0, 1)), "scaling.queue_message_ttl_seconds: 0"),
    (altered(scaling=JobScalingOptions(1, 1, 604_801)), "must be at most 604800"),
    (altered(containers=[]), "containers: "),
    (altered(containers=wanted().containers * 2), "exactly one container, not of 2"),
    (with_container(image="example/hello:latest"), 'a tag other than "latest", or a digest'),
    (with_container(image="example/hello"), "containers[0].image: "),
    (with_container(exposed_port=0), "containers[0].exposed_port: 0 is not allowed"),
    (with_container(healthcheck=HealthcheckSettings(path="up")), "containers[0].healthcheck.path"),
    (with_container(volume_mounts=[MemoryMount(65)]), "volume_mounts[0].size_in_mb: 65"),
    (
        with_container(env=[EnvVar("A", "s", EnvVarType.SECRET)]),
        "containers[0].env[0].value_or_reference_to_secret",
    ),
]


@pytest.mark.parametrize(("mistaken", "words"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_in_a_deployment(
    jobs: JobDeploymentsService, mistaken: JobDeployment, words: str
) -> None:
    told("invalid_request", words, lambda: jobs.create(mistaken))
    assert jobs.get() == []
    before = jobs.create(wanted())
    told("invalid_request", words, lambda: jobs.update("hello", mistaken))
    assert jobs.get_by_name("hello") == before


def test_names_that_can_not_be(jobs: JobDeploymentsService) -> None:
    told("invalid_request", "name: ", lambda: jobs.create(wanted("Hello")))
    told("invalid_request", "must not be one of", lambda: jobs.create(wanted("status")))
    told("invalid_request", "scaling is missing", lambda: jobs.create(altered(scaling=None)))
    jobs.create(wanted())
    told("conflict", "'hello' exists already", lambda: jobs.create(wanted()))
    told("invalid_request", "can't be changed", lambda: jobs.update("hello", wanted("other")))


@pytest.mark.parametrize(
    "call",
    [
        lambda jobs: jobs.get_by_name("unknown"),
        lambda jobs: jobs.update("unknown", wanted("unknown")),
        lambda jobs: jobs.delete("unknown"),
        lambda jobs: jobs.get_status("unknown"),
        lambda jobs: jobs.get_scaling_options("unknown"),
        lambda jobs: jobs.pause("unknown"),
        lambda jobs: jobs.resume("unknown"),
        lambda jobs: jobs.purge_queue("unknown"),
    ],
)
def test_a_name_that_is_unknown(
    jobs: JobDeploymentsService, call: Callable[[JobDeploymentsService], object]
) -> None:
    told("not_found", "no deployment 'unknown'", lambda: call(jobs))


def test_what_is_being_deleted(
    jobs: JobDeploymentsService, inference: InferenceClient, worker: PlayedWorker
) -> None:
    worker.run("hello", inference.run({}).id)
    jobs.delete("hello", timeout=0)
    told("conflict", "exists already", lambda: jobs.create(wanted()))
    told("conflict", "is being deleted", lambda: jobs.update("hello", wanted()))
    told("conflict", "is being deleted", lambda: jobs.pause("hello"))
    told("conflict", "is being deleted", lambda: jobs.resume("hello"))


@pytest.mark.parametrize("timeout", [-1.0, 300_001.0, float("nan")])
def test_a_timeout_that_is_none(jobs: JobDeploymentsService, timeout: float) -> None:
    jobs.create(wanted())
    told("invalid_request", "timeout: ", lambda: jobs.delete("hello", timeout=timeout))
    assert jobs.get_status("hello") is JobDeploymentStatus.RUNNING


def test_credentials_that_are_wrong(
    jobs: JobDeploymentsService, verda: VerdaClient, api: Faces
) -> None:
    url = f"http://127.0.0.1:{api.port}/v1"
    wrong = "client_id or client_secret is wrong"
    told("unauthorized_request", wrong, lambda: VerdaClient(CLIENT_ID, "x", base_url=url))
    verda._authentication._access_token = "x"
    told("unauthorized_request", "token", jobs.get)
    told("invalid_request", "currency", lambda: verda.container_types.get(currency="btc"))


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
