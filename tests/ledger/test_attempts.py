"""From a claim to the end: advance, finish once, release, requeue."""

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Stale
from tests.ledger.scene import NODE, Scene, check_places, ids

STARTED = {"started_at": "1700000000.500000", "deadline_at": "1700000060.500000", "replica": "r1"}


def test_an_attempt_moves_on_with_its_fields(scene: Scene) -> None:
    grip = scene.started("a")
    advance = scene.ledger.attempts.advance
    before, _ = scene.redis.time()
    advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    after, _ = scene.redis.time()
    job = scene.job("a")
    assert job.deadline_at is not None
    assert (job.replica, job.deadline_at.timestamp()) == ("r1", 1700000060.5)
    ends = scene.redis.zscore("onejob:due:deadlines", scene.ref("a"))
    assert before <= ends - 60 <= after + 1  # by Redis's clock, whatever the worker's says
    scene.run(grip)
    assert scene.state("a") is State.RUNNING
    assert scene.events("a")[-2:] == ["started", "sent"]
    check_places(scene)


def test_a_step_that_is_repeated_is_done_and_noted_once(scene: Scene) -> None:
    grip = scene.started("a")
    advance = scene.ledger.attempts.advance
    for _ in range(2):
        advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    for _ in range(2):
        scene.run(grip)
    assert scene.events("a") == ["queued", "dispatched", "starting", "started", "sent"]


def test_a_step_from_another_state_is_stale(scene: Scene) -> None:
    grip = scene.started("a")
    scene.run(grip)
    with pytest.raises(Stale):
        scene.ledger.attempts.advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    with pytest.raises(Stale):
        scene.ledger.attempts.advance(
            grip, State.STARTING, State.RUNNING, "sent", {"sent_at": "1.0"}
        )


def test_confirm_says_whether_state_and_grip_hold_and_brings_the_cancel(scene: Scene) -> None:
    grip = scene.started("a")
    confirm = scene.ledger.attempts.confirm
    assert confirm(grip, State.STARTING) is None
    with pytest.raises(Stale):
        confirm(grip, State.RUNNING)
    scene.cancel("a")
    assert confirm(grip, State.STARTING) is Reason.CANCELLED


@pytest.mark.parametrize("running", [False, True])
def test_an_end_is_recorded_with_all_its_facts(scene: Scene, running: bool) -> None:
    grip = scene.started("a")
    scene.ledger.attempts.advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    if running:
        scene.run(grip)
    scene.ledger.attempts.finish(
        grip, State.FAILED, Reason.OOM_KILLED, "out of memory", {"exit_code": 137, "oom_killed": 1}
    )
    job = scene.job("a")
    assert (job.state, job.reason, job.detail) == ("failed", "oom_killed", "out of memory")
    assert (job.exit_code, job.oom_killed, job.teardown) == (137, True, NODE)
    assert job.finished_at is not None
    assert job.result_expires_at is not None
    assert (job.result_expires_at - job.finished_at).total_seconds() == 7 * 86400
    assert scene.events("a")[-1] == "failed"
    check_places(scene)


def test_a_slot_stays_taken_until_the_release_and_then_goes_to_the_next(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    scene.finish(grip)
    assert scene.slots() == {"a"}
    assert scene.state("b") is State.QUEUED
    assert ids(scene.ledger.attempts.release(grip)) == ["b"]
    assert scene.slots() == {"b"}
    assert scene.job("a").teardown is None
    assert scene.events("a")[-1] == "released"
    check_places(scene)


@pytest.mark.parametrize("released", [False, True])
def test_a_final_state_is_never_left(scene: Scene, released: bool) -> None:
    grip, attempts = scene.started("a"), scene.ledger.attempts
    scene.finish(grip)
    if released:
        attempts.release(grip)
    scene.outlive_ttl("a")
    before, events = scene.raw("a"), scene.events("a")
    scene.finish(grip)  # the same again is a repeat
    with pytest.raises(Stale):
        attempts.finish(grip, State.FAILED, Reason.SIGNALLED, "late", {})
    with pytest.raises(Stale):
        attempts.finish(grip, State.SUCCEEDED, Reason.EXIT_NONZERO, "late", {})
    with pytest.raises(Stale):
        scene.run(grip)
    with pytest.raises(Stale):
        scene.requeue(grip)
    scene.cancel("a")
    scene.ledger.jobs.expire(scene.uid, "a")
    scene.ledger.jobs.expire_due()
    scene.ledger.jobs.admit(scene.uid)
    assert (scene.raw("a"), scene.events("a")) == (before, events)
    check_places(scene)


def test_a_release_that_is_repeated_is_done_once(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    scene.submit("c")
    scene.finish(grip)
    assert ids(scene.ledger.attempts.release(grip)) == ["b"]
    assert scene.ledger.attempts.release(grip) == []
    assert scene.slots() == {"b"}
    assert scene.events("a").count("released") == 1


def test_nothing_that_is_not_over_is_released(scene: Scene) -> None:
    grip = scene.started("a")
    with pytest.raises(Stale):
        scene.ledger.attempts.release(grip)
    scene.run(grip)
    with pytest.raises(Stale):
        scene.ledger.attempts.release(grip)
    assert scene.slots() == {"a"}


def test_an_attempt_that_never_sent_its_request_is_followed_by_the_next_from_the_front(
    ledger: Ledger,
) -> None:
    scene = Scene(ledger, cap=2)
    grip = scene.started("a")
    scene.submit("b")
    scene.submit("c")
    ledger.attempts.advance(grip, State.STARTING, State.STARTING, "started", STARTED)
    scene.change(max_replica_count=1)
    assert scene.requeue(grip) == []
    job = scene.job("a")
    assert (job.state, job.attempt, job.fence) == (State.QUEUED, 2, 0)
    assert (job.node, job.replica, job.started_at, job.deadline_at) == (None, None, None, None)
    assert ledger.jobs.view(scene.uid, "a").position == 1
    check_places(scene)
    assert ids(scene.end(scene.grip("b"))) == ["a"]
    assert scene.grip("a").attempt == 2


def test_a_requeued_job_that_finds_its_slot_free_takes_it_again(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    assert ids(scene.requeue(grip)) == ["a"]
    assert scene.state("a") is State.DISPATCHED
    assert scene.events("a")[-2:] == ["queued", "dispatched"]
    check_places(scene)


def test_a_requeued_job_has_its_whole_ttl_again(scene: Scene) -> None:
    grip = scene.started("a")
    scene.outlive_ttl("a")
    before, _ = scene.redis.time()
    assert ids(scene.requeue(grip)) == ["a"]
    after, _ = scene.redis.time()
    assert before <= scene.job("a").expires_at.timestamp() - 600 <= after + 1


def test_a_requeue_that_is_repeated_makes_one_attempt(scene: Scene) -> None:
    grip = scene.started("a")
    scene.requeue(grip)
    assert scene.ledger.attempts.requeue(grip) == []
    assert scene.job("a").attempt == 2
    assert scene.events("a").count("queued") == 2


def test_only_an_attempt_that_was_given_up_is_followed_by_another(scene: Scene) -> None:
    grip = scene.started("a")
    for advance in (lambda: None, lambda: scene.run(grip)):
        advance()
        with pytest.raises(Stale):
            scene.ledger.attempts.requeue(grip)
    assert scene.state("a") is State.RUNNING


def test_an_attempt_that_was_given_up_keeps_its_slot_until_its_container_is_gone(
    scene: Scene,
) -> None:
    grip = scene.started("a")
    scene.submit("b")
    for _ in range(2):
        scene.ledger.attempts.abandon(grip, Reason.ENGINE_LOST, "no container")
    assert (scene.state("a"), scene.slots()) == (State.STARTING, {"a"})
    assert scene.job("a").abandoned is Reason.ENGINE_LOST
    assert scene.events("a").count("abandoned") == 1
    check_places(scene)
    scene.lapse("a")
    second = scene.grip("a")  # its worker died: the next one knows
    assert ids(scene.ledger.attempts.requeue(second)) == ["a"]
    assert (scene.job("a").abandoned, scene.job("a").attempt) == (None, 2)
    check_places(scene)


def test_each_earlier_attempt_keeps_its_own_reason(scene: Scene) -> None:
    first = scene.started("a")
    scene.ledger.attempts.advance(first, State.STARTING, State.STARTING, "started", STARTED)
    scene.run(first)
    scene.ledger.attempts.abandon(first, Reason.OOM_KILLED, "out of memory")
    scene.ledger.attempts.requeue(first)
    second = scene.grip("a")
    scene.ledger.attempts.abandon(second, Reason.ENGINE_LOST, "no container")
    scene.ledger.attempts.requeue(second)
    earlier = scene.ledger.jobs.view(scene.uid, "a").earlier
    assert [(e.attempt, e.node, e.reason, e.detail) for e in earlier] == [
        (1, NODE, Reason.OOM_KILLED, "out of memory"),
        (2, NODE, Reason.ENGINE_LOST, "no container"),
    ]
    assert earlier[0].started_at is not None
    assert earlier[0].sent_at is not None
    assert earlier[1].sent_at is None
    scene.end(scene.grip("a"))
    assert scene.job("a").attempt == 3


def test_an_attempt_that_does_not_count_is_made_again_under_its_number(scene: Scene) -> None:
    grip = scene.started("a")
    scene.outlive_ttl("a")
    before = scene.job("a")
    scene.redis.hset(f"onejob:job:{scene.uid}:a", "expires_at", f"{2e9:.6f}")
    assert ids(scene.requeue(grip, counts=False)) == ["a"]
    again = scene.grip("a")
    assert (again.attempt, again.fence) == (1, grip.fence + 1)
    assert scene.job("a").expires_at.timestamp() == 2e9  # no new TTL either
    assert scene.job("a").created_at == before.created_at
    with pytest.raises(Stale):
        scene.run(grip)
    check_places(scene)


def test_a_job_whose_cancel_was_asked_for_is_not_queued_again(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    scene.cancel("a")
    assert ids(scene.requeue(grip)) == ["b"]
    job = scene.job("a")
    assert (job.state, job.reason, job.cancel) == ("cancelled", "cancelled", None)
    assert scene.ledger.attempts.requeue(grip) == []
    check_places(scene)


def test_attempts_that_do_not_count_are_kept_up_to_a_bound(scene: Scene) -> None:
    scene.submit("a")
    for _ in range(120):
        scene.requeue(scene.grip("a"), counts=False)
    view = scene.ledger.jobs.view(scene.uid, "a")
    assert len(view.earlier) == 100
    assert len(view.timeline) <= 505
    assert view.timeline[-1].event == "dispatched"
    scene.end(scene.grip("a"))
