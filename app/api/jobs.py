"""/v1/job-deployments/<name>/jobs/<id>/…: one job, for whoever looks after it."""

from flask import Blueprint, Response

from app.api import errors
from app.api.schemas import rfc3339
from app.api.services import client, services
from app.domain.errors import NotFound
from app.domain.job import Job

blueprint = Blueprint("jobs", __name__, url_prefix="/v1/job-deployments/<name>/jobs/<job_id>")


@blueprint.before_request
def _authenticate() -> None:
    client()


@blueprint.get("/logs")
def logs(name: str, job_id: str) -> Response:
    """What the job's replica printed, both streams as they came: the last part, up to a bound.

    `X-Log-Truncated: true` says that its beginning was cut off. 404 until the job is over and its
    container gone. Empty where nothing was printed, and where the engine could not give it.
    """
    ledger = services().ledger
    job = ledger.jobs.get(ledger.deployments.get(name).uid, job_id)
    if not job.state.final or job.teardown is not None:
        where = "its replica is being removed" if job.state.final else f"the job is {job.state}"
        response = errors.answer("not_found", f"no log yet: {where}", 404)
        response.headers["Retry-After"] = "1"
        return response
    return _kept(job)


def _kept(job: Job) -> Response:
    pieces: object = ()
    if job.log is not None:
        try:
            _, pieces = services().ledger.payloads.read(job.log)
        except NotFound:
            message = f"the log was kept until {rfc3339(job.result_expires_at)}"
            return errors.answer("result_expired", message, 410)
    response = Response(pieces, content_type="text/plain; charset=utf-8")  # type: ignore[arg-type]
    response.headers["Content-Length"] = str(job.log_size or 0)
    response.headers["X-Log-Truncated"] = str(job.log_cut).lower()
    return response
