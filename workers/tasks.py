"""The Celery tasks. What they do is told elsewhere."""

from celery.exceptions import Ignore

from app.domain.job import State
from workers import celery, supervisor


class Unsuccessful(Exception):
    """The job did not succeed; the text says `<state>: <reason>: <detail>`."""


@celery.app.task(name="onejob.run", throws=(Unsuccessful,))
def run(uid: str, job_id: str) -> str:
    """Supervises one job to its end, if it is there to be done. Returns or raises its fate.

    Several hints of one job are one task: a hint for a job that is over tells its fate again, and
    one for a job that goes on elsewhere leaves the task's state alone.
    """
    job = supervisor.supervise(celery.current().site, uid, job_id)
    if job is None:
        raise Ignore
    if job.state is not State.SUCCEEDED:
        raise Unsuccessful(f"{job.state}: {job.reason}: {job.detail}")
    return str(job.state)
