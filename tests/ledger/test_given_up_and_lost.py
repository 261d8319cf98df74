"""An attempt was given up, and before it was queued again its machine is lost, too."""

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.ledger.scene import NODE, Scene, check_places, ids
from tests.ledger.test_lost_nodes import lose, silent


def given_up(ledger: Ledger, counts: bool) -> Scene:
    scene = Scene(ledger, cap=2)
    grip = scene.started("a")
    ledger.attempts.abandon(grip, Reason.ENGINE_LOST, "disk full", counts)
    return scene


@pytest.mark.parametrize("counts", [False, True])
def test_it_is_followed_by_another_attempt_as_was_said(ledger: Ledger, counts: bool) -> None:
    scene = given_up(ledger, counts)
    silent(scene)
    assert lose(scene) == ["a"]
    job = scene.job("a")
    assert (job.state, job.attempt, job.abandoned) == (State.DISPATCHED, 2, None)
    (earlier,) = ledger.jobs.view(scene.uid, "a").earlier
    assert (earlier.attempt, earlier.reason) == (1, Reason.ENGINE_LOST)
    assert len(ledger.nodes.strays(NODE)) == 1  # what is there of it keeps its slot
    check_places(scene)
    assert scene.grip("a", "node2").attempt == 2


def test_where_a_cancel_was_asked_for_it_is_not(ledger: Ledger) -> None:
    scene = given_up(ledger, counts=True)
    scene.cancel("a")
    silent(scene)
    assert lose(scene) == []
    assert scene.job("a").reason is Reason.NODE_LOST
    check_places(scene)


def test_the_freed_slot_is_its_own_again(ledger: Ledger) -> None:
    scene = given_up(ledger, counts=True)
    scene.change(max_replica_count=1)
    scene.submit("b")
    silent(scene)
    assert ids(ledger.nodes.lose(NODE, 60, 10, True)[1]) == ["a"]  # from the front of the queue
    check_places(scene)
