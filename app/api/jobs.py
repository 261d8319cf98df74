"""/v1/job-deployments/<name>/jobs/<id>/…: one job, for whoever looks after it."""

import time
import uuid
from contextlib import suppress
from dataclasses import replace

from flask import Blueprint, Response, jsonify

from app.api import errors
from app.api.bodies import LONGEST_TIMEOUT_MS, timeout_ms
from app.api.entries import Reply, entry
from app.api.job_answers import JobStatusOut
from app.api.parts import timeout
from app.api.results import ACCEPTED, acceptance
from app.api.schemas import rfc3339, status_out
from app.api.services import client_of_job, services, submission
from app.domain.errors import Conflict, NotFound
from app.domain.job import Job, Reason
from app.domain.transport import RequestHead
from app.ledger.deployments import DeploymentRecord
from app.ledger.payloads import Upload

blueprint = Blueprint("jobs", __name__, url_prefix="/v1/job-deployments/<name>/jobs/<job_id>")


CANCEL_SECONDS = 10.0  # beyond the grace, for a container to be gone
POLL_SECONDS = 0.1
DETAIL = "cancelled on request"


blueprint.before_request(client_of_job)


@blueprint.post("/cancel")
@entry(
    {
        200: Reply("It is over, and its container gone.", JobStatusOut),
        202: Reply("It will be.", JobStatusOut),
    },
    parameters=(timeout("Milliseconds to wait; the grace and 10 s if it is left out."),),
    errors=(404, 409),
)
def cancel(name: str, job_id: str) -> tuple[Response, int]:
    """Cancels a job, in whatever state it is, and answers with its status.

    200 once its container is gone, also where it was over before; 202 if that takes longer than
    `timeout` milliseconds, for instance on a machine that is out of reach, and where many wait
    already. Left out, those are the grace and 10 s.
    """
    here = services()
    default_ms = min(1000 * (here.settings.stop_grace_seconds + CANCEL_SECONDS), LONGEST_TIMEOUT_MS)
    give_up = time.monotonic() + timeout_ms(default_ms) / 1000
    uid = here.ledger.deployments.get(name).uid
    here.publish(here.ledger.jobs.cancel(uid, job_id, Reason.CANCELLED, DETAIL))
    view = here.ledger.jobs.view(uid, job_id)
    with here.waiting as may_wait, suppress(NotFound):  # its deployment may go meanwhile
        while may_wait and not _gone(here.ledger.jobs.get(uid, job_id)):
            if time.monotonic() >= give_up:
                break
            time.sleep(POLL_SECONDS)  # its replica ends on another machine
        view = here.ledger.jobs.view(uid, job_id)
    return jsonify(status_out(view)), 200 if _gone(view.job) else 202


@blueprint.post("/retry")
@entry({202: ACCEPTED}, errors=(404, 409, 410, 429))
def retry(name: str, job_id: str) -> Response:
    """Makes a new job of the request of one that is over. Answers as a submit does.

    404 for an unknown job, 409 for one that is not over, 410 if its request is no longer kept.
    """
    here = services()
    deployment = here.ledger.deployments.get(name)
    job = here.ledger.jobs.get(deployment.uid, job_id)
    if not job.state.final:
        raise Conflict(f"job {job_id!r} is {job.state}: only one that is over can be retried")
    here.memory.check_room()
    new_id = str(uuid.uuid4())
    try:
        upload = _copied(job, new_id)
    except NotFound:
        message = f"the request was kept until {rfc3339(job.result_expires_at)}"
        return errors.answer("result_expired", message, 410)
    return _accepted_again(deployment, job, new_id, upload)


def _gone(job: Job) -> bool:
    return job.state.final and job.teardown is None


def _copied(job: Job, new_id: str) -> Upload:
    """The request of a job as an upload for a new one. Raises NotFound."""
    payloads = services().ledger.payloads
    raw, body = payloads.read(job.payload)
    head = RequestHead.from_bytes(raw)
    headers = [pair for pair in head.headers if pair[0] != "X-Inference-Id"]
    headers.append(("X-Inference-Id", new_id))
    upload = payloads.upload(replace(head, headers=headers).to_bytes())
    try:
        for chunk in body:
            upload.write(chunk)
    except NotFound:
        upload.discard()
        raise
    return upload


def _accepted_again(
    deployment: DeploymentRecord, job: Job, new_id: str, upload: Upload
) -> Response:
    here = services()
    asked = submission(job.method, job.target, job.digest, job.prefer)
    here.publish(here.ledger.jobs.accept(deployment, new_id, asked, upload).hints)
    return acceptance(deployment.name, new_id, job.prefer == "respond-async-proxy")
