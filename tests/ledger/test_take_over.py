"""Leases and fences: who lets a lease lapse may be replaced, and then writes nothing more."""

from collections.abc import Callable

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Claimed, Grip, Stale
from app.ledger.verbs import Verbs
from tests.ledger.scene import LEASE, NODE, Scene, check_places, ids

QUEUE = "node.node1"


def test_a_lapsed_attempt_is_taken_over_with_the_next_fence(scene: Scene) -> None:
    old = scene.started("a")
    scene.lapse("a")
    new = scene.grip("a")
    assert (new.attempt, new.fence) == (old.attempt, old.fence + 1)
    assert scene.state("a") is State.STARTING
    assert scene.claim("a") == Claimed(None, [])  # its lease is good again
    check_places(scene)


def test_a_good_lease_is_respected(scene: Scene) -> None:
    old = scene.started("a")
    assert scene.claim("a") == Claimed(None, [])
    scene.run(old)
    assert scene.state("a") is State.RUNNING


def test_no_other_node_takes_an_attempt_over(scene: Scene) -> None:
    scene.started("a")
    scene.lapse("a")
    before = scene.raw("a")
    assert scene.claim("a", "node2") == Claimed(None, [])
    assert scene.raw("a") == before
    check_places(scene)


def test_the_same_call_twice_raises_the_fence_once(scene: Scene) -> None:
    scene.started("a")
    scene.lapse("a")
    verbs = Verbs(scene.redis)
    args = ("take_over", scene.uid, "a", NODE, LEASE, "token")
    first, second = verbs(*args), verbs(*args)
    assert first == second
    assert scene.job("a").fence == 2


def test_what_an_ended_attempt_left_is_taken_over_until_it_is_released(scene: Scene) -> None:
    grip = scene.started("a")
    scene.finish(grip)
    scene.lapse("a")
    new = scene.grip("a")
    assert new.fence == grip.fence + 1
    scene.ledger.attempts.release(new)
    scene.redis.zadd(f"onejob:node:{NODE}:leases", {scene.ref("a"): 1})
    assert scene.claim("a") == Claimed(None, [])
    check_places(scene)  # the lease that led nowhere is gone, too


WRITES: dict[str, Callable[[Ledger, Grip], object]] = {
    "confirm": lambda led, g: led.attempts.confirm(g, State.STARTING),
    "advance": lambda led, g: led.attempts.advance(
        g, State.STARTING, State.RUNNING, "sent", {"sent_at": "1.0"}
    ),
    "finish": lambda led, g: led.attempts.finish(g, State.FAILED, Reason.SIGNALLED, "late", {}),
    "release": lambda led, g: led.attempts.release(g),
    "abandon": lambda led, g: led.attempts.abandon(g, Reason.ENGINE_LOST, "late"),
    "requeue": lambda led, g: led.attempts.requeue(g),
}


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("state", ["starting", "running", "teardown", "released"])
def test_whoever_was_replaced_is_stale(scene: Scene, verb: str, state: str) -> None:
    old = scene.started("a")
    scene.submit("b")
    scene.lapse("a")
    new = scene.grip("a")
    if state != "starting":
        scene.run(new)
    if state in ("teardown", "released"):
        scene.finish(new)
    if state == "released":
        scene.ledger.attempts.release(new)
    before, events = scene.raw("a"), scene.events("a")
    with pytest.raises(Stale):
        WRITES[verb](scene.ledger, old)
    assert (scene.raw("a"), scene.events("a")) == (before, events)
    check_places(scene)


@pytest.mark.parametrize("verb", WRITES)
def test_the_holder_of_an_earlier_attempt_is_stale(scene: Scene, verb: str) -> None:
    first = scene.started("a")
    scene.requeue(first)
    second = scene.grip("a")
    assert (second.attempt, second.fence) == (2, 1)
    before = scene.raw("a")
    if verb == "requeue":  # its own, once more: that is a repeat, not a new one
        assert scene.ledger.attempts.requeue(first) == []
    else:
        with pytest.raises(Stale):
            WRITES[verb](scene.ledger, first)
    assert scene.raw("a") == before


@pytest.mark.parametrize("verb", WRITES)
def test_nothing_can_be_written_for_a_job_that_is_gone(scene: Scene, verb: str) -> None:
    grip = Grip(scene.uid, "nobody", 1, 1)
    with pytest.raises(Stale):
        WRITES[verb](scene.ledger, grip)
    scene.ledger.attempts.let_go(grip, NODE)
    assert scene.ledger.attempts.renew(NODE, LEASE, [grip]) == ["lost"]
    assert scene.raw("nobody") == {}


def test_renewing_tells_each_what_it_must_know(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=3)
    held, cancelled, lost = (scene.started(name) for name in "abc")
    scene.cancel("b")
    scene.lapse("c")
    taken = scene.grip("c")
    answers = ledger.attempts.renew(NODE, 1000, [held, lost, cancelled, taken])
    assert answers == ["held", "lost", "cancelled", "held"]
    ends = dict(scene.redis.zrange(f"onejob:node:{NODE}:leases", 0, -1, withscores=True))
    assert len(set(ends.values())) == 1  # all three of one instant
    assert ledger.attempts.renew("node2", LEASE, [held]) == ["lost"]


def test_a_renewal_does_not_bring_a_released_attempt_back(scene: Scene) -> None:
    grip = scene.started("a")
    scene.end(grip)
    scene.ledger.attempts.renew(NODE, LEASE, [grip])
    assert scene.ledger.attempts.held(NODE) == []
    scene.ledger.attempts.let_go(grip, NODE)
    assert scene.ledger.attempts.held(NODE) == []


def test_twelve_hundred_leases_are_renewed(ledger: Ledger) -> None:
    scene = Scene(ledger)
    grip = scene.started("a")
    others = [Grip(scene.uid, f"nobody{n}", 1, 1) for n in range(1199)]
    answers = ledger.attempts.renew(NODE, LEASE, [*others, grip])
    assert answers == ["lost"] * 1199 + ["held"]
    assert ledger.attempts.renew(NODE, LEASE, []) == []


def test_letting_go_lets_the_next_one_in_at_once(scene: Scene) -> None:
    grip = scene.started("a")
    assert scene.ledger.attempts.lapsed(NODE, QUEUE) == []
    scene.ledger.attempts.let_go(grip, NODE)
    assert ids(scene.ledger.attempts.lapsed(NODE, QUEUE)) == ["a"]
    assert scene.grip("a").fence == 2
    assert scene.ledger.attempts.lapsed(NODE, QUEUE) == []


def test_whoever_was_replaced_lets_nothing_go(scene: Scene) -> None:
    old = scene.started("a")
    scene.lapse("a")
    scene.grip("a")
    scene.ledger.attempts.let_go(old, NODE)
    assert scene.ledger.attempts.lapsed(NODE, QUEUE) == []
    assert scene.claim("a").job is None
