"""The wire form of deployments: what is read, what is answered, and how errors name their field."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from app.domain import change
from app.domain.deployment import Container, Deployment
from app.domain.errors import InvalidRequest
from app.domain.job import EarlierAttempt, Job, JobSummary, JobView, State, TimelineEntry
from app.domain.members import Names
from app.ledger.deployments import DeploymentRecord

_Model = TypeVar("_Model", bound=BaseModel)
_LONGEST_SHOWN = 80
_MOST_SHOWN = 100  # complaints; a body of 1 MiB has room for 100,000
# What is allowed, by pydantic's word for what is wrong; its own sentence where none is here.
_ALLOWED = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "string_unicode": "must be a valid Unicode text",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "may have at most {max_length} characters",
    "too_short": "must have at least {min_length}",
    "too_long": "may have at most {max_length}",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "tuple_type": "must be a list",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_invalid": "must have one of these types: {expected_tags}",
    "union_tag_not_found": "must have a type: scratch, memory, secret or shared",
}

_BRANCHES = {
    *("scratch", "memory", "secret", "shared"),
    *("verda", "gcr", "dockerhub", "ghcr", "aws-ecr", "scaleway", "custom"),
}

# The contract's words for a client that knows no other; SDKs raise on any other word.
_STATUS = {
    State.QUEUED: "Queue",
    State.DISPATCHED: "Queue",
    State.STARTING: "Queue",
    State.RUNNING: "Inference",
}


def read_deployment(body: Any, names: Names) -> Deployment:
    """A deployment from a request's JSON; `names` are those that it may refer to.

    Raises InvalidRequest that names every bad field: its path, what it was, what is allowed.
    """
    return read(Deployment, body, names)


def read_change(there: Deployment, body: dict[str, Any], names: Names) -> Deployment:
    """A deployment after the change that a request's JSON asks for.

    Raises InvalidRequest as `read_deployment` does. What it refers to already it may keep.
    """
    allowed = names | change.names_in(there)
    return read(Deployment, change.merged(there, body), allowed, _renamed(there.name, body))


def read(
    model: type[_Model], body: Any, names: Names | None = None, wrong: Iterable[str] = ()
) -> _Model:
    """A model from a request's JSON.

    Raises InvalidRequest that names every bad field: its path, what it was, what is allowed.
    `wrong` are sentences about what the model does not look at.
    """
    sentences = list(wrong)
    try:
        found = model.model_validate(body, context=names)
    except ValidationError as error:
        sentences += _sentences(error, _sentence)
    if sentences:
        raise InvalidRequest("; ".join(sentences))
    return found


def read_secret(model: type[_Model] | TypeAdapter[_Model], body: Any) -> _Model:
    """As `read`, but the complaints show nothing of what was sent."""
    adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    sentences: list[str] = []
    try:
        return adapter.validate_python(body)
    except ValidationError as error:
        sentences += _sentences(error, _quiet_sentence)
    raise InvalidRequest("; ".join(sentences))


def deployment_out(record: DeploymentRecord, public_url: str) -> dict[str, Any]:
    """A deployment as the control plane answers it."""
    spec = record.spec
    return {
        "name": spec.name,
        "containers": [_container_out(spec.name, c, record) for c in spec.containers],
        "compute": spec.compute.model_dump(),
        "container_registry_settings": spec.container_registry_settings.model_dump(),
        "scaling": spec.scaling.model_dump(),
        "startup_seconds": spec.startup_seconds,
        "retry_policy": spec.retry_policy and spec.retry_policy.model_dump(mode="json"),
        "endpoint_base_url": f"{public_url}/{spec.name}",
        "created_at": rfc3339(record.created_at),
        "created_by_user_id": record.created_by,
    }


def summary_out(record: DeploymentRecord) -> dict[str, Any]:
    """A deployment as the list shows it."""
    return {
        "name": record.name,
        "created_at": rfc3339(record.created_at),
        "created_by_user_id": record.created_by,
        "compute": record.spec.compute.model_dump(),
    }


def status_out(view: JobView) -> dict[str, Any]:
    """A job as its status says it: the contract's words first, then ours."""
    return job_out(view.job) | {
        "QueuePosition": view.position,
        "EarlierAttempts": [_attempt_out(attempt) for attempt in view.earlier],
        "Timeline": [_entry_out(entry) for entry in view.timeline],
    }


def job_out(job: Job | JobSummary) -> dict[str, Any]:
    """What every answer about a job says of it."""
    failed = job.state.final and job.state is not State.SUCCEEDED
    return {
        "Id": job.id,
        "Status": _STATUS.get(job.state, "Completed"),
        "Error": job.detail if failed else None,
        "State": job.state,
        "Reason": job.reason,
        "ExitCode": job.exit_code,
        "OOMKilled": job.oom_killed,
        "Attempt": job.attempt,
        "Replica": job.replica,
        "Node": job.node,
        "CreatedAt": rfc3339(job.created_at),
        "StartedAt": rfc3339(job.started_at),
        "FinishedAt": rfc3339(job.finished_at),
        "DeadlineAt": rfc3339(job.deadline_at),
        "ResponseStatus": job.response_status,
        "ResultExpiresAt": rfc3339(job.result_expires_at),
    }


def _entry_out(entry: TimelineEntry) -> dict[str, Any]:
    members = {"Event": entry.event, "At": rfc3339(entry.at)}
    return members | ({"Detail": entry.detail} if entry.detail else {})


def _attempt_out(attempt: EarlierAttempt) -> dict[str, Any]:
    return {
        "Attempt": attempt.attempt,
        "Node": attempt.node,
        "Reason": attempt.reason,
        "Detail": attempt.detail,
        "StartedAt": rfc3339(attempt.started_at),
        "EndedAt": rfc3339(attempt.ended_at),
    }


def rfc3339(at: datetime | None) -> str | None:
    """An instant as RFC 3339 in UTC, with microseconds."""
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z") if at else None


def _container_out(
    deployment: str, container: Container, record: DeploymentRecord
) -> dict[str, Any]:
    members: dict[str, Any] = container.model_dump(mode="json")
    members["healthcheck"]["port"] = container.healthcheck.port or container.exposed_port
    updated_at = record.image_updated_at or record.created_at
    image = {"image": container.image, "last_updated_at": rfc3339(updated_at)}
    return {"name": container_name(deployment)} | members | {"image": image}


def container_name(deployment: str) -> str:
    """The name of a deployment's container, in all its replicas."""
    return f"{deployment}-0"


def _renamed(name: str, body: dict[str, Any]) -> Iterator[str]:
    """Complaints about names that a change may repeat, and may not change."""
    containers = body.get("containers")
    first = containers[0] if isinstance(containers, list) and len(containers) == 1 else None
    given = first.get("name") if isinstance(first, dict) else None
    for path, value, only in (
        ("name", body.get("name"), name),
        ("containers[0].name", given, container_name(name)),
    ):
        if value is not None and value != only:
            yield f'{path}: {_shown(value)} is not allowed: can\'t be changed, it is "{only}"'


def _sentences(error: ValidationError, sentence: Callable[[ErrorDetails], str]) -> list[str]:
    errors = _without_followers(error.errors(include_url=False))
    more = [f"and {len(errors) - _MOST_SHOWN} more"] if len(errors) > _MOST_SHOWN else []
    return [*map(sentence, errors[:_MOST_SHOWN]), *more]


def _without_followers(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """pydantic counts the good elements of a list alone: bad ones make it too short as well."""
    if all(e["type"] != "too_short" for e in errors):
        return errors
    with_bad_elements = {e["loc"][:n] for e in errors for n in range(len(e["loc"]))}
    return [e for e in errors if e["type"] != "too_short" or e["loc"] not in with_bad_elements]


def _quiet_sentence(error: ErrorDetails) -> str:
    path = _path(error["loc"])
    if error["type"] == "missing":
        return f"{path} is missing"
    return (
        "type is missing"
        if error["type"] == "union_tag_not_found"
        else f"{path}: {_allowed(error)}"
    )


def _sentence(error: ErrorDetails) -> str:
    path = _path(error["loc"])
    if error["type"] == "missing":
        return f"{path} is missing"
    wanted = _allowed(error)
    if _may_be_secret(error["loc"]):
        return f"{path}: {wanted}"
    return f"{path}: {_shown(error['input'])} is not allowed: {wanted}"


def _may_be_secret(location: tuple[int | str, ...]) -> bool:
    """Whether what was sent there stays out of the answer: a value, or one in the wrong place."""
    return "env" in location and location[-1] not in ("name", "type")


def _allowed(error: ErrorDetails) -> str:
    if error["type"] in _ALLOWED:
        allowed = _ALLOWED[error["type"]].format(**error.get("ctx", {}))
        is_text = error["type"] in ("too_short", "too_long") and isinstance(error["input"], str)
        return f"{allowed} characters" if is_text else allowed
    return error["msg"].removeprefix("Value error, ")


def _path(location: Iterable[int | str]) -> str:
    path = ""
    for part in location:
        # pydantic names the branch of a union, too; clients know of no such thing.
        if part in _BRANCHES:
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".") or "the body"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "this object" if isinstance(value, dict) else "this list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
