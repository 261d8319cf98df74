"""The Celery tasks. What they do is told elsewhere."""

import logging

from celery import states
from celery.exceptions import Ignore

from app.domain.job import State
from workers import celery, prepull, supervisor

logger = logging.getLogger(__name__)


class Unsuccessful(Exception):
    """The job did not succeed; the text says `<state>: <reason>: <detail>`."""


@celery.app.task(name="onejob.run", throws=(Unsuccessful,))
def run(uid: str, job_id: str) -> str:
    """Supervises one job to its end, if it is there to be done. Returns or raises its fate.

    Several hints of one job are one task: a hint for a job that is over tells its fate again, and
    one for a job that goes on elsewhere leaves the task's state alone.
    """
    job = supervisor.supervise(celery.current().site, uid, job_id, _note_started)
    if job is None:
        raise Ignore
    if job.state is not State.SUCCEEDED:
        raise Unsuccessful(f"{job.state}: {job.reason}: {job.detail}")
    return str(job.state)


@celery.app.task(name="onejob.pull", ignore_result=True)
def pull(uid: str, version: int) -> None:
    """Has a deployment's image pulled ahead; does not wait for it."""
    prepull.begin(celery.current().site, uid, version)


def _note_started() -> None:
    """For Flower and `AsyncResult`. Celery would do it first: a job would wait for it."""
    try:
        run.update_state(state=states.STARTED)
    except Exception as error:  # whatever the backend raises: the truth is told elsewhere
        logger.warning("%s not noted as started: %s", run.request.id, error)
