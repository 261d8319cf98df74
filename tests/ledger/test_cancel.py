"""Cancel, in every state."""

import pytest

from app.domain.errors import NotFound
from app.domain.job import Reason, State
from tests.ledger.scene import Scene, check_places, ids


def test_a_queued_job_is_cancelled_at_once(scene: Scene) -> None:
    for name in "abc":
        scene.submit(name)
    assert scene.cancel("b") == []
    job = scene.job("b")
    assert (job.state, job.reason, job.detail) == ("cancelled", "cancelled", "on request")
    assert scene.ledger.jobs.view(scene.uid, "c").position == 1
    check_places(scene)


def test_a_dispatched_job_is_cancelled_at_once_and_hands_its_slot_on(scene: Scene) -> None:
    for name in "ab":
        scene.submit(name)
    assert ids(scene.cancel("a")) == ["b"]
    assert scene.state("a") is State.CANCELLED
    assert scene.claim("a").job is None
    check_places(scene)


@pytest.mark.parametrize("running", [False, True])
def test_a_job_with_a_container_is_asked_to_end(scene: Scene, running: bool) -> None:
    grip = scene.started("a")
    if running:
        scene.run(grip)
    assert scene.cancel("a") == []
    job = scene.job("a")
    assert (job.state.final, job.cancel) == (False, Reason.CANCELLED)
    check_places(scene)
    scene.ledger.attempts.finish(grip, State.CANCELLED, Reason.CANCELLED, "ended", {})
    assert scene.job("a").cancel is None
    check_places(scene)


def test_the_first_reason_stays(scene: Scene) -> None:
    scene.started("a")
    scene.cancel("a")
    scene.ledger.jobs.cancel(scene.uid, "a", Reason.PURGED, "later")
    assert scene.job("a").cancel is Reason.CANCELLED


@pytest.mark.parametrize("released", [False, True])
def test_an_ended_job_stays_as_it_is(scene: Scene, released: bool) -> None:
    grip = scene.started("a")
    scene.finish(grip)
    if released:
        scene.ledger.attempts.release(grip)
    before = scene.raw("a")
    assert scene.cancel("a") == []
    assert scene.raw("a") == before
    check_places(scene)


def test_a_cancel_that_is_repeated_is_done_once(scene: Scene) -> None:
    for name in "abc":
        scene.submit(name)
    assert ids(scene.cancel("a")) == ["b"]
    assert scene.cancel("a") == []
    assert scene.events("a").count("cancelled") == 1
    assert scene.slots() == {"b"}


def test_an_unknown_job_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound):
        scene.cancel("nobody")
    assert scene.raw("nobody") == {}
