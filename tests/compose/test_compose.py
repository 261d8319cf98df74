"""The services brought up by docker-compose, a job run through them, and all of it gone."""

import os
import shutil
import socket
import sys
import threading
import urllib.error
from collections import Counter
from collections.abc import Iterator

import pytest
from verda import VerdaClient
from verda.containers import ComputeResource, Container, EntrypointOverridesSettings
from verda.inference_client import InferenceClient
from verda.job_deployments import JobDeployment, JobScalingOptions

from tests.compose.commands import machines_own
from tests.compose.project import Project, build, entrypoint
from tests.conftest import engine_answers, require
from tests.e2e.house import free_port, until
from tests.images import base_image
from tests.workers.addresses import listening

# The first test builds the images: two minutes on a machine that has none.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

JSON = """
c = take_job()
c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n\\r\\n{"answer": 42}')
"""
# Tries each address of the request's body; what is dropped stays silent.
CURIOUS = """
import json
s = listen(); answer_health(s); c, _ = s.accept(); data = read_request(c)
routes = [line.split() for line in open("/proc/net/route")]
(gateway,) = (route[2] for route in routes if route[1] == "00000000")
gateway = socket.inet_ntoa(bytes.fromhex(gateway)[::-1])
answers = {}
for target in data.partition(b"\\r\\n\\r\\n")[2].decode().split():
    host, port = target.replace("gateway", gateway).split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
        answers[target] = "reached"
    except TimeoutError:
        answers[target] = "silence"
    except OSError as error:
        answers[target] = str(error)
c.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n" + json.dumps(answers).encode())
"""
EARLY, LATE = 10, 6  # jobs


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The services, up; taken down after the last test."""
    require(engine_answers(), "no Docker engine answers")
    require(os.geteuid() == 0, "only root can look into the spool")
    require(shutil.which("iptables"), "iptables is not installed")
    base_image()
    build()
    project = Project(machines_own(), tmp_path_factory.mktemp("compose"))
    try:
        project.up()
        project.log_in()
        yield project
    finally:
        project.remove_replicas()
        project.down()


def test_the_unmodified_sdk_runs_a_job(project: Project) -> None:
    known = project.credentials
    client = VerdaClient(known["client_id"], known["client_secret"], base_url=f"{project.url}/v1")
    made = client.job_deployments.create(
        JobDeployment(
            name="by-sdk",
            containers=[
                Container(
                    image=base_image(),
                    exposed_port=8000,
                    entrypoint_overrides=EntrypointOverridesSettings(entrypoint=entrypoint(JSON)),
                )
            ],
            compute=ComputeResource(name="cpu", size=1),
            scaling=JobScalingOptions(
                max_replica_count=1, queue_message_ttl_seconds=60, deadline_seconds=60
            ),
        )
    )
    assert made.endpoint_base_url == f"{project.url}/by-sdk"
    inference = InferenceClient(known["inference_key"], made.endpoint_base_url)
    execution = inference.run({"question": "?"}, path="ask")
    until(lambda: execution.status_json()["Status"] == "Completed")
    assert execution.output() == {"answer": 42}
    client.job_deployments.delete("by-sdk")


def test_a_replica_reaches_neither_this_machine_nor_the_services(project: Project) -> None:
    port = free_port()
    redis, api = project.address("redis"), project.address("api")
    targets = f"gateway:{port}", f"{redis}:6379", f"{api}:8080"
    with listening(sys.executable, ports=(port,)):
        socket.create_connection((redis, 6379), 5).close()  # they are there, for those who may
        project.deploy("curious", CURIOUS, 1)
        job_id = project.faces.submit("curious", "/", " ".join(targets).encode())
        assert project.finished("curious", job_id)["State"] == "succeeded"
    answers = project.faces.result("curious", job_id).json
    assert answers == dict.fromkeys(targets, "silence")


def test_flower_wants_its_password(project: Project) -> None:
    assert b"Flower" in project.flower("/")
    with pytest.raises(urllib.error.HTTPError) as caught:
        project.flower("/", "another")
    assert caught.value.code == 401


def test_flower_remembers(project: Project) -> None:
    project.deploy("kept", "c = take_job(); c.sendall(OK)\n", 1)
    task = f"kept.{project.faces.submit('kept')}"
    until(lambda: task in project.tasks())
    project.compose("restart", "flower")
    until(lambda: project.flower_answers() and task in project.tasks())


def test_the_cap_is_exact_while_workers_are_added(project: Project) -> None:
    project.deploy("scaled", "c = take_job(); time.sleep(0.7); c.sendall(OK)\n", 2)
    seen: Counter[int] = Counter()
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.05):
            seen[len(project.replicas())] += 1

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        ids = [project.faces.submit("scaled", X_Inference_Id=f"early-{n}") for n in range(EARLY)]
        project.up("--scale", "worker=2")
        until(lambda: project.compose("logs", "--no-color", "worker").count(" ready.") == 2)
        ids += [project.faces.submit("scaled", X_Inference_Id=f"late-{n}") for n in range(LATE)]
        states = {project.finished("scaled", job_id)["State"] for job_id in ids}
    finally:
        done.set()
        sampler.join()
    assert states == {"succeeded"}
    assert max(seen) == 2, seen
    wanted = {f"scaled.{job_id}" for job_id in ids}
    until(lambda: wanted <= set(project.tasks()), lambda: str(project.tasks()))
    assert len({worker for id, worker in project.tasks().items() if id in wanted}) == 2


def test_jobs_outlive_their_workers(project: Project) -> None:
    project.deploy("patient", "c = take_job(); time.sleep(6); c.sendall(OK)\n", 1)
    job_id = project.faces.submit("patient")
    until(lambda: project.faces.status("patient", job_id).json["State"] == "running")
    project.compose("stop", "worker")
    assert len(project.replicas()) == 1
    project.up()
    assert project.finished("patient", job_id)["State"] == "succeeded"
    assert project.faces.result("patient", job_id).body == b"ok"


# The last one: nothing is there after it.
def test_down_leaves_nothing_behind(project: Project) -> None:
    project.deploy("last", "c = take_job(); c.sendall(OK)\n", 1)
    job_id = project.faces.submit("last")
    assert project.finished("last", job_id)["State"] == "succeeded"
    until(lambda: not project.replicas() and not project.spools())
    project.down()
    assert project.left() == {
        "containers": [],
        "networks": [],
        "volumes": [],
        "replicas": [],
        "spools": [],
        "rules": [],
    }
