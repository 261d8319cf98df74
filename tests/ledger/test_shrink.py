"""Deleting a deployment: step by step, bounded, and nothing of it stays behind."""

import pytest

from app.domain.errors import Conflict, NotFound
from app.domain.job import Reason, State
from app.ledger import Ledger, deployments
from app.ledger.attempts import Stale
from app.ledger.verbs import Verbs
from tests.ledger.scene import Scene, check_places, keys_with, spec, submission


def _shrink(scene: Scene) -> str:
    answer: str = "more"
    while answer == "more":
        answer = scene.ledger.deployments.shrink(scene.uid)
    return answer


def test_jobs_in_every_state_end_and_nothing_stays_behind(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=4)
    starting, running, teardown = (scene.started(name) for name in ("s", "r", "t"))
    scene.run(running)
    scene.finish(teardown)
    for name in ("d", "q1", "q2"):
        scene.submit(name, b"x" * (1024 * 1024 + 1))
    assert scene.state("d") is State.DISPATCHED
    ledger.deployments.terminate("dep")
    assert ledger.deployments.terminating() == [scene.uid]

    assert _shrink(scene) == "busy"
    for name in ("d", "q1", "q2"):
        assert (scene.state(name), scene.job(name).reason) == ("cancelled", "deployment_deleted")
    assert scene.job("s").cancel is Reason.DEPLOYMENT_DELETED
    assert scene.job("r").cancel is Reason.DEPLOYMENT_DELETED
    assert scene.state("t") is State.SUCCEEDED
    check_places(scene)

    attempts = ledger.attempts
    assert attempts.release(teardown) == []
    assert _shrink(scene) == "busy"
    for grip in (starting, running):
        attempts.finish(grip, State.CANCELLED, Reason.DEPLOYMENT_DELETED, "ended", {})
        assert _shrink(scene) == "busy"
        assert attempts.release(grip) == []
    assert _shrink(scene) == "gone"
    assert keys_with(ledger.client, scene.uid) == []
    assert set(ledger.client.keys("*")) <= {b"onejob:nodes", b"onejob:counts"}


def test_an_admission_that_stopped_at_its_bound_is_forgotten_with_its_deployment(
    ledger: Ledger,
) -> None:
    scene = Scene(ledger)
    for n in range(102):
        scene.submit(f"j{n}", b"")
    scene.change(max_replica_count=200)
    assert len(ledger.jobs.admit(scene.uid)) == 100
    assert scene.redis.sismember("onejob:due:admit", scene.uid)
    ledger.deployments.terminate("dep")
    assert _shrink(scene) == "gone"
    assert set(scene.redis.keys("*")) <= {b"onejob:nodes", b"onejob:counts"}


def test_a_requeue_during_the_deletion_ends_the_job(scene: Scene) -> None:
    grip = scene.started("a")
    scene.ledger.deployments.terminate("dep")
    assert scene.requeue(grip) == []  # before its cancel flag
    assert scene.state("a") is State.QUEUED
    assert _shrink(scene) == "gone"
    assert keys_with(scene.redis, scene.uid) == []


def test_waiting_jobs_are_cancelled_and_records_deleted_in_bounded_steps(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployments, "SHRINK_LIMIT", 3)
    scene = Scene(ledger, cap=1)
    for n in range(8):
        scene.submit(f"j{n}")
    ledger.deployments.terminate("dep")
    queue, jobs = (f"onejob:deployment:{scene.uid}:{name}" for name in ("queue", "jobs"))
    left = []
    while (answer := ledger.deployments.shrink(scene.uid)) == "more":
        left.append((scene.redis.zcard(queue), scene.redis.zcard(jobs)))
    assert answer == "gone"
    assert left == [(4, 8), (1, 8), (0, 5), (0, 2)]


def test_slots_are_looked_at_in_bounded_steps(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployments, "SHRINK_LIMIT", 3)
    scene = Scene(ledger, cap=9)
    grip = scene.started("a")
    for n in range(8):
        scene.submit(f"j{n}")
    ledger.deployments.terminate("dep")
    assert ledger.deployments.shrink(scene.uid) == "more"
    assert 6 <= len(scene.slots()) <= 7
    while ledger.deployments.shrink(scene.uid) != "busy" or len(scene.slots()) > 1:
        pass
    assert scene.job("a").cancel is Reason.DEPLOYMENT_DELETED
    ledger.attempts.finish(grip, State.CANCELLED, Reason.DEPLOYMENT_DELETED, "ended", {})
    ledger.attempts.release(grip)
    assert _shrink(scene) == "gone"


def test_only_what_is_being_deleted_shrinks(scene: Scene) -> None:
    scene.submit("a")
    assert scene.ledger.deployments.shrink(scene.uid) == "busy"
    assert scene.state("a") is State.DISPATCHED
    assert scene.ledger.deployments.shrink("nobody") == "gone"


def test_a_deletion_that_is_repeated_hits_no_deployment_made_again(scene: Scene) -> None:
    """Each call twice, as after a timeout; between the two, the name came to mean another one."""
    scene.ledger.deployments.terminate("dep")
    assert _shrink(scene) == "gone"
    again = scene.ledger.deployments.create(spec(), "me")
    assert Verbs(scene.redis)("terminate_deployment", scene.uid) is None
    assert scene.ledger.deployments.get("dep") == again
    assert scene.ledger.deployments.shrink(scene.uid) == "gone"
    assert scene.ledger.deployments.get("dep").state == "running"


def test_who_comes_late_writes_nothing_for_a_deployment_that_is_gone(scene: Scene) -> None:
    grip = scene.started("a")
    scene.end(grip)
    scene.ledger.deployments.terminate("dep")
    assert _shrink(scene) == "gone"
    with pytest.raises(Stale):
        scene.ledger.attempts.release(grip)
    with pytest.raises(Stale):
        scene.finish(grip)
    with pytest.raises(NotFound):
        scene.cancel("a")
    scene.claim("a")
    scene.ledger.jobs.expire(scene.uid, "a")
    scene.ledger.jobs.admit(scene.uid)
    with pytest.raises(NotFound):
        scene.ledger.jobs.accept(
            scene.deployment, "b", submission(), scene.ledger.payloads.upload(b"head")
        )
    assert set(scene.redis.keys("*")) <= {b"onejob:nodes", b"onejob:counts"}


def test_a_name_is_taken_until_its_deployment_is_gone(scene: Scene) -> None:
    grip = scene.started("a")
    scene.ledger.deployments.terminate("dep")
    with pytest.raises(Conflict, match="exists already"):
        scene.ledger.deployments.create(spec(), "me")
    scene.end(grip)
    assert _shrink(scene) == "gone"
    again = scene.ledger.deployments.create(spec(), "me")
    assert again.uid != scene.uid
    with pytest.raises(NotFound):
        scene.ledger.jobs.get(again.uid, "a")


def test_other_deployments_are_left_alone(scene: Scene) -> None:
    other = Scene(scene.ledger, "other", cap=1)
    for name in "ab":
        scene.submit(name)
        other.submit(name)
    before = [other.raw(name) for name in "ab"]
    scene.ledger.deployments.terminate("dep")
    assert _shrink(scene) == "gone"
    assert [other.raw(name) for name in "ab"] == before
    check_places(other)
