"""From a job and its deployment to what the usher and the engine need. Pure functions."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from app.domain.compute import ComputeResource, reservation
from app.domain.deployment import Container, Deployment
from app.domain.job import ID_PATTERN, Job
from app.domain.verdict import Bounds
from app.settings import Settings
from workers.engine import (
    DEADLINE_LABEL,
    NODE_LABEL,
    ROOM_LABEL,
    ContainerSpec,
    Image,
    Limits,
    Mount,
)

USHER_TARGET = "/.onejob/usher"
SPOOL_TARGET = "/.onejob/spool"
SHM_BYTES = 64 * 1024 * 1024

LABEL_NODE = NODE_LABEL
LABEL_UID = "onejob.uid"
LABEL_JOB = "onejob.job"
LABEL_DEPLOYMENT = "onejob.deployment"
LABEL_ATTEMPT = "onejob.attempt"
LABEL_DEADLINE = DEADLINE_LABEL


_REPLICA = re.compile(rf"onejob-([0-9a-f]+)-([1-9][0-9]{{0,5}})-({ID_PATTERN.pattern})", re.ASCII)


def replica_name(job: Job) -> str:
    """The container's name and its spool directory's: the same for every try at one attempt."""
    return replica_name_of(job.uid, job.id, job.attempt)


def replica_name_of(uid: str, job_id: str, attempt: int) -> str:
    """The same from its parts."""
    return f"onejob-{uid}-{attempt}-{job_id}"


def replica_of(name: str) -> tuple[str, str, int] | None:
    """(uid, job id, attempt) of a name that `replica_name` made, else None."""
    match = _REPLICA.fullmatch(name)
    return (match[1], match[3], int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt with all that it is made from."""

    job: Job
    spec: Deployment
    compute: ComputeResource
    node: str
    settings: Settings

    @property
    def container(self) -> Container:
        """The deployment's one container."""
        return self.spec.containers[0]

    @property
    def bounds(self) -> Bounds:
        """The limits that the attempt runs under."""
        return Bounds(
            deadline_seconds=self.spec.scaling.deadline_seconds,
            startup_seconds=self.spec.startup_seconds,
            memory_bytes=limits(self).memory_bytes,
            response_bytes=self.settings.response_limit_bytes,
        )


def usher_plan(run: Run, image: Image) -> Mapping[str, str | int]:
    """The usher's plan file, version 1; durations in milliseconds."""
    container, settings = run.container, run.settings
    health = container.healthcheck
    return {
        "version": 1,
        "port": container.exposed_port,
        "health_enabled": int(health.enabled),
        "health_port": health.port or container.exposed_port,
        "health_path": health.path,
        "health_timeout_ms": _milliseconds(settings.health_timeout_seconds),
        "startup_ms": _milliseconds(run.spec.startup_seconds or 0),
        "deadline_ms": _milliseconds(run.spec.scaling.deadline_seconds),
        "grace_ms": _milliseconds(settings.stop_grace_seconds),
        "stop_signal": image.stop_signal,
        "response_limit": settings.response_limit_bytes,
    }


def command(run: Run, image: Image) -> tuple[str, ...]:
    """What the usher starts: the image's entrypoint and command, or the overrides.

    As with `docker run --entrypoint`, an overridden entrypoint drops the image's command.
    """
    overrides = run.container.entrypoint_overrides
    if not overrides.enabled:
        return (*image.entrypoint, *image.cmd)
    entrypoint = tuple(overrides.entrypoint or image.entrypoint)
    inherited = () if overrides.entrypoint else image.cmd
    return (*entrypoint, *(overrides.cmd or inherited))


def container_spec(
    run: Run,
    image: Image,
    usher: Path,
    spool: Path,
    secrets: Mapping[str, str] = MappingProxyType({}),
    mounts: Iterable[Mount] = (),
) -> ContainerSpec:
    """What the engine is asked to create.

    `secrets` are values by name, `mounts` those of files of secrets and of shared volumes.
    """
    return ContainerSpec(
        name=replica_name(run.job),
        image=image.id,
        argv=(USHER_TARGET, SPOOL_TARGET),
        env=environment(run, secrets),
        labels=labels(run),
        mounts=(
            Mount("bind", str(usher), USHER_TARGET, read_only=True),
            Mount("bind", str(spool), SPOOL_TARGET),
            *_scratch_mounts(run.container),
            *mounts,
        ),
        limits=limits(run),
        network="none" if run.compute.network == "none" else run.settings.network,
        stop_signal=15,  # to the usher, which sends the image's own to the app
        stop_grace_seconds=int(run.settings.stop_grace_seconds) + 1,
        runtime=run.compute.runtime,
    )


def environment(run: Run, secrets: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The app's environment on top of the image's; ours can't be overridden.

    JOB_DEADLINE is added by the usher, which alone knows when the replica's life began.
    """
    given = {
        e.name: secrets[value] if e.type == "secret" else value
        for e in run.container.env
        for value in [e.value_or_reference_to_secret]
    }
    return given | {
        "JOB_ID": run.job.id,
        "JOB_DEPLOYMENT": run.job.deployment,
        "JOB_ATTEMPT": str(run.job.attempt),
        "PORT": str(run.container.exposed_port),
    }


def labels(run: Run) -> dict[str, str]:
    """By these a container is found again, whoever made it."""
    return run.compute.labels | {
        LABEL_NODE: run.node,
        LABEL_UID: run.job.uid,
        LABEL_JOB: run.job.id,
        LABEL_DEPLOYMENT: run.job.deployment,
        LABEL_ATTEMPT: str(run.job.attempt),
        LABEL_DEADLINE: str(run.spec.scaling.deadline_seconds),
        ROOM_LABEL: reservation(run.compute, run.spec.compute.size, run.job.gpus),
    }


def limits(run: Run) -> Limits:
    """What the replica may use: the compute resource times the deployment's size.

    Which devices these are was decided at the claim.
    """
    compute, size = run.compute, run.spec.compute.size
    memory_mounts = (m.size_in_mb for m in run.container.volume_mounts if m.type == "memory")
    shm = next(memory_mounts, None)
    return Limits(
        cpus=compute.cpus * size,
        memory_bytes=compute.memory_mb * size * 2**20,
        pids=run.settings.pids_limit,
        gpus=run.job.gpus,
        shm_bytes=shm * 2**20 if shm else SHM_BYTES,
    )


def _scratch_mounts(container: Container) -> list[Mount]:
    scratch = (m for m in container.volume_mounts if m.type == "scratch")
    return [Mount("volume", "", mount.mount_path) for mount in scratch]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
