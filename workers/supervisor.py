"""Supervision of one attempt: look, decide (`steps`), do (`actions`), again; until nothing is left.

No step needs the one before it to have been done by this process, or to have been answered: who
takes an attempt over after a crash runs the same loop.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import redis

from app.domain.errors import NotFound
from app.domain.job import Job, Reason, State
from app.domain.verdict import Outcome
from app.ledger.attempts import Stale
from workers.actions import Actions, LetGo
from workers.attempt import Attempt
from workers.engine import EngineError, EngineUnavailable
from workers.holding import Holding
from workers.roster import Attention
from workers.site import Site

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 1.0  # after a failure; twice as long after each further one
LONGEST_PAUSE_SECONDS = 8.0
TROUBLES = 3  # failures in a row before another attempt is made
LAST_TROUBLES = 10  # failures of ours in a row before a running job is given up


def supervise(
    site: Site, uid: str, job_id: str, note_started: Callable[[], None] = lambda: None
) -> Job | None:
    """Claims a job, or takes it over, and moves it on as far as it goes.

    Returns the job if it is over, through whomever; None if it goes on elsewhere or is unknown.
    `note_started` is called once if its container is seen running.
    """
    if site.roster.stopping or site.fitness.has("identity"):  # its attempts are another machine's
        return None
    lease = site.settings.lease_seconds
    try:
        claimed = site.ledger.attempts.claim(
            uid, job_id, site.node, lease, site.room.offer, only_own=not site.fitness.fit
        )
    except redis.RedisError as error:
        logger.warning("%s/%s not claimed, the sweep will hint again: %s", uid, job_id, error)
        return None
    site.publish(claimed.hints)
    if claimed.no_room:
        site.room.lacking()
    if claimed.draining:
        site.fitness.drains(True)  # the heartbeat would hear of it a little later
    done = Supervisor(site, claimed.job, note_started).run() if claimed.job else None
    return done or _over(site, uid, job_id)


def _over(site: Site, uid: str, job_id: str) -> Job | None:
    with suppress(NotFound, redis.RedisError):
        job = site.ledger.jobs.get(uid, job_id)
        return job if job.state.final else None
    return None


class Supervisor:
    """The loop over one attempt, and what it makes of failures."""

    def __init__(self, site: Site, job: Job, note_started: Callable[[], None]) -> None:
        self.site = site
        self._note_started = note_started
        self.attempt = Attempt(site, job)
        self._failures = 0  # in a row, of whatever kind
        self._troubles = 0  # in a row, of those that count
        self._engine_failing_since: float | None = None  # by the monotonic clock, without a gap

    def run(self) -> Job | None:
        """Moves the attempt on until nothing is left to do. Returns the job if it is over."""
        attempt = self.attempt
        try:
            with (
                Holding(self.site.spool_root.path).mark(attempt.replica),
                self.site.roster.enter(attempt.grip, attempt.replica) as attention,
            ):
                actions = Actions(self.site, attempt, attention, self._note_started)
                while self._step(actions, attention):
                    pass
            return attempt.job if attempt.job.state.final else None
        except Stale:
            logger.warning("%s: another supervisor has it, letting go", attempt.replica)
        except LetGo:
            logger.info("%s: letting go", attempt.replica)
            with suppress(redis.RedisError):  # then the lease lapses by itself
                self.site.ledger.attempts.let_go(attempt.grip, self.site.node)
        return None

    def _step(self, actions: Actions, attention: Attention) -> bool:
        if attention.lost:
            raise Stale(self.attempt.grip.ref)
        try:
            goes_on = actions.take()
        except (Stale, LetGo):
            raise
        except Exception as error:
            goes_on = self._failed(actions, error)
            if goes_on:
                self._pause(attention, error)
        else:
            self._failures = self._troubles = 0
            self._engine_failing_since = None
        return goes_on

    def _failed(self, actions: Actions, error: Exception) -> bool:
        """Redis or the engine did not answer: unknown, never dead, so look again; or worse.

        Whether anything is left to do.
        """
        if not isinstance(error, EngineError):
            self._engine_failing_since = None
        elif not self._wait_for_engine():
            try:
                return actions.go_on_without_engine(f"its engine is out of reach: {error}")
            except (Stale, LetGo):
                raise
            except Exception as further:
                error = further
        if not isinstance(error, redis.RedisError | EngineUnavailable):
            self._trouble(actions, error)
        return True

    def _wait_for_engine(self) -> bool:
        """Whether an engine that fails is given more time: as long as a machine that is silent."""
        now = time.monotonic()
        since = self._engine_failing_since = self._engine_failing_since or now
        return now - since < self.site.settings.node_timeout_seconds

    def _trouble(self, actions: Actions, error: Exception) -> None:
        """A failure that is never the app's. Some tries here, then it is queued again.

        A job that runs is given up far later: it may end well by itself.
        """
        if not isinstance(error, EngineError | OSError):
            logger.exception("%s: a fault of ours", self.attempt.replica)
        self._troubles += 1
        job = self.attempt.job
        if job.state.final or job.abandoned:
            pass
        elif self._troubles >= TROUBLES and self._never_runs(error):
            actions.give_up_here(f"the engine could not start the replica: {error}")
        elif self._troubles >= LAST_TROUBLES and not isinstance(error, EngineError):
            detail = f"the job could not be supervised: {type(error).__name__}: {error}"
            actions.give_up(Outcome(State.FAILED, Reason.ENGINE_LOST, detail))

    def _never_runs(self, error: Exception) -> bool:
        """Whether the replica was not started, which this machine is noted for, nor will be."""
        if self.attempt.job.started_at is not None:
            return False
        self.site.fitness.failed(str(error))
        return self.attempt.never_runs()

    def _pause(self, attention: Attention, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("%s: %s", self.attempt.replica, error)
        if attention.stopping:
            raise LetGo
        self.attempt.known = False
        doubled = PAUSE_SECONDS * 2 ** min(self._failures - 1, 10)
        attention.wait(min(LONGEST_PAUSE_SECONDS, doubled))
