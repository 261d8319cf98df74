"""A machine that is silent for too long: its jobs end, its slots stay taken while they must."""

import re

import pytest

from app.domain.deployment import Deployment
from app.domain.errors import Conflict, NotFound
from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Stale
from app.ledger.nodes import NodeTaken, Stray
from tests.ledger.scene import LEASE, NODE, PAST, Scene, check_places, ids, keys_with, spec

TIMEOUT, GRACE = 60.0, 10.0
STARTED = {"started_at": "1700000000.0", "deadline_at": "1700000060.0", "replica": "r1"}


def silent(scene: Scene, seconds: float = 61, node: str = NODE) -> None:
    now, _ = scene.redis.time()
    scene.redis.zadd("onejob:nodes", {node: now - seconds})


def lose(scene: Scene, free: bool = False) -> list[str]:
    more, hints = scene.ledger.nodes.lose(NODE, TIMEOUT, GRACE, free)
    assert not more
    return ids(hints)


def retrying(ledger: Ledger, cap: int = 1) -> Scene:
    scene = Scene(ledger, cap=cap)
    policy = {"retry_policy": {"max_attempts": 2, "on": ["node_lost"]}}
    changed = Deployment.model_validate(spec(cap=cap).model_dump() | policy)
    scene.redis.hset(f"onejob:deployment:{scene.uid}:specs", "1", changed.model_dump_json())
    return scene


def test_a_node_that_gave_a_sign_of_life_is_not_lost(scene: Scene) -> None:
    scene.started("a")
    silent(scene, 30)  # of 60: this machine may be busy between the two lines
    assert lose(scene) == []
    assert scene.state("a") is State.STARTING


def test_a_claim_makes_its_node_known(scene: Scene) -> None:
    scene.started("a")
    assert [node.id for node in scene.ledger.nodes.all()] == [NODE]


@pytest.mark.parametrize("running", [False, True])
def test_the_jobs_of_a_lost_node_fail_and_their_slots_stay_taken(
    scene: Scene, running: bool
) -> None:
    grip = scene.started("a")
    scene.submit("b")
    if running:
        scene.run(grip)
    silent(scene)
    assert lose(scene) == []
    job = scene.job("a")
    assert (job.state, job.reason, job.teardown) == ("failed", "node_lost", None)
    (seconds,) = re.findall(r"silent for (\d+) s", job.detail or "")
    assert 61 <= int(seconds) < 120
    assert scene.state("b") is State.QUEUED
    assert scene.ledger.nodes.strays(NODE) == [Stray(scene.uid, "a", 1)]
    check_places(scene)
    assert lose(scene) == []  # once


def test_what_a_lost_node_says_later_changes_nothing(scene: Scene) -> None:
    grip = scene.started("a")
    silent(scene)
    lose(scene)
    before = scene.raw("a")
    with pytest.raises(Stale):
        scene.run(grip)
    with pytest.raises(Stale):
        scene.finish(grip)
    with pytest.raises(Stale):
        scene.ledger.attempts.release(grip)
    assert scene.ledger.attempts.renew(NODE, LEASE, [grip]) == ["lost"]
    assert scene.raw("a") == before
    assert scene.claim("a").job is None


def test_the_slot_is_freed_when_the_deadline_has_passed_for_certain(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    before, _ = scene.redis.time()
    scene.ledger.attempts.advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    after, _ = scene.redis.time()
    silent(scene)
    lose(scene)
    ((member, ends),) = scene.redis.zrange("onejob:due:strays", 0, -1, withscores=True)
    assert before <= ends - 60 - GRACE <= after + 1
    assert scene.ledger.nodes.free_strays() == (False, [])
    scene.redis.zadd("onejob:due:strays", {member: PAST})
    _, hints = scene.ledger.nodes.free_strays()
    assert ids(hints) == ["b"]
    assert keys_with(scene.redis, "a#1") == []


def test_the_slot_is_freed_when_the_machine_is_back_and_has_removed_it(scene: Scene) -> None:
    scene.started("a")
    scene.submit("b")
    silent(scene)
    lose(scene)
    stray = scene.ledger.nodes.strays(NODE)[0]
    assert ids(scene.ledger.nodes.drop_stray(NODE, stray, "exited with 0")) == ["b"]
    assert scene.ledger.nodes.drop_stray(NODE, stray, "exited with 0") == []
    late = scene.ledger.jobs.view(scene.uid, "a").timeline[-1]
    assert (late.event, late.detail) == ("late", "exited with 0")
    assert scene.state("a") is State.FAILED
    assert keys_with(scene.redis, "a#1") == []


def test_the_slot_is_freed_when_the_operator_forgets_the_node(scene: Scene) -> None:
    scene.started("a")
    scene.submit("b")
    with pytest.raises(Conflict, match="sign of life"):
        scene.ledger.nodes.forget(NODE)
    silent(scene)
    with pytest.raises(Conflict, match="holds"):
        scene.ledger.nodes.forget(NODE)
    lose(scene)
    assert ids(scene.ledger.nodes.forget(NODE)) == ["b"]
    assert scene.ledger.nodes.all() == []
    with pytest.raises(NotFound):
        scene.ledger.nodes.forget(NODE)
    assert keys_with(scene.redis, "a#1") == []


def test_those_who_prefer_it_get_the_slot_at_once(scene: Scene) -> None:
    scene.started("a")
    scene.submit("b")
    silent(scene)
    assert lose(scene, free=True) == ["b"]
    assert scene.ledger.nodes.strays(NODE) == []


def test_a_retry_policy_queues_the_job_again_and_its_old_slot_stays_taken(ledger: Ledger) -> None:
    scene = retrying(ledger, cap=2)
    grip = scene.started("a")
    scene.run(grip)
    silent(scene)
    assert lose(scene) == ["a"]
    job = scene.job("a")
    assert (job.state, job.attempt, job.fence) == (State.DISPATCHED, 2, 0)
    assert [e.reason for e in ledger.jobs.view(scene.uid, "a").earlier] == [Reason.NODE_LOST]
    scene.submit("b")
    assert scene.state("b") is State.QUEUED  # one slot is the stray's, one the second attempt's
    check_places(scene)
    scene.grip("a", "node2")
    silent(scene, node="node2")
    ledger.nodes.lose("node2", TIMEOUT, GRACE, True)
    assert scene.job("a").reason is Reason.NODE_LOST  # two attempts, no more


def test_a_cancelled_job_is_not_tried_again(ledger: Ledger) -> None:
    scene = retrying(ledger)
    scene.started("a")
    scene.cancel("a")
    silent(scene)
    lose(scene)
    assert scene.job("a").reason is Reason.NODE_LOST


def test_what_was_being_torn_down_keeps_its_state(scene: Scene) -> None:
    grip = scene.started("a")
    scene.finish(grip)
    silent(scene)
    lose(scene)
    job = scene.job("a")
    assert (job.state, job.teardown) == ("succeeded", None)
    assert len(scene.ledger.nodes.strays(NODE)) == 1
    check_places(scene)


def test_the_slot_of_what_was_being_torn_down_is_freed_by_the_replicas_own_deadline(
    scene: Scene,
) -> None:
    """Not by one that begins when its machine is given up."""
    grip = scene.started("a")
    scene.submit("b")
    scene.ledger.attempts.advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    scene.redis.zadd("onejob:due:deadlines", {scene.ref("a"): PAST})  # long ago
    scene.finish(grip)
    silent(scene)
    lose(scene)
    assert ids(scene.ledger.nodes.free_strays()[1]) == ["b"]
    assert keys_with(scene.redis, "onejob:due:deadlines") == []
    check_places(scene)


def test_a_deployment_is_not_gone_while_a_stray_may_run(scene: Scene) -> None:
    scene.started("a")
    silent(scene)
    lose(scene)
    scene.ledger.deployments.terminate("dep")
    assert scene.ledger.deployments.shrink(scene.uid) == "busy"
    scene.ledger.nodes.forget(NODE)
    assert scene.ledger.deployments.shrink(scene.uid) == "gone"
    assert keys_with(scene.redis, scene.uid) == []


def test_many_jobs_are_lost_in_bounded_steps(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=250)
    for n in range(250):
        scene.started(f"j{n}")
    silent(scene)
    steps = 1
    while ledger.nodes.lose(NODE, TIMEOUT, GRACE, False)[0]:
        steps += 1
    assert steps == 3
    assert len(ledger.nodes.strays(NODE)) == 250


def test_a_full_redis_loses_no_node(scene: Scene) -> None:
    silent(scene, 1000)
    scene.redis.config_set("maxmemory", 1)
    try:
        scene.ledger.nodes.announce(NODE, {"compute": {}})
    finally:
        scene.redis.config_set("maxmemory", 0)
    assert scene.ledger.nodes.all()[0].silent_seconds < 500


def test_one_id_from_two_machines_is_refused(ledger: Ledger) -> None:
    ledger.nodes.announce(NODE, {}, "boot1 unix:///one.sock")
    ledger.nodes.announce(NODE, {}, "boot1 unix:///one.sock")
    with pytest.raises(NodeTaken, match=NODE):
        ledger.nodes.announce(NODE, {}, "boot2 unix:///one.sock")
    with pytest.raises(NodeTaken, match=NODE):
        ledger.nodes.check(NODE, "boot2 unix:///one.sock")
    ledger.nodes.check(NODE, "boot1 unix:///one.sock")
    now, _ = ledger.client.time()
    ledger.client.zadd("onejob:nodes", {NODE: now - 16})  # the machine was booted again
    ledger.nodes.check(NODE, "boot2 unix:///one.sock")
    ledger.nodes.announce(NODE, {}, "boot2 unix:///one.sock")


def test_pause_and_resume(scene: Scene) -> None:
    scene.ledger.deployments.pause(scene.uid)
    scene.submit("a")
    assert scene.state("a") is State.QUEUED
    assert ids(scene.ledger.deployments.resume(scene.uid)) == ["a"]
    scene.ledger.deployments.terminate("dep")
    with pytest.raises(Conflict):
        scene.ledger.deployments.pause(scene.uid)


def test_a_purge_cancels_all_that_waits_and_nothing_that_started(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=2)
    grip = scene.started("running")
    for n in range(7):
        scene.submit(f"w{n}")
    assert ledger.jobs.purge(scene.uid, limit=3) == []
    assert {scene.job(f"w{n}").reason for n in range(7)} == {Reason.PURGED}
    assert scene.state("running") is State.STARTING
    scene.submit("new")
    assert scene.state("new") is State.DISPATCHED
    scene.end(grip)
    check_places(scene)
