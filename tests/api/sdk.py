"""Verda's own Python SDK, unmodified, as a client of the server under test."""

import re
from collections.abc import Callable
from typing import Any

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
from verda.job_deployments import JobDeployment, JobDeploymentsService, JobScalingOptions

from tests.api.faces import Faces
from tests.api.server import CLIENT_ID, CLIENT_SECRET

SCALING = JobScalingOptions(max_replica_count=1, queue_message_ttl_seconds=300, deadline_seconds=60)


@pytest.fixture
def verda(api: Faces) -> VerdaClient:
    """The SDK's client."""
    return VerdaClient(CLIENT_ID, CLIENT_SECRET, base_url=f"http://127.0.0.1:{api.port}/v1")


@pytest.fixture
def jobs(verda: VerdaClient) -> JobDeploymentsService:
    """The SDK's service of job deployments."""
    return verda.job_deployments


@pytest.fixture
def inference(api: Faces, jobs: JobDeploymentsService) -> InferenceClient:
    """The SDK's client of a deployment's data plane."""
    made = jobs.create(wanted())
    assert made.endpoint_base_url == f"http://127.0.0.1:{api.port}/hello"
    return InferenceClient(api.key, made.endpoint_base_url)


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


def told(code: str, words: str, call: Callable[[], object]) -> None:
    """The call raises the SDK's own exception with that code, and a message with these words."""
    with pytest.raises(APIException, match=re.escape(words)) as error:
        call()
    assert error.value.code == code


def refused(status: int, code: str, words: str, call: Callable[[], object]) -> Any:
    """The call of the data plane raises the SDK's exception, which has our answer as its cause.

    The answer's code and words of its message are these. Returns the answer.
    """
    with pytest.raises(InferenceClientError, match=str(status)) as error:
        call()
    cause = error.value.__cause__
    while isinstance(cause, InferenceClientError):  # `health` wraps it once more
        cause = cause.__cause__
    assert isinstance(cause, HTTPError)
    answer = cause.response
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert words in answer.json()["message"]
    return answer
