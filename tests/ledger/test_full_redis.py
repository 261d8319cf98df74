"""A Redis over its memory limit: it takes no new work, and what it took still comes to its end."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Grip
from tests.ledger.scene import LEASE, NODE, Scene, check_places, ids


@contextmanager
def _full(client: redis.Redis) -> Iterator[None]:
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            client.set("more", "x")
        yield
    finally:
        client.config_set("maxmemory", "0")


def test_nothing_of_a_new_job_is_taken(scene: Scene) -> None:
    with _full(scene.redis), pytest.raises(redis.ResponseError, match="maxmemory"):
        scene.submit("a", b"body")
    assert scene.redis.keys("onejob:job:*") == []
    assert scene.redis.keys("onejob:payload:*") == []
    assert scene.redis.hget(f"onejob:deployment:{scene.uid}", "seq") == b"0"


def test_accepted_work_comes_to_its_end(ledger: Ledger) -> None:
    scene, attempts = Scene(ledger, cap=3), ledger.attempts
    done, again, cancelled = (scene.started(name) for name in ("done", "again", "cancelled"))
    for name in ("next", "late", "unwanted"):
        scene.submit(name)
    scene.outlive_ttl("late")
    scene.lapse("done")
    with _full(scene.redis):
        done = scene.grip("done")
        assert attempts.renew(NODE, LEASE, [again]) == ["held"]
        scene.run(done)
        scene.finish(done)
        assert ids(attempts.release(done)) == ["next"]
        assert Grip.of(scene.claim("next").job).id == "next"  # type: ignore[arg-type]
        assert ids(scene.requeue(again)) == ["again"]
        scene.cancel("cancelled")
        attempts.let_go(cancelled, NODE)
        scene.cancel("unwanted")
        ledger.jobs.expire_due()
        attempts.finish(cancelled, State.CANCELLED, Reason.CANCELLED, "ended", {})
        check_places(scene)
    states = {name: scene.state(name) for name in ("done", "cancelled", "unwanted", "late")}
    assert set(states.values()) == {"succeeded", "cancelled", "expired"}
    assert states["unwanted"] is State.CANCELLED


def test_a_deployment_can_be_deleted(scene: Scene) -> None:
    for name in "abc":
        scene.submit(name)
    with _full(scene.redis):
        scene.ledger.deployments.terminate("dep")
        assert scene.ledger.deployments.shrink(scene.uid) == "gone"
    assert scene.redis.keys("*") == [b"onejob:counts"]
