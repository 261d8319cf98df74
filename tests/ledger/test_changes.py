"""A deployment is changed: what runs keeps what it has, what comes next gets the new spec."""

import threading
from typing import Any

import pytest
import redis

from app.domain.errors import Conflict, NotFound
from app.domain.job import Hint, State
from app.ledger import Ledger, deployments
from app.ledger.deployments import Overtaken
from app.ledger.guesses import Outdated
from tests.ledger.scene import NODE, PAST, Scene, check_places, ids, spec, submission
from tests.redis_server import RedisServer

RETRIED = {"max_attempts": 2, "on": ["node_lost"]}


def test_a_changed_deployment_is_another_version_of_itself(scene: Scene) -> None:
    before = scene.deployment
    assert scene.patch(ttl=7) == []
    after = scene.ledger.deployments.get("dep")
    assert after == scene.deployment
    assert (after.uid, after.created_at, after.version) == (before.uid, before.created_at, 2)
    assert after.spec == spec(ttl=7)


def test_the_same_spec_is_no_change(scene: Scene) -> None:
    before = scene.ledger.deployments.get("dep")
    assert scene.patch() == []
    assert scene.ledger.deployments.get("dep") == before


def test_the_instant_of_a_new_image_is_kept(scene: Scene) -> None:
    scene.patch(ttl=7)
    assert scene.deployment.image_updated_at is None
    scene.patch(containers=[{"image": "example/app:2", "exposed_port": 8080}])
    changed_at = scene.deployment.image_updated_at
    assert changed_at is not None
    assert changed_at > scene.deployment.created_at
    scene.patch(containers=[{"image": "example/app:2", "exposed_port": 8080}], ttl=8)
    assert scene.deployment.image_updated_at == changed_at


def test_who_changes_what_another_has_changed_is_overtaken(scene: Scene) -> None:
    base = scene.deployment
    scene.patch(ttl=7)
    with pytest.raises(Overtaken):
        scene.ledger.deployments.change(base, spec(ttl=8))
    assert scene.ledger.deployments.get("dep").spec == spec(ttl=7)


def test_of_changes_at_once_none_is_lost(scene: Scene, redis_server: RedisServer) -> None:
    """Each adds one to the cap, and tries again when it was overtaken."""

    def raise_cap() -> None:
        client = redis.Redis(port=redis_server.port)
        other = Ledger(client).deployments
        while True:
            base = other.get("dep")
            try:
                other.change(base, spec(cap=base.spec.scaling.max_replica_count + 1))
                break
            except Overtaken:
                continue
        client.close()

    threads = [threading.Thread(target=raise_cap) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = scene.ledger.deployments.get("dep")
    assert (record.version, record.spec.scaling.max_replica_count) == (9, 9)
    assert scene.versions() == {9}


def test_a_change_is_repeated_by_a_stuttering_client_without_harm(stuttering: Ledger) -> None:
    scene = Scene(stuttering)
    scene.submit("a")
    scene.submit("b")
    scene.patch(cap=2)
    assert scene.deployment.version == 2
    assert scene.slots() == {"a", "b"}
    check_places(scene)


def test_what_is_being_deleted_or_gone_is_not_changed(scene: Scene) -> None:
    scene.ledger.deployments.terminate("dep")
    for cap in (1, 2):
        with pytest.raises(Conflict, match="being deleted"):
            scene.patch(cap=cap)
    base = scene.ledger.deployments.get("dep")
    scene.ledger.deployments.shrink(scene.uid)
    with pytest.raises(NotFound):
        scene.ledger.deployments.change(base, spec(cap=2))
    assert not scene.redis.keys(f"*{scene.uid}*")


def test_a_raised_cap_lets_in_at_once_what_waits(scene: Scene) -> None:
    for name in "abcd":
        scene.submit(name)
    assert ids(scene.patch(cap=3)) == ["b", "c"]
    assert scene.slots() == {"a", "b", "c"}
    assert [scene.job(name).version for name in "abc"] == [1, 2, 2]
    check_places(scene)


def test_after_the_cap_was_lowered_nothing_starts_until_fewer_run(scene: Scene) -> None:
    scene.patch(cap=2)
    grips = [scene.started(name) for name in "ab"]
    scene.submit("c")
    assert scene.patch(cap=1) == []
    assert scene.end(grips[0]) == []
    assert ids(scene.end(grips[1])) == ["c"]
    assert scene.job("c").version == 3


def test_a_paused_deployment_is_changed_and_starts_nothing(scene: Scene) -> None:
    scene.ledger.deployments.pause(scene.uid)
    scene.submit("a")
    assert scene.patch(compute="gpu") == []
    assert scene.ledger.deployments.get("dep").state == "paused"
    assert [hint.compute for hint in scene.ledger.deployments.resume(scene.uid)] == ["gpu"]


# -- what a job gets ---------------------------------------------------------------------------


def test_what_runs_keeps_its_spec_and_the_next_one_gets_the_new(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    scene.patch(deadline=9)
    assert scene.ledger.deployments.spec(scene.uid, scene.job("a").version) == spec()
    scene.end(grip)
    scene.grip("b")
    assert scene.ledger.deployments.spec(scene.uid, scene.job("b").version) == spec(deadline=9)


@pytest.mark.parametrize(
    "change",
    [
        {"compute": "gpu"},
        {"size": 2},
        {"deadline": 9},
        {"startup_seconds": 5},
        {"containers": [{"image": "example/app:2", "exposed_port": 8080}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_claimed_yet_gets_the_new_spec(scene: Scene, change: dict[str, Any]) -> None:
    """Also where no machine is left that could claim it."""
    scene.submit("a")
    scene.submit("b")
    hints = scene.patch(**change)
    assert [(hint.id, hint.compute) for hint in hints] == [("a", change.get("compute", "cpu"))]
    job = scene.job("a")
    assert (job.state, job.version) == (State.DISPATCHED, 2)
    assert scene.versions() == {2}
    assert scene.raw("a")[b"size"] == b"%d" % change.get("size", 1)
    check_places(scene)


@pytest.mark.parametrize("change", [{"cap": 2}, {"ttl": 7}], ids=str)
def test_what_is_not_claimed_yet_keeps_its_turn_when_only_the_scale_changes(
    scene: Scene, change: dict[str, int]
) -> None:
    scene.submit("a")
    before = scene.job("a")
    assert scene.patch(**change) == []
    assert scene.job("a") == before
    assert scene.grip("a").fence == 1


@pytest.mark.parametrize("change", [{"compute": "gpu"}, {"deadline": 9}], ids=str)
def test_many_that_are_not_claimed_go_back_in_bounded_steps(
    ledger: Ledger, change: dict[str, Any]
) -> None:
    scene = Scene(ledger, cap=250)
    for n in range(230):
        scene.submit(f"j{n:03}")
    assert scene.patch(cap=250, **change) == []
    # Nor are those claimed that have not gone back yet.
    assert scene.job("j229").version == 1
    assert scene.claim("j229").job is None
    more, hints = True, list[Hint]()
    while more:
        more, admitted = ledger.jobs.expire_due()
        hints += admitted
    assert {hint.compute for hint in hints} == {change.get("compute", "cpu")}
    assert len(scene.slots()) == 230
    assert {scene.job(name).version for name in scene.slots()} == {2}
    assert scene.versions() == {2}
    check_places(scene)


def test_a_job_accepted_afterwards_waits_as_long_as_it_may_now(scene: Scene) -> None:
    scene.submit("a")
    scene.patch(ttl=7)
    scene.submit("b")
    waits = [(job.expires_at - job.created_at).total_seconds() for job in map(scene.job, "ab")]
    assert waits == [600, 7]


def test_a_guess_from_before_a_change_is_outdated(scene: Scene) -> None:
    _, key = scene.ledger.keys.create("ci")
    scene.ledger.keys.access("dep", key)
    guess = scene.ledger.keys.guess("dep", key)
    assert guess is not None
    scene.patch(ttl=7)
    upload = scene.ledger.payloads.upload(b"head")
    with pytest.raises(Outdated):
        scene.ledger.jobs.accept(guess.deployment, "a", submission(), upload, guess)


# -- earlier versions --------------------------------------------------------------------------


def test_a_version_goes_with_the_last_job_that_has_it(scene: Scene) -> None:
    scene.patch(cap=3)
    grips = {name: scene.started(name) for name in "ab"}
    scene.patch(cap=3, deadline=5)
    grips["c"] = scene.started("c")
    scene.patch(cap=3, deadline=6)
    assert scene.versions() == {2, 3, 4}
    scene.end(grips["a"])
    scene.end(grips["c"])
    assert scene.versions() == {2, 4}
    scene.finish(grips["b"])
    assert scene.versions() == {2, 4}  # its container is still there
    scene.ledger.attempts.release(grips["b"])
    assert scene.versions() == {4}


@pytest.mark.parametrize("how", ["cancel", "expire", "purge"])
def test_a_version_goes_with_a_job_that_never_started(scene: Scene, how: str) -> None:
    scene.submit("a")
    scene.patch(ttl=7)
    assert scene.versions() == {1, 2}
    if how == "cancel":
        scene.cancel("a")
    elif how == "expire":
        scene.outlive_ttl("a")
        scene.ledger.jobs.expire_due()
    else:
        scene.ledger.jobs.purge(scene.uid)
    assert scene.versions() == {2}


def test_an_attempt_that_is_made_again_gets_the_new_spec(scene: Scene) -> None:
    grip = scene.started("a")
    scene.patch(deadline=5)
    scene.requeue(grip)
    assert scene.job("a").version == 2
    assert scene.versions() == {2}


@pytest.mark.parametrize("kept", [True, False])
def test_the_policy_of_a_lost_job_is_that_of_its_own_spec(ledger: Ledger, kept: bool) -> None:
    scene = Scene(ledger, retry_policy=RETRIED)
    scene.started("a")
    scene.patch()
    scene.redis.zadd("onejob:nodes", {NODE: PAST}, xx=True)
    ledger.nodes.lose(NODE, 60, 10, free_slots=not kept)
    assert scene.state("a") is (State.QUEUED if kept else State.DISPATCHED)
    assert scene.versions() == {2}
    check_places(scene)


def test_what_a_restored_ledger_has_forgotten_gets_a_version_that_is_kept(scene: Scene) -> None:
    scene.started("a")
    scene.submit("b")
    scene.patch(deadline=5)
    scene.cancel("a")
    scene.ledger.recovery.begin()
    recovery = scene.ledger.recovery
    recovery.report(NODE, recovery.identity(), [(scene.uid, "a", 1, ""), (scene.uid, "b", 1, "")])
    job = scene.job("b")
    assert (job.state, job.version) == (State.STARTING, 2)
    assert scene.ledger.deployments.spec(scene.uid, job.version) == spec(deadline=5)


def test_earlier_versions_are_bounded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments, "VERSIONS_LIMIT", 2)
    scene = Scene(ledger, cap=9)
    grips = []
    for n in range(3):
        grips.append(scene.started(f"j{n}"))
        if n < 2:
            scene.patch(cap=9, deadline=n + 1)
    with pytest.raises(Conflict, match="wait for some to end"):
        scene.patch(cap=9, deadline=5)
    scene.end(grips[0])
    scene.patch(cap=9, deadline=5)
    assert scene.versions() == {2, 3, 4}


def test_a_changed_deployment_is_deleted_without_a_trace(scene: Scene) -> None:
    grip = scene.started("a")
    scene.patch(deadline=5)
    scene.ledger.deployments.terminate("dep")
    assert scene.ledger.deployments.shrink(scene.uid) == "busy"
    scene.end(grip)
    assert scene.ledger.deployments.shrink(scene.uid) == "gone"
    assert not scene.redis.keys(f"*{scene.uid}*")
