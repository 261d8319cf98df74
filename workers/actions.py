"""What a supervisor does at each step. Every action may be repeated, also by another supervisor."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime

import redis

from app.domain.job import Reason, State
from app.domain.verdict import Outcome, Stopping, judge
from workers import ends, harvest, plan
from workers.attempt import Attempt, Hopeless
from workers.engine import (
    EngineError,
    ImageError,
    NoSuchContainer,
    Phase,
    SpoolMissing,
    StartRefused,
)
from workers.pulling import CalledOff, RunImage
from workers.roster import Attention
from workers.site import Site
from workers.steps import Step, next_step
from workers.wishes import Wishes

POLL_SECONDS = 5.0  # the slow poll behind the bell
RETRY_SECONDS = 1.0  # before the ledger is told again what it did not take
FRESH_SECONDS = 5.0  # far less than a node timeout
KILL_SECONDS = 0.2  # for a killed container to end
UNSENT_DETAIL = "the server was stopped before the request was sent"
OUTSIDE_DETAIL = "the replica was ended from outside before the request was sent"
KEPT_DETAIL = "this machine could not start the replica"
VANISHED_DETAIL = "the replica vanished from the engine before the job was over"


class LetGo(Exception):
    """This worker goes away; another one of its node moves the attempt on."""


class Actions:
    """The steps of one attempt, taken one at a time."""

    def __init__(
        self,
        site: Site,
        attempt: Attempt,
        attention: Attention,
        note_started: Callable[[], None],
    ) -> None:
        self.site = site
        self._note_started: Callable[[], None] | None = note_started  # None once it is called
        self.attempt = attempt
        self.attention = attention
        self._given_up: Callable[[], None] | None = None
        self._ended_by: Stopping | None = None  # what we did, where the usher can't say it
        self._wishes = Wishes(site, attempt, attention)
        self._image = RunImage(attempt, attention, self._wishes)

    def take(self) -> bool:
        """Looks at what is there and does what comes next; False when nothing is left to do."""
        self._heed_stop()
        if self._given_up is not None and not self.attempt.job.state.final:
            self._given_up()
            self._given_up = None
            return True
        step = next_step(self.attempt.look())
        if step is Step.REST:
            return False
        self._do(step)
        return True

    def give_up(self, outcome: Outcome) -> None:
        """The next step ends the attempt so."""
        self._given_up = lambda: self._end(outcome)

    def give_up_here(self, detail: str) -> None:
        """The next step queues the job again: it was this machine's fault, and does not count."""
        self._given_up = lambda: self.attempt.abandon(Reason.ENGINE_LOST, detail, counts=False)

    def _do(self, step: Step) -> None:
        does: dict[Step, Callable[[], None]] = {
            Step.PREPARE: self._prepare,
            Step.CREATE: self._create,
            Step.START: self._start,
            Step.FOLLOW: self._follow,
            Step.FINISH: self._finish,
            Step.LOSE: self._lose,
            Step.GIVE_UP: self._give_up_unstarted,
            Step.REQUEUE: self.attempt.requeue,
            Step.CLEAR: self.attempt.release,
        }
        try:
            if step not in (Step.PREPARE, Step.CREATE, Step.START) or self._may_start():
                does[step]()
        except (StartRefused, ImageError) as error:
            self._end(harvest.refusal(error))
        except Hopeless as error:
            self.attempt.end(error.outcome)
        except SpoolMissing:
            self._lose()
        except CalledOff:
            pass  # the next step looks at what came up

    # -- from nothing to a running container -------------------------------------------------

    def _may_start(self) -> bool:
        """Whether a replica that never ran shall still start; if not, sees to its end."""
        if self._wishes.leaving:
            if self.attempt.container is None:
                raise LetGo
            self._stop_unsent()
            return False
        if self._wishes.cancel:
            self._cancel_unstarted()
            return False
        return True

    def _stop_unsent(self) -> None:
        attempt = self.attempt
        if attempt.never_runs():
            attempt.abandon(Reason.CANCELLED, UNSENT_DETAIL, counts=False)
            return
        assert attempt.container is not None
        self.site.engine.remove(attempt.container.id)  # from here on it can send nothing
        attempt.container = None
        if self._wishes.another_if_unsent and attempt.provably_unsent():
            attempt.abandon(Reason.CANCELLED, UNSENT_DETAIL)
        else:
            attempt.end(Outcome(State.CANCELLED, Reason.CANCELLED, UNSENT_DETAIL))

    def _give_up_unstarted(self) -> None:
        """Another supervisor kept it from starting, and died before it could say why."""
        self.attempt.abandon(Reason.ENGINE_LOST, KEPT_DETAIL, counts=False)

    def _prepare(self) -> None:
        attempt = self.attempt
        with self._image.had() as image:
            run, request = attempt.run, attempt.request()
            attempt.spool.prepare(plan.usher_plan(run, image), plan.command(run, image), request)

    def _create(self) -> None:
        """Creates the container, once the ledger has said that the attempt is still ours.

        The order makes a sleeper harmless: whoever removed this attempt removed the spool
        directory last, so that a late create or start fails at its bind source.
        """
        attempt = self.attempt
        with self._image.had() as image:
            spec = plan.container_spec(attempt.run, image, self.site.usher, attempt.spool.path)
            if asked := attempt.confirm():
                self.attention.cancel = self.attention.cancel or asked
                return
            attempt.container = self.site.engine.create(spec)

    def _start(self) -> None:
        attempt = self.attempt
        assert attempt.container is not None
        attempt.confirm(fresh_seconds=FRESH_SECONDS)  # the engine, or this process, may have slept
        try:
            self.site.engine.start(attempt.container.id)
        except NoSuchContainer:
            self._lose()
        except EngineError:
            attempt.known = False  # it may have started all the same
            raise
        else:
            self.site.fitness.worked()
            now = datetime.now(UTC)
            attempt.container = replace(attempt.container, phase=Phase.RUNNING, started_at=now)
            attempt.note_started(now)

    # -- a running container -----------------------------------------------------------------

    def _follow(self) -> None:
        attempt, attention = self.attempt, self.attention
        assert attempt.container is not None
        if attempt.job.started_at is None:
            attempt.note_started(attempt.container.started_at or datetime.now(UTC))
        with ExitStack() as stack:
            with suppress(OSError):  # an app may have removed the file: the slow poll goes on
                path = attempt.spool.events_path
                stack.enter_context(self.site.watcher.watching(path, attention.ring))
            stack.enter_context(attention.following_container())
            if self._note_started is not None:
                note, self._note_started = self._note_started, None
                note()
            while not self._turn():
                longest = POLL_SECONDS if self._tell() else RETRY_SECONDS
                attention.wait(max(0.0, min(longest, attempt.overdue())))

    def _turn(self) -> bool:
        """One look at a running attempt; True when the loop has to decide anew."""
        attempt, attention, seen = self.attempt, self.attention, self.attempt.events()
        if seen.sent and attempt.job.state is State.STARTING:
            attempt.note_sent()
        if seen.exited or attention.lost:
            return True
        self._heed_stop()
        if attention.container_gone:
            attention.container_gone = attempt.known = False
            return True
        # Also where the usher says that it is stopping already: an app can write that, too.
        if self._wishes.leaving or self._wishes.cancel:
            self._stop_replica()
            return True
        if attempt.overdue() <= 0:
            self._kill_overdue()
            return True
        return False

    def _tell(self) -> bool:
        try:
            self.attempt.tell()
        except redis.RedisError:  # the replica is followed all the same
            return False
        return True

    def _stop_replica(self) -> None:
        """SIGTERM to the usher, which ends the app; killed if it takes longer than the grace."""
        assert self.attempt.container is not None
        self._ended_by = "signal"
        seconds = self.site.settings.stop_grace_seconds + 1
        self.site.engine.stop(self.attempt.container.id, seconds)
        self.attempt.known = False

    def _kill_overdue(self) -> None:
        assert self.attempt.container is not None
        self._ended_by = "deadline"
        self.site.engine.kill(self.attempt.container.id)
        self.attempt.known = False
        self.attention.wait(KILL_SECONDS)

    def _heed_stop(self) -> None:
        """This worker goes away. The attempt goes on without it, unless replicas go with it."""
        if not self.attention.stopping or self.attempt.job.state.final:
            return
        if not self.site.settings.own_replicas:
            raise LetGo
        self._wishes.leaving = True

    # -- the end -----------------------------------------------------------------------------

    def _finish(self) -> None:
        attempt, seen, wishes = self.attempt, self.attempt.events(), self._wishes
        if wishes.cancel and ends.never_began(attempt):
            self._cancel_unstarted()
            return
        if wishes.another_if_unsent and attempt.provably_unsent() and self._gave_up_unsent():
            return
        container = attempt.container
        attempt.note_unseen()
        ending = harvest.ending(seen, container.exit if container else None, wishes.end)
        ending = replace(ending, cancel_detail=wishes.sentence(ending.cancel_detail))
        if seen.exited is None:  # it was killed with its usher
            killed = self._ended_by or ends.outlived(attempt)
            ending = replace(ending, stopping=killed or ending.stopping)
        if ending.exit_code != 0:
            ending = replace(ending, last_line=attempt.last_line())
        wanted = ending.responded and attempt.job.prefer != "respond-async-proxy"
        stored = attempt.keep_response() if wanted else None
        if wanted and stored is None:
            ending = replace(ending, responded=False, response_failure="malformed")
        fields = harvest.exit_fields(ending) | (stored.fields() if stored else {})
        self._end(judge(ending, attempt.run.bounds), fields)

    def _gave_up_unsent(self) -> bool:
        """Whether it was ended by something else than its app and its job: another may follow."""
        seen, wishes = self.attempt.events(), self._wishes
        if wishes.leaving and (self._ended_by is not None or seen.stopping == "signal"):
            self.attempt.abandon(Reason.CANCELLED, UNSENT_DETAIL)
        elif not (wishes.end or self._ended_by) and ends.ended_from_outside(self.attempt):
            self.attempt.abandon(Reason.ENGINE_LOST, OUTSIDE_DETAIL)
        else:
            return False
        return True

    def _end(self, outcome: Outcome, fields: dict[str, str | int] | None = None) -> None:
        """Ends the job so, or this attempt alone where the deployment wants another one then."""
        if self._wishes.another_after(outcome.reason):
            self.attempt.abandon(outcome.reason, outcome.detail)
        else:
            self.attempt.end(outcome, fields)

    def _lose(self) -> None:
        """The container or its spool vanished. Again if the request was provably not sent."""
        unsent = self.attempt.provably_unsent()
        if unsent and self._wishes.cancel:
            self._cancel_unstarted()
        elif unsent and self._wishes.another_if_unsent:
            self.attempt.abandon(Reason.ENGINE_LOST, VANISHED_DETAIL)
        else:
            self._end(Outcome(State.FAILED, Reason.ENGINE_LOST, VANISHED_DETAIL))

    def _cancel_unstarted(self) -> None:
        reason = self._wishes.cancel or Reason.CANCELLED
        self.attempt.end(Outcome(State.CANCELLED, reason, "cancelled before it started"))
