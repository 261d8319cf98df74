"""What a supervisor does at each step. Every action may be repeated, also by another supervisor."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime

import redis

from app.domain.job import Reason, State
from app.domain.verdict import Outcome, Stopping, judge
from workers import harvest, plan
from workers.attempt import Attempt, Hopeless
from workers.engine import (
    EngineError,
    ImageError,
    NoSuchContainer,
    Phase,
    SpoolMissing,
    StartRefused,
)
from workers.roster import Attention
from workers.site import Site
from workers.steps import Step, next_step

POLL_SECONDS = 5.0  # the slow poll behind the bell
RETRY_SECONDS = 1.0  # before the ledger is told again what it did not take
KILL_SECONDS = 0.2  # for a killed container to end
STOPPED_DETAIL = "the server was stopped while the job was running"
UNSENT_DETAIL = "the server was stopped before the request was sent"
VANISHED_DETAIL = "the replica vanished from the engine before the job was over"
CANCEL_DETAILS = {Reason.DEPLOYMENT_DELETED: "its deployment was deleted"}


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
        self._leaving = False  # this worker stops, and its replicas with it

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
        """The next step ends the job so."""
        self._given_up = lambda: self.attempt.end(outcome)

    def give_up_here(self, detail: str) -> None:
        """The next step queues the job again if its attempts allow for it, else it ends."""
        if self._may_again():
            self._given_up = lambda: self.attempt.again(detail)
        else:
            self.give_up(Outcome(State.FAILED, Reason.ENGINE_LOST, detail))

    def _do(self, step: Step) -> None:
        does: dict[Step, Callable[[], None]] = {
            Step.PREPARE: self._prepare,
            Step.CREATE: self._create,
            Step.START: self._start,
            Step.FOLLOW: self._follow,
            Step.FINISH: self._finish,
            Step.LOSE: self._lose,
            Step.CLEAR: self.attempt.release,
        }
        try:
            if step not in (Step.PREPARE, Step.CREATE, Step.START) or self._may_start():
                does[step]()
        except (StartRefused, ImageError) as error:
            self.attempt.end(harvest.refusal(error))
        except Hopeless as error:
            self.attempt.end(error.outcome)
        except SpoolMissing:
            self._lose()

    # -- from nothing to a running container -------------------------------------------------

    def _may_start(self) -> bool:
        """Whether a replica that never ran shall still start; if not, sees to its end."""
        if self._leaving:
            if self.attempt.container is None:
                raise LetGo
            self._stop_unsent()
            return False
        if self._wanted_cancel():
            self._cancel_unstarted()
            return False
        return True

    def _stop_unsent(self) -> None:
        if self._may_again():
            self.attempt.again(UNSENT_DETAIL)
        else:
            self.attempt.end(Outcome(State.CANCELLED, Reason.CANCELLED, UNSENT_DETAIL))

    def _prepare(self) -> None:
        attempt = self.attempt
        image, run = attempt.image(), attempt.run
        attempt.spool.prepare(
            plan.usher_plan(run, image), plan.command(run, image), attempt.request()
        )

    def _create(self) -> None:
        """Creates the container, once the ledger has said that the attempt is still ours.

        The order makes a sleeper harmless: whoever removed this attempt removed the spool
        directory last, so that a late create or start fails at its bind source.
        """
        attempt = self.attempt
        spec = plan.container_spec(
            attempt.run, attempt.image(), self.site.usher, attempt.spool.path
        )
        asked = attempt.confirm()
        if asked:
            self.attention.cancel = self.attention.cancel or asked
            return
        attempt.container = self.site.engine.create(spec)

    def _start(self) -> None:
        attempt = self.attempt
        assert attempt.container is not None
        try:
            self.site.engine.start(attempt.container.id)
        except NoSuchContainer:
            self._lose()
        except EngineError:
            attempt.known = False  # it may have started all the same
            raise
        else:
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
        if self._leaving or self._wanted_cancel():
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
        self._leaving = True

    # -- the end -----------------------------------------------------------------------------

    def _finish(self) -> None:
        attempt, seen = self.attempt, self.attempt.events()
        ours = self._ended_by is not None or seen.stopping is not None
        if self._leaving and ours and attempt.provably_unsent() and self._may_again():
            attempt.again(UNSENT_DETAIL)
            return
        container = attempt.container
        self._note_unseen()
        ending = harvest.ending(seen, container.exit if container else None, self._cancel_reason())
        ending = replace(ending, cancel_detail=self._cancel_detail(ending.cancel_detail))
        if seen.exited is None and self._ended_by is not None:
            ending = replace(ending, stopping=self._ended_by)
        if ending.exit_code != 0:
            ending = replace(ending, last_line=attempt.last_line())
        wanted = ending.responded and attempt.job.prefer != "respond-async-proxy"
        stored = attempt.keep_response() if wanted else None
        if wanted and stored is None:
            ending = replace(ending, responded=False, response_failure="malformed")
        fields = harvest.exit_fields(ending) | (stored.fields() if stored else {})
        attempt.end(judge(ending, attempt.run.bounds), fields)

    def _note_unseen(self) -> None:
        """What happened while nobody looked belongs in the record, too."""
        attempt, seen = self.attempt, self.attempt.events()
        if attempt.job.started_at is None:
            known = attempt.container.started_at if attempt.container else None
            event = seen.get("started")
            if at := known or (event and event.at):
                attempt.note_started(at)
        if seen.sent and attempt.job.state is State.STARTING:
            attempt.note_sent()

    def _lose(self) -> None:
        """The container or its spool vanished. Again if the request was provably not sent."""
        unsent = self.attempt.provably_unsent()
        if unsent and self._wanted_cancel():
            self._cancel_unstarted()
        elif unsent and self._may_again():
            self.attempt.again(VANISHED_DETAIL)
        else:
            self.attempt.end(Outcome(State.FAILED, Reason.ENGINE_LOST, VANISHED_DETAIL))

    def _cancel_unstarted(self) -> None:
        reason = self._wanted_cancel() or Reason.CANCELLED
        self.attempt.end(Outcome(State.CANCELLED, reason, "cancelled before it started"))

    # -- what was asked for ------------------------------------------------------------------

    def _wanted_cancel(self) -> Reason | None:
        return self.attention.cancel or self.attempt.job.cancel

    def _cancel_reason(self) -> Reason | None:
        return self._wanted_cancel() or (Reason.CANCELLED if self._leaving else None)

    def _cancel_detail(self, otherwise: str) -> str:
        wanted = self._wanted_cancel()
        if wanted is None:
            return STOPPED_DETAIL
        return CANCEL_DETAILS.get(wanted, otherwise)

    def _may_again(self) -> bool:
        return self.attempt.job.attempt < self.site.settings.max_attempts
