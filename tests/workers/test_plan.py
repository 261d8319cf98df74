"""From a job to what usher and engine get: every field."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain.compute import ComputeResource
from app.domain.deployment import Deployment
from app.domain.job import Job, State
from app.settings import Settings
from workers import plan
from workers.engine import Image, Limits, Mount

IMAGE = Image("sha256:app", ("python3", "-u"), ("app.py",), 10)
JOB = Job(
    id="job-1.a",
    deployment="hello",
    uid="abc123",
    state=State.STARTING,
    attempt=2,
    fence=1,
    method="POST",
    target="/",
    digest="d",
    payload="p",
    payload_size=0,
    prefer=None,
    compute="cpu",
    version=1,
    created_at=datetime.now(UTC),
    expires_at=datetime.now(UTC),
)


def made(
    compute: ComputeResource | None = None, size: int = 1, startup: int | None = None, **c: Any
) -> plan.Run:
    container = {"image": "example/app:1", "exposed_port": 8080} | c
    spec = {
        "name": "hello",
        "containers": [container],
        "compute": {"name": "cpu", "size": size},
        "startup_seconds": startup,
        "scaling": {
            "max_replica_count": 1,
            "queue_message_ttl_seconds": 60,
            "deadline_seconds": 90,
        },
    }
    settings = Settings(
        stop_grace_seconds=2.5, health_timeout_seconds=1.5, response_limit_bytes=99, pids_limit=50
    )
    return plan.Run(
        JOB, Deployment.model_validate(spec), compute or ComputeResource(), "node1", settings
    )


def test_the_name_tells_all_that_finds_the_record_again() -> None:
    assert plan.replica_name(JOB) == "onejob-abc123-2-job-1.a"
    assert plan.replica_of("onejob-abc123-2-job-1.a") == ("abc123", "job-1.a", 2)


@pytest.mark.parametrize(
    "name", ["", "x", "onejob-a-b-c", "onejob-a-1", "other-a-1-j", "onejob-a--1-j", "onejob-a-²-j"]
)
def test_other_names_are_not_ours(name: str) -> None:
    assert plan.replica_of(name) is None


def test_the_ushers_plan_has_every_field() -> None:
    assert plan.usher_plan(made(), IMAGE) == {
        "version": 1,
        "port": 8080,
        "health_enabled": 1,
        "health_port": 8080,
        "health_path": "/health",
        "health_timeout_ms": 1500,
        "startup_ms": 0,
        "deadline_ms": 90_000,
        "grace_ms": 2500,
        "stop_signal": 10,
        "response_limit": 99,
    }


def test_the_health_check_may_be_elsewhere_or_off() -> None:
    run = made(startup=5, healthcheck={"enabled": False, "port": 81, "path": "/ok?a=b"})
    told = plan.usher_plan(run, IMAGE)
    assert (told["health_enabled"], told["health_port"]) == (0, 81)
    assert (told["health_path"], told["startup_ms"]) == ("/ok?a=b", 5000)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"enabled": False, "entrypoint": ["x"], "cmd": ["y"]}, ("python3", "-u", "app.py")),
        ({"enabled": True}, ("python3", "-u", "app.py")),
        # As `docker run --entrypoint`: the image's command goes with its entrypoint.
        ({"enabled": True, "entrypoint": ["sh"]}, ("sh",)),
        ({"enabled": True, "cmd": ["b.py", "-v"]}, ("python3", "-u", "b.py", "-v")),
        ({"enabled": True, "entrypoint": ["sh", "-c"], "cmd": ["a b"]}, ("sh", "-c", "a b")),
    ],
)
def test_overrides_are_as_dockers(overrides: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert plan.command(made(entrypoint_overrides=overrides), IMAGE) == expected


def test_the_container_has_every_field() -> None:
    spec = plan.container_spec(made(), IMAGE, Path("/spool/usher-1"), Path("/spool/attempts/a"))
    assert spec.name == "onejob-abc123-2-job-1.a"
    assert spec.image == "sha256:app"
    assert spec.argv == (plan.USHER_TARGET, plan.SPOOL_TARGET)
    assert spec.mounts == (
        Mount("bind", "/spool/usher-1", plan.USHER_TARGET, read_only=True),
        Mount("bind", "/spool/attempts/a", plan.SPOOL_TARGET),
    )
    assert spec.network == "onejob"
    assert (spec.stop_signal, spec.stop_grace_seconds) == (15, 3)
    assert spec.labels == {
        "onejob.node": "node1",
        "onejob.uid": "abc123",
        "onejob.job": "job-1.a",
        "onejob.deployment": "hello",
        "onejob.attempt": "2",
        "onejob.deadline_seconds": "90",
        "onejob.room": "1000 2048 ",
    }


def test_our_variables_can_not_be_overridden() -> None:
    env = [
        {"name": "PORT", "value_or_reference_to_secret": "1"},
        {"name": "JOB_ID", "value_or_reference_to_secret": "forged"},
        {"name": "MINE", "value_or_reference_to_secret": "a=b\nc"},
        {"name": "SECRET", "value_or_reference_to_secret": "ref", "type": "secret"},
    ]
    assert plan.environment(made(env=env), {"ref": "its value"}) == {
        "PORT": "8080",
        "JOB_ID": "job-1.a",
        "JOB_DEPLOYMENT": "hello",
        "JOB_ATTEMPT": "2",
        "MINE": "a=b\nc",
        "SECRET": "its value",
    }


def test_limits_are_the_resource_times_the_size() -> None:
    resource = ComputeResource(cpus=1.5, memory_mb=100, gpus=1, network="none")
    run = made(resource, size=3)
    run = replace(run, job=replace(run.job, gpus=("0", "1", "5")))
    assert plan.limits(run) == Limits(4.5, 300 * 2**20, 50, ("0", "1", "5"), plan.SHM_BYTES)
    spec = plan.container_spec(run, IMAGE, Path("/u"), Path("/s"))
    assert spec.network == "none"
    assert run.bounds.memory_bytes == 300 * 2**20
    assert (run.bounds.deadline_seconds, run.bounds.response_bytes) == (90, 99)


def test_mounts_of_the_deployment() -> None:
    run = made(
        volume_mounts=[
            {"type": "scratch", "mount_path": "/work"},
            {"type": "memory", "size_in_mb": 256},
        ]
    )
    spec = plan.container_spec(run, IMAGE, Path("/u"), Path("/s"))
    assert spec.mounts[2:] == (Mount("volume", "", "/work"),)
    assert spec.limits.shm_bytes == 256 * 2**20


def test_runtime_and_labels_are_the_resource_s() -> None:
    resource = ComputeResource(runtime="nvidia", labels={"team": "vision"})
    spec = plan.container_spec(made(resource), IMAGE, Path("/u"), Path("/s"))
    assert spec.runtime == "nvidia"
    assert spec.labels.items() >= {("team", "vision"), (plan.LABEL_JOB, "job-1.a")}
