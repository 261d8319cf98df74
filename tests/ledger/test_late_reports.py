"""What a node reports after a recovery: neither too late, nor of too early an attempt."""

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.recovery import Identity
from tests.ledger.scene import NODE, Scene, check_places
from tests.ledger.test_recovery import older, report

STARTED = {"started_at": "1700000000.0", "deadline_at": "1700000060.0", "replica": "r1"}


@pytest.fixture
def alone(ledger: Ledger) -> Scene:
    """A deployment that runs two jobs at once, and one node."""
    ledger.nodes.announce(NODE, {})
    return Scene(ledger, cap=2)


def test_the_slower_of_two_workers_does_not_end_what_was_claimed_since(alone: Scene) -> None:
    """Both looked at the same time; the first has reported, and claims go on."""
    alone.submit("a")
    alone.ledger.recovery.begin()
    report(alone, NODE)
    grip = alone.grip("a")
    report(alone, NODE)
    assert (alone.state("a"), alone.job("a").fence) == (State.STARTING, grip.fence)
    check_places(alone)


def test_a_report_of_before_the_last_recovery_does_not_count(alone: Scene) -> None:
    alone.submit("a")
    recovery = alone.ledger.recovery
    recovery.begin()
    before = recovery.identity()
    recovery.begin()
    recovery.report(NODE, before, [])
    assert recovery.waiting_for() == [NODE]
    recovery.report(NODE, Identity(before.id, before.epoch + 1), [])
    assert recovery.waiting_for() == []


@pytest.mark.parametrize("state", ["running", "given up"])
def test_a_later_attempt_has_none_of_the_earlier_ones_facts(alone: Scene, state: str) -> None:
    """Else it would be past its deadline at once, or be given up for the earlier one's reason."""
    alone.submit("a")
    grip = alone.grip("a")
    attempts = alone.ledger.attempts
    attempts.advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    alone.run(grip)
    if state == "given up":
        attempts.abandon(grip, Reason.OOM_KILLED, "out of memory")
    restore = older(alone, "a")
    alone.requeue(grip)
    alone.grip("a")
    restore()
    alone.ledger.recovery.begin()
    report(alone, NODE, ("a", 2))
    job = alone.job("a")
    assert (job.state, job.attempt, job.node) == (State.STARTING, 2, NODE)
    assert (job.started_at, job.sent_at, job.deadline_at, job.abandoned) == (None,) * 4
    check_places(alone)
    taken = alone.grip("a")
    attempts.advance(taken, State.STARTING, State.STARTING, "started", STARTED)
    alone.run(taken)
    alone.end(taken)
    assert alone.state("a") is State.SUCCEEDED
    check_places(alone)


def test_what_is_left_of_an_earlier_attempt_is_not_the_later_one(alone: Scene) -> None:
    """The ledger knows the second one on this node, of which there is nothing: it has ended."""
    alone.submit("a")
    alone.requeue(alone.grip("a"))
    grip = alone.grip("a")
    assert grip.attempt == 2
    alone.ledger.recovery.begin()
    report(alone, NODE, ("a", 1))
    assert (alone.state("a"), alone.job("a").reason) == (State.FAILED, Reason.NODE_LOST)
    check_places(alone)


def test_a_job_that_is_torn_down_is_torn_down_after_a_recovery_too(alone: Scene) -> None:
    grip = alone.started("a")
    alone.finish(grip)
    alone.ledger.recovery.begin()
    report(alone, NODE, ("a", 1))
    assert alone.job("a").teardown == NODE
    alone.lapse("a")
    alone.ledger.attempts.release(alone.grip("a"))
    assert alone.state("a") is State.SUCCEEDED
    check_places(alone)
