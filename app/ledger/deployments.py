"""Deployments: what is to run, and how much of it at once."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import redis

from app.domain.deployment import Deployment
from app.domain.errors import Conflict, NotFound
from app.domain.job import Hint
from app.ledger import keys, records
from app.ledger.verbs import Verbs

DeploymentState = Literal["running", "paused", "terminating"]
SHRINK_LIMIT = 500  # jobs per step of a deletion
VERSIONS_LIMIT = 1000  # earlier ones of a spec that jobs hold a slot with
LARGEST_BYTES = 64 * 1024  # of a spec that is remembered


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """A deployment as the ledger holds it."""

    uid: str  # its identity: a name made again gets a new one
    name: str
    state: DeploymentState
    version: int  # of the spec
    spec: Deployment
    created_at: datetime
    created_by: str
    image_updated_at: datetime | None = None  # None: it is the one that it was made with


class Overtaken(Exception):
    """Somebody else has changed the deployment meanwhile: nothing was done."""


class Deployments:
    """All deployments."""

    def __init__(self, client: redis.Redis, verbs: Verbs, hint_seconds: float) -> None:
        self._client = client
        self._verbs = verbs
        self._hint_seconds = hint_seconds

    def create(self, spec: Deployment, created_by: str) -> DeploymentRecord:
        """Stores a new deployment. Raises Conflict if the name is taken."""
        uid = secrets.token_hex(6)
        created = self._verbs(
            "create_deployment",
            spec.name,
            uid,
            spec.model_dump_json(),
            spec.compute.name,
            spec.compute.size,
            spec.scaling.max_replica_count,
            created_by,
            self._hint_seconds,
        )
        if created is None:
            raise Conflict(f"name: a deployment {spec.name!r} exists already")
        return DeploymentRecord(
            uid, spec.name, "running", 1, spec, records.instant(created), created_by
        )

    def change(
        self, base: DeploymentRecord, spec: Deployment
    ) -> tuple[DeploymentRecord, Sequence[Hint]]:
        """Gives a deployment its next spec, made from the record `base`.

        Returns the record, and the hints of the jobs that got a slot. Claimed jobs keep their
        spec, all others get the new one. A spec that is the same is no change. Raises Overtaken
        if `base` is no longer true, NotFound, Conflict.
        """
        if spec == base.spec and base.state != "terminating":
            return base, []
        verdict, *rest = self._verbs("change_deployment", *_change_args(base, spec))
        if verdict == b"outdated":
            raise Overtaken
        if verdict != b"done":
            raise _refusal(verdict, base.name)
        return record(rest[1]), records.admitted(base.uid, rest[0])

    def get(self, name: str) -> DeploymentRecord:
        """The deployment of that name. Raises NotFound."""
        return _found(self._verbs("find_deployment", name), name)

    def terminating(self) -> list[str]:
        """Uids of the deployments that are being deleted."""
        raw: Any = self._client.smembers(keys.terminating())
        return sorted(records.text(uid) for uid in raw)

    def list(self) -> list[DeploymentRecord]:
        """All deployments, oldest first."""
        found = [record(raw) for raw in self._verbs("list_deployments")]
        return sorted(found, key=lambda r: (r.created_at, r.name))

    def spec(self, uid: str, version: int) -> Deployment:
        """The spec that a job was dispatched with. Raises NotFound."""
        raw: Any = self._client.hget(keys.specs(uid), str(version))
        if raw is None:
            raise NotFound(f"no deployment {uid!r} in version {version}")
        return _spec(raw)

    def terminate(self, name: str) -> DeploymentRecord:
        """Begins the deletion: nothing more is accepted or started. Raises NotFound."""
        return _found(self._verbs("terminate_deployment", self.get(name).uid), name)

    def pause(self, uid: str) -> None:
        """What waits goes on waiting, what runs goes on running. Raises NotFound, Conflict."""
        self._set_paused(uid, "paused")

    def resume(self, uid: str) -> Sequence[Hint]:
        """Goes on; returns the hints of the jobs that got a slot. Raises NotFound, Conflict."""
        return self._set_paused(uid, "running")

    def _set_paused(self, uid: str, state: DeploymentState) -> Sequence[Hint]:
        verdict, flat = self._verbs("set_paused", uid, state)
        if verdict != b"done":
            raise _refusal(verdict)
        return records.admitted(uid, flat)

    def shrink(self, uid: str) -> Literal["gone", "more", "busy"]:
        """One bounded step of a deletion: call again at once on `more`, later on `busy`."""
        answer: Literal["gone", "more", "busy"] = records.text(  # type: ignore[assignment]
            self._verbs("shrink_deployment", uid, SHRINK_LIMIT)
        )
        return answer


def record(raw: Sequence[Any]) -> DeploymentRecord:
    """A deployment from what its script returns: its hash as a flat list, its spec."""
    values = {records.text(name): records.text(v) for name, v in records.pairs(raw[0]).items()}
    state: Any = values["state"]
    updated = values.get("image_updated_at")
    return DeploymentRecord(
        uid=values["uid"],
        name=values["name"],
        state=state,
        version=int(values["version"]),
        spec=_spec(raw[1]),
        created_at=records.instant(values["created_at"]),
        created_by=values["created_by"],
        image_updated_at=records.instant(updated) if updated else None,
    )


def _spec(raw: bytes) -> Deployment:
    return _remembered(raw) if len(raw) <= LARGEST_BYTES else _parsed(raw)


def _parsed(raw: bytes) -> Deployment:
    return Deployment.model_validate_json(raw)


# Reading one takes longer than all else that a submit does here; and it can't be changed.
_remembered = lru_cache(maxsize=256)(_parsed)


def _change_args(base: DeploymentRecord, spec: Deployment) -> tuple[str | int, ...]:
    new_image = spec.containers[0].image != base.spec.containers[0].image
    call_back = _for_one_job(spec) != _for_one_job(base.spec)
    return (
        base.uid,
        base.version,
        spec.model_dump_json(),
        spec.compute.name,
        spec.compute.size,
        spec.scaling.max_replica_count,
        int(new_image),
        int(call_back),
        VERSIONS_LIMIT,
        secrets.token_hex(8),
    )


def _for_one_job(spec: Deployment) -> dict[str, Any]:
    """What of a spec a job is run with."""
    return spec.model_dump(exclude={"scaling": {"max_replica_count", "queue_message_ttl_seconds"}})


def _refusal(verdict: bytes, name: str = "") -> Exception:
    which = f"deployment {name!r}" if name else "the deployment"
    if verdict == b"terminating":
        return Conflict(f"{which} is being deleted")
    if verdict == b"many":
        return Conflict(
            f"jobs run with {VERSIONS_LIMIT} earlier versions of {which}: wait for some to end"
        )
    return NotFound(f"{which} is gone")


def _found(raw: Sequence[Any] | None, name: str) -> DeploymentRecord:
    if raw is None:
        raise NotFound(f"no deployment {name!r}")
    return record(raw)
