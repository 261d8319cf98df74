"""An attempt that is over, and whose engine is out of reach, is left to it."""

import pytest

from app.domain.job import Reason, State
from app.ledger.attempts import Grip, Stale
from tests.ledger.scene import NODE, PAST, Scene, check_places, ids

STARTED = {"started_at": "1700000000.0", "deadline_at": "1700000060.0", "replica": "r1"}
GRACE = 10.0


def leave(scene: Scene, grip: Grip, may_run: bool = True) -> list[str]:
    return ids(scene.ledger.attempts.leave(grip, GRACE, may_run, "its engine hangs"))


def given_up(scene: Scene, counts: bool = False) -> Grip:
    grip = scene.started("a")
    scene.ledger.attempts.abandon(grip, Reason.ENGINE_LOST, "its engine hangs", counts)
    return grip


def test_only_what_is_over_can_be_left(scene: Scene) -> None:
    grip = scene.started("a")
    with pytest.raises(Stale):
        leave(scene, grip)
    check_places(scene)


def test_the_slot_of_a_final_job_is_freed_by_its_replicas_deadline(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    scene.ledger.attempts.advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    scene.redis.zadd("onejob:due:deadlines", {scene.ref("a"): PAST})
    scene.finish(grip)
    assert leave(scene, grip) == []
    assert leave(scene, grip) == []  # a repeat
    assert (scene.state("a"), scene.job("a").teardown) == (State.SUCCEEDED, None)
    check_places(scene)
    assert ids(scene.ledger.nodes.free_strays()[1]) == ["b"]


def test_a_slot_that_nothing_can_need_is_freed_at_once(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    scene.finish(grip)
    assert leave(scene, grip, may_run=False) == ["b"]
    assert scene.ledger.nodes.strays(NODE) == []
    check_places(scene)


@pytest.mark.parametrize("counts", [False, True])
def test_a_job_that_is_queued_again_gets_a_new_number_and_only_if_it_counts_a_new_ttl(
    scene: Scene, counts: bool
) -> None:
    grip = given_up(scene, counts)
    before = scene.job("a").expires_at
    assert leave(scene, grip, may_run=False) == ["a"]
    leave(scene, grip, may_run=False)  # a repeat
    job = scene.job("a")
    assert (job.state, job.attempt, job.abandoned) == (State.DISPATCHED, 2, None)
    assert (job.expires_at > before) == counts
    check_places(scene)


def test_a_replica_that_may_run_keeps_its_slot_from_its_own_job(scene: Scene) -> None:
    assert leave(scene, given_up(scene)) == []
    assert scene.state("a") is State.QUEUED
    check_places(scene)


def test_a_cancel_ends_the_job(scene: Scene) -> None:
    grip = given_up(scene)
    scene.cancel("a")
    leave(scene, grip, may_run=False)
    assert scene.job("a").reason is Reason.CANCELLED
    check_places(scene)
