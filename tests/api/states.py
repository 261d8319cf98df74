"""Deployments and jobs in every state, for tests that ask all routes."""

from app.domain.job import Reason, State
from tests.api.faces import Faces, deployment
from tests.api.worker import PlayedWorker

BUSY = "busy"  # has jobs in every state
NAMES = (BUSY, "paused", "idle", "ending")
OPEN = ("queued", "dispatched", "starting", "running")
ENDS = {
    State.FAILED: Reason.OOM_KILLED,
    State.TIMED_OUT: Reason.DEADLINE,
    State.CANCELLED: Reason.CANCELLED,
    State.EXPIRED: Reason.QUEUE_TTL,
}
JOBS = (*OPEN, "succeeded", "answered", *ENDS)


def populate(api: Faces, worker: PlayedWorker) -> None:
    """Makes them; a job's id is its state."""
    for name in NAMES:
        # All in this deployment has a value: a change may then be of any part of it.
        retries = {"max_attempts": 2, "on": ["node_lost"]}
        scaling = deployment()["scaling"] | {"max_replica_count": 3}
        api.deploy(name, retry_policy=retries, scaling=scaling)
    for state, reason in ENDS.items():
        api.submit(BUSY, body=b"x", X_Inference_Id=state)
        worker.finish(BUSY, state, state, reason, f"it is {state}")
    api.submit(BUSY, X_Inference_Id="succeeded")
    worker.succeed(BUSY, "succeeded", {})
    api.submit(BUSY, X_Inference_Id="answered")
    worker.respond(BUSY, "answered", body=b"an answer")
    for name in ("running", "starting", "dispatched", "queued"):
        api.submit(BUSY, X_Inference_Id=name)
    worker.run(BUSY, "running")
    worker.claim(BUSY, "starting")
    api.control("POST", "/job-deployments/paused/pause")
