"""A job by Verda's own Python SDK, unmodified, from its deployment to its output."""

from verda import VerdaClient
from verda.containers import ComputeResource, Container, EntrypointOverridesSettings
from verda.inference_client import InferenceClient
from verda.job_deployments import JobDeployment, JobScalingOptions

from tests.e2e.house import until
from tests.e2e.patient import answered
from tests.images import base_image

NAME = "by-sdk"
# In the language of tests/usher/app.py.
JSON = """
c = take_job()
c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n\\r\\n{"answer": 42}')
"""
SCALING = JobScalingOptions(max_replica_count=1, queue_message_ttl_seconds=60, deadline_seconds=60)


def run_a_job(client: VerdaClient, key: str, entrypoint: list[str]) -> InferenceClient:
    """Makes a deployment whose `entrypoint` runs JSON, and runs a job; its inference client."""
    container = Container(
        image=base_image(),
        exposed_port=8000,
        entrypoint_overrides=EntrypointOverridesSettings(entrypoint=entrypoint),
    )
    wanted = JobDeployment(NAME, [container], ComputeResource("cpu", 1), SCALING)
    made = answered(lambda: client.job_deployments.create(wanted), "conflict")
    made = made or answered(lambda: client.job_deployments.get_by_name(NAME))
    inference = InferenceClient(key, made.endpoint_base_url)
    execution = answered(lambda: inference.run({"question": "?"}, path="ask"))
    until(lambda: answered(execution.status_json)["Status"] == "Completed")
    until(lambda: execution.output() == {"answer": 42}, lambda: str(execution.output()))
    return inference
