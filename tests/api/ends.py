"""Ends of jobs that a played worker, or nobody, brings about."""

from collections.abc import Callable

from app.domain.job import Reason, State
from tests.api.worker import PlayedWorker

Play = Callable[[PlayedWorker, str], object]


def ends(state: State, reason: Reason, detail: str, **fields: str | int) -> Play:
    """The job ends without a response."""
    return lambda worker, job_id: worker.finish("hello", job_id, state, reason, detail, **fields)


def expire(worker: PlayedWorker, job_id: str) -> None:
    uid = worker.ledger.deployments.get("hello").uid
    worker.ledger.client.hset(f"onejob:job:{uid}:{job_id}", "expires_at", "1")
    worker.ledger.jobs.expire(uid, job_id)


def cancel(worker: PlayedWorker, job_id: str) -> None:
    uid = worker.ledger.deployments.get("hello").uid
    worker.ledger.jobs.cancel(uid, job_id, Reason.CANCELLED, "cancelled on request")
