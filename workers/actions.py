"""What a supervisor does at each step. Every action may be repeated, also by another supervisor."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime

import redis

from app.domain.job import Reason, State
from app.domain.verdict import Outcome
from workers import harvest, plan, provisions
from workers.attempt import Attempt
from workers.conclusion import UNSENT_DETAIL, Conclusion
from workers.engine import (
    EngineError,
    ImageError,
    NoSuchContainer,
    Phase,
    SpoolMissing,
    StartRefused,
)
from workers.out_of_reach import OutOfReach
from workers.pulling import CalledOff, RunImage
from workers.recipe import Hopeless
from workers.roster import Attention
from workers.site import Site
from workers.steps import Step, at_rest, next_step
from workers.wishes import Wishes

POLL_SECONDS = 5.0  # the slow poll behind the bell
RETRY_SECONDS = 1.0  # before the ledger is told again what it did not take
FRESH_SECONDS = 5.0  # far less than a node timeout
KILL_SECONDS = 0.2  # for a killed container to end
KEPT_DETAIL = "this machine could not start the replica"


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
        self._wishes = Wishes(site, attempt, attention)
        self._image = RunImage(attempt, attention, self._wishes)
        self._conclusion = Conclusion(attempt, self._wishes)
        self._out_of_reach = OutOfReach(attempt, self._conclusion)

    def take(self) -> bool:
        """Looks at what is there and does what comes next; False when nothing is left to do."""
        self._heed_stop()
        if at_rest(self.attempt.job):
            return False
        if self._given_up is not None and not self.attempt.job.state.final:
            self._given_up()
            self._given_up = None
            return True
        self._do(next_step(self.attempt.look()))
        return not at_rest(self.attempt.job)

    def give_up(self, outcome: Outcome) -> None:
        """The next step ends the attempt so."""
        self._given_up = lambda: self._conclusion.end(outcome)

    def give_up_here(self, detail: str) -> None:
        """The next step queues the job again: it was this machine's fault, and does not count."""
        self._given_up = lambda: self.attempt.abandon(Reason.ENGINE_LOST, detail, counts=False)

    def go_on_without_engine(self, why: str) -> bool:
        """Moves on what has waited for its engine too long; False when nothing is left to do."""
        try:
            self._out_of_reach.move_on(why)
        except Hopeless as error:
            self.attempt.end(error.outcome)
        return not at_rest(self.attempt.job)

    def _do(self, step: Step) -> None:
        does: dict[Step, Callable[[], None]] = {
            Step.PREPARE: self._prepare,
            Step.CREATE: self._create,
            Step.START: self._start,
            Step.FOLLOW: self._follow,
            Step.FINISH: self._conclusion.finish,
            Step.LOSE: self._conclusion.lose,
            Step.GIVE_UP: self._give_up_unstarted,
            Step.REQUEUE: self.attempt.requeue,
            Step.CLEAR: self.attempt.release,
        }
        try:
            if step not in (Step.PREPARE, Step.CREATE, Step.START) or self._may_start():
                does[step]()
        except (StartRefused, ImageError) as error:
            self._conclusion.end(harvest.refusal(error))
        except Hopeless as error:
            self.attempt.end(error.outcome)
        except SpoolMissing:
            self._conclusion.lose()
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
            self._conclusion.cancel_unstarted()
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
        attempt, recipe = self.attempt, self.attempt.recipe
        with self._image.had() as image:
            plan_file, argv = plan.usher_plan(recipe.run, image), plan.command(recipe.run, image)
            attempt.spool.prepare(plan_file, argv, recipe.request())

    def _create(self) -> None:
        """Creates the container, once the ledger has said that the attempt is still ours.

        The order makes a sleeper harmless: whoever removed this attempt removed the spool
        directory last, so that a late create or start fails at its bind source.
        """
        attempt = self.attempt
        with self._image.had() as image:
            given = provisions.gather(self.site, attempt.recipe.spec, attempt.secret_files)
            spec = plan.container_spec(
                attempt.recipe.run,
                image,
                self.site.usher,
                attempt.spool.path,
                given.values,
                given.mounts,
            )
            if asked := attempt.confirm():
                self.attention.cancel = self.attention.cancel or asked
                return
            attempt.secret_files.make(given.folders)
            made = self.site.engine.create(spec)
            known = made.created_at or datetime.now(UTC)
            attempt.container = replace(made, created_at=known)

    def _start(self) -> None:
        attempt = self.attempt
        assert attempt.container is not None
        attempt.confirm(fresh_seconds=FRESH_SECONDS)  # the engine, or this process, may have slept
        try:
            self.site.engine.start(attempt.container.id)
        except NoSuchContainer:
            self._conclusion.lose()
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
            stack.enter_context(attention.following_container(attempt.container.id))
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
        self._conclusion.ended_by = "signal"
        seconds = self.site.settings.stop_grace_seconds + 1
        self.site.engine.stop(self.attempt.container.id, seconds)
        self.attempt.known = False

    def _kill_overdue(self) -> None:
        assert self.attempt.container is not None
        self._conclusion.ended_by = "deadline"
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
