"""A node that is draining takes no new jobs, and goes on with what it holds."""

import pytest

from app.domain.errors import NotFound
from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.ledger.scene import HINT_SECONDS, LEASE, NODE, Scene, check_places, ids


@pytest.fixture
def draining(ledger: Ledger) -> Scene:
    """A deployment that runs two jobs at once; one of two nodes is draining."""
    scene = Scene(ledger, cap=2)
    for node in (NODE, "node2"):
        ledger.nodes.announce(node, {})
    ledger.nodes.drain(NODE)
    return scene


def due(scene: Scene) -> list[str]:
    """The jobs that a sweep would hint at now, with nothing in the Celery queue."""
    return ids(scene.ledger.jobs.due_hints("cpu", "compute.cpu", HINT_SECONDS))


def test_its_claim_is_refused_and_the_job_is_there_for_others(draining: Scene) -> None:
    draining.submit("a")
    claimed = draining.claim("a")
    assert (claimed.job, claimed.hints, claimed.draining) == (None, [], True)
    assert draining.state("a") is State.DISPATCHED
    check_places(draining)
    other = draining.claim("a", "node2")
    assert other.job is not None
    assert (other.job.node, other.draining) == ("node2", False)


def test_a_refused_job_is_hinted_at_again_by_the_next_sweep(draining: Scene) -> None:
    draining.submit("a")
    assert due(draining) == []  # it was just hinted at
    draining.claim("a")
    assert due(draining) == ["a"]
    assert due(draining) == []


def test_so_is_one_whose_message_reached_a_worker_that_takes_nothing_new(scene: Scene) -> None:
    scene.submit("a")
    attempts = scene.ledger.attempts
    assert attempts.claim(scene.uid, "a", NODE, LEASE, only_own=True).job is None
    assert due(scene) == ["a"]
    check_places(scene)


def test_one_that_takes_nothing_new_brings_back_no_message_of_what_does_not_wait(
    scene: Scene,
) -> None:
    scene.started("a")
    scene.submit("b")
    for job_id in ("a", "b", "nobody"):
        scene.ledger.attempts.claim(scene.uid, job_id, "node2", LEASE, only_own=True)
    assert due(scene) == []
    check_places(scene)


def test_a_claim_that_was_answered_before_is_answered_alike(
    ledger: Ledger, stuttering: Ledger
) -> None:
    scene = Scene(ledger).beside(stuttering.client)
    scene.submit("a")
    scene.grip("a")
    for _ in range(2):
        stuttering.nodes.drain(NODE)
    assert [view.draining for view in ledger.nodes.all()] == [True]
    assert scene.holder("a") == NODE


def test_what_is_due_to_end_ends_there_all_the_same(draining: Scene) -> None:
    draining.submit("a")
    draining.outlive_ttl("a")
    assert not draining.claim("a").draining
    job = draining.job("a")
    assert (job.state, job.reason) == (State.EXPIRED, Reason.QUEUE_TTL)


def test_what_it_holds_goes_on_to_its_end_by_whoever_takes_it_over(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=2)
    grip = scene.started("a")
    ledger.nodes.drain(NODE)
    scene.run(grip)
    scene.lapse("a")
    scene.end(scene.grip("a"))
    assert scene.state("a") is State.SUCCEEDED
    (view,) = ledger.nodes.all()
    assert view.empty


def test_it_hears_of_it_with_each_sign_of_life_until_it_is_undone(draining: Scene) -> None:
    nodes = draining.ledger.nodes
    assert nodes.announce(NODE, {})
    assert not nodes.announce("node2", {})
    assert {view.id: view.draining for view in nodes.all()} == {NODE: True, "node2": False}
    assert {view.id: view.takes_jobs for view in nodes.all()} == {NODE: False, "node2": True}
    nodes.drain(NODE, draining=False)
    assert not nodes.announce(NODE, {})
    draining.submit("a")
    assert draining.grip("a").fence == 1


def test_a_node_that_nobody_knows_can_not_be_drained(ledger: Ledger) -> None:
    for draining in (True, False):
        with pytest.raises(NotFound, match="nobody"):
            ledger.nodes.drain("nobody", draining)
    assert ledger.client.keys("onejob:node*") == []


def test_a_node_that_was_forgotten_takes_jobs_when_it_is_back(draining: Scene) -> None:
    draining.redis.zadd("onejob:nodes", {NODE: 1})
    draining.ledger.nodes.forget(NODE)
    assert not draining.ledger.nodes.announce(NODE, {})
    draining.submit("a")
    assert draining.grip("a").fence == 1
