"""Verda's own Python SDK, unmodified, against the control plane: test_sdk_inference has the other.

Each of its methods is called, its answer looked at, and what its user is told of each mistake.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest
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
    BaseRegistryCredentials,
    ContainerRegistryCredentials,
    ContainerRegistrySettings,
    GCRCredentials,
    GithubCredentials,
    MemoryMount,
    SecretMount,
    SecretType,
    SharedFileSystemMount,
)
from verda.inference_client import InferenceClient
from verda.job_deployments import (
    JobDeployment,
    JobDeploymentsService,
    JobDeploymentStatus,
    JobScalingOptions,
)

from app.auth import Kind, Tokens
from app.ledger import Ledger
from tests.api.faces import CREDENTIALS, Faces
from tests.api.sdk import SCALING, told, wanted
from tests.api.server import CLIENT_ID, CLIENT_SECRET, TOKEN_SECRET
from tests.api.worker import PlayedWorker

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


def test_compute_resources(containers: ContainersService, ledger: Ledger) -> None:
    v100 = {"cpus": 6, "memory_mb": 24_000, "gpus": 1}
    ledger.nodes.announce("node", {"compute": {"V100": v100}})
    all_of_them = [ComputeResource("V100", 1, True), ComputeResource("cpu", 1, False)]
    assert containers.get_compute_resources() == containers.get_gpus() == all_of_them
    assert containers.get_compute_resources(is_available=True) == all_of_them[:1]
    assert containers.get_compute_resources(size=1) == all_of_them
    assert containers.get_compute_resources(size=8) == []


def test_what_is_not_offered_here_is_told_as_such(
    containers: ContainersService, verda: VerdaClient
) -> None:
    told("not_found", "nothing at '/v1/container-deployments'", containers.get_deployments)
    told("not_found", "nothing at '/v1/instances'", verda.instances.get)
    told("not_found", "nothing at '/v1/balance'", verda.balance.get)


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
    assert secret.created_at.endswith("Z")
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
    assert secret.created_at.endswith("Z")
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


def test_a_mistake_with_a_secret(containers: ContainersService, tmp_path: Path) -> None:
    for call in (
        containers.delete_secret,
        containers.delete_fileset_secret,
        containers.delete_registry_credentials,
    ):
        told("not_found", "'unknown'", lambda call=call: call("unknown"))
    told("invalid_request", "name: must match", lambda: containers.create_secret("a b", "hush"))
    told("invalid_request", "value: must match", lambda: containers.create_secret("a", "\0"))
    path = str(tmp_path / "a.pem")
    Path(path).write_bytes(b"hush")
    create = containers.create_fileset_secret_from_file_paths
    told("invalid_request", "files: must have at least 1", lambda: create("files", []))
    told("invalid_request", "one file for each", lambda: create("files", [path, path]))
    create("files", [path])
    told("conflict", "'files' exists already", lambda: create("files", [path]))
    assert containers.get_secrets() == []


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (DockerHubCredentials("c", "", "p"), "username: must have at least 1 characters"),
        (GithubCredentials("", "u", "p"), "name: must match"),
        (GCRCredentials("c", "no JSON"), "service_account_key: must be a JSON object"),
        (AWSECRCredentials("c", "AKIA", "p", "Nowhere!", "r"), "region: must match"),
        (CustomRegistryCredentials("c", "{}"), 'docker_config_json: must have an object "auths"'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_in_registry_credentials(
    containers: ContainersService, credentials: BaseRegistryCredentials, words: str
) -> None:
    told("invalid_request", words, lambda: containers.add_registry_credentials(credentials))
    assert containers.get_registry_credentials() == []
    good = CustomRegistryCredentials("own", CONFIG_JSON)
    containers.add_registry_credentials(good)
    told("conflict", "'own' exists already", lambda: containers.add_registry_credentials(good))


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
        volume_mounts=[
            SecretMount("/files", "files", ["a.pem"]),
            SharedFileSystemMount("/data", "datasets"),
        ],
    )
    made = jobs.create(dataclasses.replace(full, container_registry_settings=private))
    assert made.containers[0].env == [EnvVar("TOKEN", "token", EnvVarType.SECRET)]
    assert made.containers[0].volume_mounts == full.containers[0].volume_mounts
    assert made.container_registry_settings == private
    assert jobs.update("hello", made) == made
    told("conflict", "used by hello", lambda: containers.delete_secret("token"))
    told("conflict", "used by hello", lambda: containers.delete_fileset_secret("files"))
    told("conflict", "used by hello", lambda: containers.delete_registry_credentials("own"))
    containers.delete_secret("token", force=True)
    assert jobs.update("hello", made) == made


# -- what its user is told ----------------------------------------------------------------------


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
        "containers[0].env[0].value_or_reference_to_secret: there is no secret yet",
    ),
    (with_container(env=[EnvVar("A=B", "s", EnvVarType.PLAIN)]), "containers[0].env[0].name: "),
    (
        with_container(volume_mounts=[SecretMount("/s", "s")]),
        'containers[0].volume_mounts[0].secret_name: "s" is not allowed: there is no file-secret',
    ),
    (
        with_container(volume_mounts=[SharedFileSystemMount("/s", "v")]),
        'volume_mounts[0].volume_id: "v" is not allowed: must be one of datasets',
    ),
    (
        with_container(volume_mounts=[GeneralStorageMount("data")]),
        "containers[0].volume_mounts[0].mount_path: ",
    ),
    (
        with_container(entrypoint_overrides=EntrypointOverridesSettings(cmd=["a\0b"])),
        "containers[0].entrypoint_overrides: ",
    ),
    (
        altered(
            container_registry_settings=ContainerRegistrySettings(
                True, ContainerRegistryCredentials("c")
            )
        ),
        'container_registry_settings.credentials.name: "c" is not allowed: there is no registry',
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
    jobs.purge_queue("hello")  # there is nothing left to purge
    assert jobs.get_status("hello") is JobDeploymentStatus.TERMINATING


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


def expired(kind: Kind) -> str:
    """A token as this server grants it, whose time is over."""
    return Tokens(CLIENT_ID, CLIENT_SECRET, TOKEN_SECRET, -1, -1).grant(CREDENTIALS)[
        f"{kind}_token"
    ]


def test_an_expired_token_is_told_as_such(verda: VerdaClient, jobs: JobDeploymentsService) -> None:
    verda._authentication._access_token = expired("access")
    told("unauthorized_request", "the access token has expired", jobs.get)


def test_a_token_that_it_knows_to_be_expired_is_renewed(
    verda: VerdaClient, jobs: JobDeploymentsService
) -> None:
    known = verda._authentication
    known._access_token, known._expires_at = expired("access"), 0
    known._client_secret = "no more"  # so that the refresh token alone is good for it
    assert jobs.get() == []
    assert known._expires_at > time.time() + 3500
    known._expires_at = 0  # the new refresh token is good, too
    assert jobs.get() == []


def test_with_an_expired_refresh_token_it_asks_with_its_credentials(
    verda: VerdaClient, jobs: JobDeploymentsService
) -> None:
    known = verda._authentication
    for refresh_token in (expired("refresh"), "none", ""):
        known._refresh_token, known._expires_at = refresh_token, 0
        assert jobs.get() == []
    known._refresh_token, known._expires_at = expired("refresh"), 0
    known._client_secret = "no more"
    told("unauthorized_request", "client_id or client_secret is wrong", jobs.get)
