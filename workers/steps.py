"""The reconcile loop's decision: from (record, spool, container) to the next step. Pure.

Starting a job, finding it again after a crash and finishing it are the same code: whoever holds
the attempt looks at what is there and does what comes next.
"""

from dataclasses import dataclass
from enum import Enum, auto

from app.domain.job import Job, State
from workers.engine import Container, Phase
from workers.events import Events


class Step(Enum):
    """What a supervisor does next."""

    PREPARE = auto()  # make the spool directory
    CREATE = auto()  # create the container, after the ledger confirmed the attempt
    START = auto()  # start the container, which never ran
    FOLLOW = auto()  # wait for the usher's next word
    FINISH = auto()  # record the outcome
    LOSE = auto()  # the container is gone and left no outcome
    GIVE_UP = auto()  # of an attempt that was kept from starting: say so
    REQUEUE = auto()  # of an attempt given up: remove container and spool, queue the job again
    CLEAR = auto()  # remove container and spool, free the slot


@dataclass(frozen=True, slots=True)
class View:
    """What is there of an attempt, looked at just now."""

    job: Job
    spool_exists: bool
    usher_started: bool  # it took its run-once marker
    events: Events
    container: Container | None
    kept_from_starting: bool = False  # by a supervisor that was going to give it up


def at_rest(job: Job) -> bool:
    """Whether nothing is left to do for an attempt."""
    if job.state.final:
        return job.teardown is None
    return job.state not in (State.STARTING, State.RUNNING)


def next_step(view: View) -> Step:
    """The next step for an attempt that this supervisor holds, and that is not at rest."""
    if view.job.state.final:
        return Step.CLEAR
    if view.job.abandoned:
        return Step.REQUEUE
    if view.kept_from_starting and view.job.state is State.STARTING and not view.events.sent:
        return Step.GIVE_UP
    if view.events.exited or _phase(view) is Phase.EXITED:
        return Step.FINISH
    if view.container is None:
        return _without_container(view)
    # `start` on a container that ran would run it a second time: only what never started.
    return Step.START if _phase(view) is Phase.CREATED else Step.FOLLOW


def _without_container(view: View) -> Step:
    if view.usher_started or view.job.started_at is not None:
        return Step.LOSE
    return Step.CREATE if view.spool_exists else Step.PREPARE


def _phase(view: View) -> Phase | None:
    return view.container.phase if view.container else None
