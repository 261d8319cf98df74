"""After a restore from an older file: nothing is claimed until every node has said what it runs."""

from typing import Any

import pytest

from app.domain.compute import Capacity, ComputeResource, Offer
from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Stale
from app.ledger.recovery import Identity
from tests.ledger.scene import NODE, Scene, check_places, ids
from tests.ledger.test_lost_nodes import retrying


@pytest.fixture
def two(ledger: Ledger) -> Scene:
    """A deployment that runs two jobs at once, and two nodes."""
    scene = Scene(ledger, cap=2)
    for node in (NODE, "node2"):
        ledger.nodes.announce(node, {})
    return scene


def older(scene: Scene, job_id: str) -> Any:
    """The whole ledger, as it was before what the block does to a job."""
    client = scene.redis
    saved = {key: client.dump(key) for key in client.scan_iter()}

    def restore() -> None:
        client.flushdb()
        for key, value in saved.items():
            client.restore(key, 0, value)

    return restore


def report(scene: Scene, node: str, *replicas: tuple[str, int]) -> list[str]:
    recovery = scene.ledger.recovery
    named = [(scene.uid, job_id, attempt, "") for job_id, attempt in replicas]
    return ids(recovery.report(node, recovery.identity(), named))


def test_a_ledger_keeps_its_id(ledger: Ledger) -> None:
    first = ledger.recovery.identity()
    assert first == ledger.recovery.identity()
    assert first.epoch == 1
    ledger.client.flushdb()
    assert ledger.recovery.identity().id != first.id


def test_nothing_is_claimed_until_every_node_has_reported_or_is_forgotten(two: Scene) -> None:
    two.submit("a")
    assert two.ledger.recovery.begin() == [NODE, "node2"]
    assert two.claim("a").job is None
    assert two.state("a") is State.DISPATCHED
    report(two, NODE)
    assert two.ledger.recovery.waiting_for() == ["node2"]
    assert two.claim("a").job is None
    two.redis.zadd("onejob:nodes", {"node2": 1})
    two.ledger.nodes.forget("node2")
    assert two.grip("a").fence == 1


def test_a_machine_that_the_older_file_does_not_know_can_be_waited_for(two: Scene) -> None:
    two.submit("a")
    assert two.ledger.recovery.begin(["node3"]) == [NODE, "node2", "node3"]
    report(two, NODE)
    report(two, "node2")
    assert two.claim("a").job is None
    report(two, "node3", ("a", 1))
    assert two.job("a").node == "node3"  # its replica was never forgotten there
    check_places(two)


def test_who_reports_after_a_long_silence_is_alive(two: Scene) -> None:
    """Else the sweep of another machine would take from it what it has just reported."""
    two.submit("a")
    two.redis.hset(f"onejob:node:{NODE}", "identity", "before its reboot")
    two.redis.zadd("onejob:nodes", {NODE: 1})
    two.ledger.recovery.begin()
    report(two, NODE, ("a", 1))
    assert two.ledger.nodes.lose(NODE, 60, 10, False) == (False, [])
    assert two.state("a") is State.STARTING
    two.ledger.nodes.announce(NODE, {}, "after it")


def test_a_machine_that_is_waited_for_in_vain_is_forgotten_like_others(two: Scene) -> None:
    two.ledger.recovery.begin(["node3"])
    two.ledger.nodes.forget("node3")
    assert two.ledger.recovery.waiting_for() == [NODE, "node2"]


def test_a_claim_that_was_forgotten_belongs_to_its_node_again(two: Scene) -> None:
    two.submit("a")
    restore = older(two, "a")
    grip = two.grip("a")
    two.run(grip)
    restore()
    two.ledger.recovery.begin()
    report(two, "node2")
    report(two, NODE, ("a", 1))
    job = two.job("a")
    assert (job.state, job.node, job.attempt) == (State.STARTING, NODE, 1)
    assert job.fence > grip.fence
    assert "recovered" in two.events("a")
    with pytest.raises(Stale):
        two.finish(grip)  # whoever held it before asks again
    taken = two.grip("a")
    two.run(taken)
    two.end(taken)
    assert two.state("a") is State.SUCCEEDED
    check_places(two)


def test_a_later_attempt_than_the_ledger_knows_counts(two: Scene) -> None:
    two.submit("a")
    restore = older(two, "a")
    two.requeue(two.grip("a"))
    two.grip("a", "node2")
    restore()
    two.ledger.recovery.begin()
    report(two, NODE)
    report(two, "node2", ("a", 2))
    job = two.job("a")
    assert (job.state, job.node, job.attempt) == (State.STARTING, "node2", 2)
    check_places(two)


def test_what_the_ledger_says_of_a_node_that_has_nothing_of_it_has_ended(two: Scene) -> None:
    two.submit("a")
    two.submit("b")
    two.submit("c")
    grip = two.grip("a")
    restore = older(two, "a")
    two.end(grip)
    restore()
    two.ledger.recovery.begin()
    assert report(two, NODE) == ["c"]
    job = two.job("a")
    assert (job.state, job.reason) == (State.FAILED, Reason.NODE_LOST)
    assert "older file" in (job.detail or "")
    check_places(two)


def test_a_job_that_was_forgotten_altogether_is_nobodys(two: Scene) -> None:
    two.ledger.recovery.begin()
    assert report(two, NODE, ("nobody", 1)) == []
    assert two.raw("nobody") == {}
    assert two.ledger.attempts.held(NODE) == []


def test_a_forgotten_claim_is_found_again_though_its_job_has_waited_too_long(two: Scene) -> None:
    """Of two jobs whose claims were forgotten: one had its slot then, one waited for it."""
    for name in "abc":
        two.submit(name)
    ended = two.grip("a")
    restore = older(two, "a")
    two.grip("b", "node2")
    two.end(ended)
    two.grip("c", "node2")
    restore()
    for name in "bc":
        two.outlive_ttl(name)
    two.ledger.recovery.begin()
    two.ledger.jobs.expire_due()
    two.ledger.jobs.expire(two.uid, "b")
    report(two, NODE)  # the slot of `a` is free
    report(two, "node2", ("b", 1), ("c", 1))
    assert {two.state(name) for name in "bc"} == {State.STARTING}
    check_places(two)


def test_what_has_waited_too_long_expires_once_all_have_reported(two: Scene) -> None:
    two.submit("a")
    two.outlive_ttl("a")
    two.ledger.recovery.begin()
    for node in (NODE, "node2"):
        two.ledger.jobs.expire_due()
        assert two.state("a") is State.DISPATCHED
        report(two, node)
    two.ledger.jobs.expire_due()
    assert two.state("a") is State.EXPIRED
    check_places(two)


def test_a_report_may_be_repeated(two: Scene) -> None:
    two.submit("a")
    two.ledger.recovery.begin()
    for _ in range(2):
        report(two, NODE, ("a", 1))
    report(two, "node2")
    check_places(two)
    two.end(two.grip("a"))


def test_a_recovery_is_begun_once_by_a_repeated_call(ledger: Ledger, stuttering: Ledger) -> None:
    stuttering.recovery.begin()
    assert ledger.recovery.identity().epoch == 2
    stuttering.recovery.begin()
    assert ledger.recovery.identity().epoch == 3
    assert isinstance(ledger.recovery.identity(), Identity)


def test_more_than_the_cap_may_run_after_it_and_nothing_more_starts(two: Scene) -> None:
    for name in "abc":
        two.submit(name)
    two.ledger.recovery.begin()
    report(two, NODE, ("a", 1), ("c", 1))
    report(two, "node2")
    assert two.slots() == {"a", "b", "c"}
    assert two.claim("b").job is None  # refused: it waits until there is room
    assert two.state("b") is State.QUEUED
    two.end(two.grip("a"))
    assert two.state("b") is State.DISPATCHED


def test_what_ended_unknown_is_followed_by_another_attempt_where_the_policy_says_so(
    ledger: Ledger,
) -> None:
    scene = retrying(ledger, cap=2)
    ledger.nodes.announce(NODE, {})
    scene.run(scene.started("a"))
    ledger.recovery.begin()
    assert report(scene, NODE) == ["a"]
    job = scene.job("a")
    assert (job.state, job.attempt) == (State.DISPATCHED, 2)
    check_places(scene)


def test_what_a_reported_replica_has_of_its_machine_is_reserved_again(ledger: Ledger) -> None:
    unit = {"gpu": ComputeResource(cpus=1, memory_mb=100, gpus=1)}
    offer = Offer(Capacity(9, 1000, ("g0", "g1")), unit)
    scene = Scene(ledger, cap=3, compute="gpu")
    scene.submit("a")
    restore = older(scene, "a")
    assert scene.claim("a", NODE, offer).job is not None
    restore()
    ledger.recovery.begin([NODE])
    identity = ledger.recovery.identity()
    ledger.recovery.report(NODE, identity, [(scene.uid, "a", 1, "1000 100 g0")])
    assert scene.job("a").gpus == ("g0",)
    for name in "bc":
        scene.submit(name)
    assert [scene.claim(name, NODE, offer).job is not None for name in "bc"] == [True, False]
    assert scene.job("b").gpus == ("g1",)
