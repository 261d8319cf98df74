"""An attempt that its engine has failed at for the node timeout, whatever was tried.

No job waits for an engine for ever. As that of a lost machine is, the attempt is moved on without
it; better, since its spool is here:

- what was not started is kept from it, and the job queued again, within its TTL;
- what may have been started counts as started, and its deadline runs;
- what was started ends as its usher says, or by deadline and grace: then nobody knows how;
- what has ended is left to the engine, and its slot freed, once nothing of it can run any more. The
  upkeep removes it when the engine is back.
"""

from datetime import UTC, datetime

from app.domain.job import Reason
from workers.attempt import Attempt
from workers.conclusion import Conclusion


class OutOfReach:
    """What becomes of one attempt without its engine. Each call may be repeated."""

    def __init__(self, attempt: Attempt, conclusion: Conclusion) -> None:
        self._attempt = attempt
        self._conclusion = conclusion

    def move_on(self, why: str) -> None:
        """Moves the attempt on as far as it goes. Raises Stale, Hopeless, redis's errors."""
        attempt = self._attempt
        if not self._over:
            self._judge(why)
        if self._over and (attempt.job.started_at is None or attempt.overdue() <= 0):
            attempt.leave(why)

    @property
    def _over(self) -> bool:
        job = self._attempt.job
        return job.state.final or job.abandoned is not None

    def _judge(self, why: str) -> None:
        attempt = self._attempt
        if attempt.never_runs():
            attempt.site.fitness.failed(why)
            attempt.abandon(Reason.ENGINE_LOST, why, counts=False)
            return
        attempt.note_unseen()
        if attempt.job.started_at is None:
            attempt.note_started(datetime.now(UTC))
        attempt.tell()
        if attempt.events().exited or attempt.overdue() <= 0:
            attempt.container, attempt.known = None, False  # not even its log's last line
            self._conclusion.finish()
