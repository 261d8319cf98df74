"""/v1/job-deployments/<name>/jobs: the jobs of a deployment, and one of them in full."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, jsonify, request

from app.api import job_answers, schemas
from app.api.entries import Parameter, Reply, entry
from app.api.schemas import rfc3339
from app.api.services import client, services
from app.domain.errors import InvalidRequest, NotFound
from app.domain.job import ID_PATTERN, EarlierAttempt, Job, JobSummary, JobView, State

blueprint = Blueprint("job_lists", __name__, url_prefix="/v1/job-deployments/<name>/jobs")
LIMIT, MOST = 50, 1000
_NUMBER = re.compile(r"[0-9]{1,4}")
_CURSOR = re.compile(r"([0-9a-f]{12})\.([0-9]{1,15})", re.ASCII)  # which deployment, which place
_STATES = {"type": "array", "items": {"enum": [*State]}}
_QUERY = (
    Parameter("state", "query", _STATES, "Only jobs in this state; repeatable."),
    Parameter(
        "limit",
        "query",
        {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT},
        "Jobs of one page.",
    ),
    Parameter(
        "cursor",
        "query",
        {"type": "string", "pattern": f"^({_CURSOR.pattern})?$"},
        "Of the page that the next one is wanted of.",
    ),
)


@blueprint.before_request
def _authenticate() -> None:
    client()


@blueprint.get("")
@entry({200: Reply("A page.", job_answers.JobListOut)}, parameters=_QUERY, errors=(404,))
def index(name: str) -> Response:
    """A page of its jobs, the newest first, all of them or those in the given states.

    `cursor` goes on behind the page that named it, and is null on the last one.
    """
    ledger = services().ledger
    uid = ledger.deployments.get(name).uid
    if wrong := [*_wrong_states(), *_wrong_limit(), *_wrong_cursor(uid)]:
        raise InvalidRequest("; ".join(wrong))
    page = ledger.jobs.page(uid, _limit(), _place(), _states())
    jobs = [_summary_out(job) for job in page.jobs]
    return jsonify(jobs=jobs, cursor=f"{uid}.{page.place}" if page.place else None)


@blueprint.get("/<job_id>")
@entry({200: Reply("All of it.", job_answers.JobWholeOut)}, errors=(404,))
def show(name: str, job_id: str) -> Response:
    """One job: all that its status says, and what was asked for, what is kept, and where."""
    if not ID_PATTERN.fullmatch(job_id):  # it goes into the names of keys
        raise NotFound(f"no job {job_id[:200]!r}")
    ledger = services().ledger
    return jsonify(_whole_out(ledger.jobs.view(ledger.deployments.get(name).uid, job_id)))


def _states() -> list[State]:
    return [State(state) for state in request.args.getlist("state")]


def _limit() -> int:
    return int(request.args.get("limit", LIMIT))


def _cursor() -> str:
    """An empty one is none: the first page is meant."""
    return request.args.get("cursor", "")


def _place() -> str | None:
    """The place that the query's cursor names."""
    return _cursor().partition(".")[2] or None


def _wrong_states() -> Iterator[str]:
    given = request.args.getlist("state")
    if wrong := [state for state in given if state not in set(State)]:
        yield f"state: {wrong[0][:80]!r} is not allowed: must be one of {', '.join(State)}"


def _wrong_limit() -> Iterator[str]:
    text = request.args.get("limit", str(LIMIT))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST:
        yield f"limit: {text[:80]!r} is not allowed: must be a number from 1 to {MOST}"


def _wrong_cursor(uid: str) -> Iterator[str]:
    text = _cursor()
    match = _CURSOR.fullmatch(text)
    if text and (match is None or match[1] != uid):
        yield f"cursor: {text[:80]!r} is none of this deployment's lists"


def _summary_out(job: JobSummary) -> dict[str, Any]:
    request_out = {"Method": job.method, "Size": job.payload_size}
    return schemas.job_out(job) | _kept_out(job) | {"Request": request_out}


def _whole_out(view: JobView) -> dict[str, Any]:
    job = view.job
    attempts = [_attempt_out(one, one.ended_at) for one in view.earlier]
    attempts.append(_attempt_out(job, job.finished_at))  # goes on, is to come, or was the last
    return {
        **schemas.status_out(view),
        **_kept_out(job),
        "CancelRequested": job.cancel is not None,
        "GPUs": job.gpus,
        "Attempts": attempts,
        "Request": {"Method": job.method, "Target": job.target, "Size": job.payload_size},
        "Links": _links(job),
    }


def _kept_out(job: Job | JobSummary) -> dict[str, Any]:
    """Where it belongs, and what is kept of it; sizes are null where there is nothing."""
    until = rfc3339(job.result_expires_at)
    return {
        "Deployment": job.deployment,
        "Version": job.version,
        "Compute": job.compute,
        "QueueExpiresAt": rfc3339(job.expires_at),
        "Result": {"Status": job.response_status, "Size": job.response_size, "ExpiresAt": until},
        "Log": {"Size": job.log_size, "ExpiresAt": until},
    }


def _attempt_out(attempt: EarlierAttempt | Job, ended_at: datetime | None) -> dict[str, Any]:
    return {
        "Attempt": attempt.attempt,
        "Node": attempt.node,
        "Reason": attempt.reason,
        "Detail": attempt.detail,
        "ClaimedAt": rfc3339(attempt.claimed_at),
        "StartedAt": rfc3339(attempt.started_at),
        "SentAt": rfc3339(attempt.sent_at),
        "EndedAt": rfc3339(ended_at),
    }


def _links(job: Job) -> dict[str, str]:
    """Where more is: of the control plane, and of the data plane (with the id in a header)."""
    here = f"/v1/job-deployments/{job.deployment}/jobs/{job.id}"
    return {
        "Self": here,
        "Cancel": f"{here}/cancel",
        "Retry": f"{here}/retry",
        "Logs": f"{here}/logs",
        "Status": f"/status/{job.deployment}",
        "Result": f"/result/{job.deployment}",
    }
