"""/v1/job-deployments/<name>/jobs/<id>/logs: what one job's replica printed."""

from collections.abc import Iterable, Iterator
from itertools import islice

from flask import Blueprint, Response, jsonify

from app.api import errors, so_far
from app.api.answers import Error
from app.api.entries import ANY, Parameter, Reply, entry
from app.api.log_form import asked, line_out
from app.api.schemas import rfc3339
from app.api.services import client_of_job, services
from app.domain.errors import NotFound
from app.domain.job import Job, JobSummary, State
from app.domain.log import Piece, lines_of, pieces_of

blueprint = Blueprint("logs", __name__, url_prefix="/v1/job-deployments/<name>/jobs/<job_id>/logs")
PIECES_AT_ONCE = 2000


blueprint.before_request(client_of_job)


@blueprint.get("")
@entry(
    {
        200: Reply("What it printed.", {}, ANY, ("X-Log-Truncated", "X-Log-Complete")),
        404: Reply("No such job, or no log yet.", Error),
    },
    parameters=(
        Parameter("format", "query", {"enum": ["text", "json"]}, "Plain text, or lines."),
        Parameter(
            "follow",
            "query",
            {"enum": ["true", "false"], "default": "false"},
            "Lines as server-sent events, as they are printed; at last an event `end`.",
        ),
    ),
    errors=(410,),
)
def logs(name: str, job_id: str) -> Response:
    """What the job's replica printed, both streams as they came: the last part, up to a bound.

    Plain text, or lines with instants and streams with `format=json` or `Accept:
    application/json`. `X-Log-Truncated: true` says that its beginning was cut off. Empty where
    nothing was printed, and where the engine could not give it. While the job runs it is what was
    printed so far, and `X-Log-Complete: false` says so. 404 before it runs, where its worker does
    not answer, and while its container is being removed. With `follow=true` lines come as they are
    printed, up to the job's end: see `app.api.following`.
    """
    here, (as_json, follows) = services(), asked()
    job = here.ledger.jobs.get(here.ledger.deployments.get(name).uid, job_id)
    if follows:
        return here.followers.follow(here.ledger, job)
    if not job.state.final or job.teardown is not None:
        return _unfinished(job, as_json)
    try:
        pieces = stored(job)
    except NotFound:
        message = f"the log was kept until {rfc3339(job.result_expires_at)}"
        return errors.answer("result_expired", message, 410)
    response = _lines(job, pieces) if as_json else _plain(pieces, job.log_size or 0)
    response.headers["X-Log-Truncated"] = str(job.log_cut).lower()
    return response


def stored(job: Job | JobSummary) -> Iterator[Piece]:
    """What is kept of a job's output. Raises NotFound once its retention is over."""
    if job.log is None:
        return iter(())
    _, chunks = services().ledger.payloads.read(job.log)
    return pieces_of(chunks)


def _unfinished(job: Job, as_json: bool) -> Response:
    runs = job.state in (State.STARTING, State.RUNNING)
    pieces = so_far.of(job) if runs else None
    if pieces is None:
        return _not_yet(job)
    size = sum(len(piece.text) for piece in pieces)
    response = _lines(job, pieces) if as_json else _plain(pieces, size)
    response.headers["X-Log-Complete"] = "false"
    return response


def _plain(pieces: Iterable[Piece], size: int) -> Response:
    response = Response(_texts(iter(pieces)), content_type="text/plain; charset=utf-8")
    response.headers["Content-Length"] = str(size)
    return response


def _texts(pieces: Iterator[Piece]) -> Iterator[bytes]:
    while some := [*islice(pieces, PIECES_AT_ONCE)]:
        yield b"".join(piece.text for piece in some)


def _lines(job: Job, pieces: Iterable[Piece]) -> Response:
    return jsonify([line_out(job.deployment, job.replica, line) for line in lines_of(pieces)])


def _not_yet(job: Job) -> Response:
    where = "its replica is being removed" if job.state.final else f"the job is {job.state}"
    response = errors.answer("not_found", f"no log yet: {where}", 404)
    response.headers["Retry-After"] = "1"
    return response
