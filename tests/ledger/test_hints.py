"""Hints that seem lost are named again, and queues are never flooded (trap 1)."""

import pytest

from app.ledger import Ledger
from tests.ledger.scene import HINT_SECONDS, NODE, PAST, Scene, ids

QUEUE = "compute.cpu"
NODE_QUEUE = "node.node1"


@pytest.fixture
def five(ledger: Ledger) -> Scene:
    """Five dispatched jobs whose last hint is old."""
    scene = Scene(ledger, cap=5)
    for n in range(5):
        scene.submit(f"j{n}")
    scene.redis.zadd("onejob:due:hints:cpu", {scene.ref(f"j{n}"): PAST + n for n in range(5)})
    return scene


def _due(scene: Scene, limit: int = 100) -> list[str]:
    return ids(scene.ledger.jobs.due_hints("cpu", QUEUE, HINT_SECONDS, limit))


def test_a_hint_that_was_just_published_is_not_due(scene: Scene) -> None:
    scene.submit("a")
    assert _due(scene) == []


def test_lost_hints_are_named_once_and_then_not_before_their_next_time(five: Scene) -> None:
    before, _ = five.redis.time()
    assert _due(five) == [f"j{n}" for n in range(5)]
    after, _ = five.redis.time()
    assert _due(five) == []
    for _, at in five.redis.zrange("onejob:due:hints:cpu", 0, -1, withscores=True):
        assert before + HINT_SECONDS <= at <= after + 1 + HINT_SECONDS


@pytest.mark.parametrize("lying", range(7))
def test_only_as_many_as_the_queue_is_short_of(five: Scene, lying: int) -> None:
    for _ in range(lying):
        five.redis.lpush(QUEUE, "message")
    assert _due(five) == [f"j{n}" for n in range(max(0, 5 - lying))]


def test_a_step_names_at_most_its_limit(five: Scene) -> None:
    assert _due(five, 2) == ["j0", "j1"]
    assert _due(five, 2) == ["j2", "j3"]


def test_claimed_jobs_need_no_hint(five: Scene) -> None:
    for name in ("j0", "j2"):
        five.grip(name)
    assert _due(five) == ["j1", "j3", "j4"]


def test_each_compute_resource_has_its_own(five: Scene) -> None:
    assert five.ledger.jobs.due_hints("gpu", "compute.gpu", 5) == []
    (hint, *_) = five.ledger.jobs.due_hints("cpu", QUEUE, 5)
    assert (hint.uid, hint.deployment, hint.compute) == (five.uid, "dep", "cpu")


def test_what_has_no_record_is_dropped(five: Scene) -> None:
    five.redis.zadd("onejob:due:hints:cpu", {"gone/job": 1})
    assert "job" not in _due(five)
    assert five.redis.zscore("onejob:due:hints:cpu", "gone/job") is None


@pytest.fixture
def lapsed(ledger: Ledger) -> Scene:
    """Four attempts of the node, three of them with a lapsed lease."""
    scene = Scene(ledger, cap=4)
    for n in range(4):
        scene.started(f"j{n}")
    for n in range(3):
        scene.lapse(f"j{n}")
    return scene


def _lapsed(scene: Scene, limit: int = 100) -> list[str]:
    return ids(scene.ledger.attempts.lapsed(NODE, NODE_QUEUE, limit))


def test_attempts_that_nobody_supervises_are_named(lapsed: Scene) -> None:
    assert _lapsed(lapsed) == ["j0", "j1", "j2"]
    assert lapsed.ledger.attempts.lapsed("node2", "node.node2") == []
    lapsed.grip("j1")
    assert _lapsed(lapsed) == ["j0", "j2"]


@pytest.mark.parametrize("lying", range(5))
def test_a_node_queue_never_holds_more_than_there_are_lapsed_attempts(
    lapsed: Scene, lying: int
) -> None:
    for _ in range(lying):
        lapsed.redis.lpush(NODE_QUEUE, "message")
    assert len(_lapsed(lapsed)) == max(0, 3 - lying)


def test_a_step_of_a_node_names_at_most_its_limit(lapsed: Scene) -> None:
    assert _lapsed(lapsed, 2) == ["j0", "j1"]


def test_a_lease_without_a_record_is_dropped(lapsed: Scene) -> None:
    lapsed.redis.zadd(f"onejob:node:{NODE}:leases", {"gone/job": 1})
    assert "job" not in _lapsed(lapsed)
    assert "gone/job" not in lapsed.ledger.attempts.held(NODE)
