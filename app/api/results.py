"""/status/<deployment> and /result/<deployment>: what became of a job, and where that is told."""

import logging
from collections.abc import Iterator
from typing import Any, Literal

from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import Headers

from app.api import errors, schemas
from app.api.answers import Error
from app.api.bodies import inference_id
from app.api.entries import ANY, Reply, entry
from app.api.job_answers import AcceptedOut, JobStatusOut
from app.api.parts import INFERENCE_ID
from app.api.schemas import rfc3339
from app.api.services import access, known, services
from app.domain.errors import InvalidRequest, NotFound
from app.domain.job import ID_PATTERN, Job, JobView, State
from app.domain.transport import ResponseHead, parse_response_head

blueprint = Blueprint("results", __name__)
logger = logging.getLogger(__name__)

_FAILURES: dict[State, tuple[str, int]] = {
    State.FAILED: ("job_failed", 502),
    State.TIMED_OUT: ("deadline_exceeded", 504),
    State.EXPIRED: ("queue_timeout", 504),
    State.CANCELLED: ("cancelled", 410),
}


ACCEPTED = Reply(
    "It is a job. Empty where `Prefer: respond-async-proxy` asked for no more than the job.",
    AcceptedOut,
    headers=("X-Inference-Id", "Location"),
)
_OF_A_JOB = ("X-Inference-Id", "X-Job-State", "X-Exit-Code")
# What the app's own answer is, and what is told instead of one. An app may answer with any status.
RESULTS: dict[int | Literal["default"], Reply] = {
    200: Reply("The app's answer; empty where it succeeded without one.", {}, ANY, _OF_A_JOB),
    "default": Reply("The app's answer, whatever its status.", {}, ANY, _OF_A_JOB),
    410: Reply("Cancelled, or the result is no longer kept.", Error, headers=_OF_A_JOB),
    502: Reply("The job failed without an answer: `job_failed`.", Error, headers=_OF_A_JOB),
    504: Reply(
        "`deadline_exceeded` or, if it never started, `queue_timeout`.", Error, headers=_OF_A_JOB
    ),
}


class Verbatim(Response):
    """A response whose headers are the app's: none is added, changed or dropped."""

    default_mimetype = None

    def get_wsgi_headers(self, environ: Any) -> Headers:
        """The headers as they are."""
        return self.headers


@blueprint.get("/status/<name>")
@entry(
    {200: Reply("Where it stands.", JobStatusOut)},
    parameters=(INFERENCE_ID,),
    errors=(404,),
    access="key",
)
def status(name: str) -> Response:
    """Where a job stands."""
    return jsonify(schemas.status_out(_view(name)))


@blueprint.get("/result/<name>")
@entry(
    {**RESULTS, 404: Reply("No such job, or it is not over: then `X-Job-State` says so.", Error)},
    parameters=(INFERENCE_ID,),
    access="key",
)
def result(name: str) -> Response:
    """The app's own response, or why there is none."""
    return outcome(_view(name).job)


@blueprint.after_request
def _name_the_job(response: Response) -> Response:
    """Every answer of /result names its job, that of an unknown one, too."""
    given = request.headers.get("X-Inference-Id", "")
    if request.endpoint == "results.result" and ID_PATTERN.fullmatch(given):
        response.headers.setdefault("X-Inference-Id", given)
    return response


def outcome(job: Job) -> Response:
    """The answer that tells what became of a job."""
    response = _result(job)
    response.headers["X-Inference-Id"] = job.id
    response.headers["X-Job-State"] = job.state
    response.headers.remove("X-Exit-Code")  # an app may say so, too
    if job.exit_code is not None:
        response.headers["X-Exit-Code"] = str(job.exit_code)
    return response


def acceptance(name: str, job_id: str, no_response: bool = False) -> Response:
    """The answer to a submit: where the job's status and result are."""
    where = {"StatusPath": f"/status/{name}", "ResultPath": f"/result/{name}"}
    members: dict[str, Any] = {"Id": job_id} | where
    response = Response() if no_response else jsonify(members)
    if no_response:
        del response.headers["Content-Type"]
    response.status_code = 202
    response.headers["X-Inference-Id"] = job_id
    response.headers["Location"] = where["ResultPath"]
    return response


def _view(name: str) -> JobView:
    deployment = access(name)
    job_id = inference_id()
    if job_id is None:
        raise InvalidRequest("the header X-Inference-Id is missing: it names the job")
    return services().ledger.jobs.view(known(deployment, name).uid, job_id)


def _result(job: Job) -> Response:
    if not job.state.final:
        message = f"result not found: the job is {job.state}"
        response = errors.answer("not_found", message, 404)
        response.headers["Retry-After"] = "1"
        return response
    if job.response is not None:
        return _stored(job, job.response)
    if job.state is State.SUCCEEDED and job.prefer == "respond-async-proxy":
        return _expired("no result was kept: Prefer: respond-async-proxy asked for none")
    if job.state is State.SUCCEEDED:
        return Response(status=200, content_type="application/octet-stream")
    code, http_status = _FAILURES[job.state]
    return errors.answer(code, job.detail or str(job.reason), http_status)


def _stored(job: Job, token: str) -> Response:
    try:
        raw, body = services().ledger.payloads.read(token)
    except NotFound:
        return _expired(f"the result was kept until {rfc3339(job.result_expires_at)}")
    try:
        head = parse_response_head(raw)
    except ValueError as error:
        logger.warning("the response of %s: %s", job.ref, error)
        return errors.answer("job_failed", "the app's response can't be read", 502)
    return _verbatim(head, job.response_size or 0, body)


def _verbatim(head: ResponseHead, size: int, body: Iterator[bytes]) -> Response:
    headers = Headers(head.headers)
    bare = head.status in (204, 304)
    if not bare:
        headers["Content-Length"] = str(size)
    # A body that breaks off raises, and the connection ends: else the client would read the next
    # answer as the rest of this one.
    pieces = iter(()) if bare or request.method == "HEAD" else body
    return Verbatim(pieces, status=f"{head.status} {head.reason}".rstrip(), headers=headers)


def _expired(message: str) -> Response:
    return errors.answer("result_expired", message, 410)
