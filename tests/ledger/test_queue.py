"""The queue of a deployment: order, position, TTL, and admission that goes on behind a bound."""

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.ledger.scene import Scene, check_places, ids


def test_jobs_start_in_the_order_in_which_they_came(scene: Scene) -> None:
    names = [f"j{n}" for n in range(20)]
    for name in names:
        scene.submit(name)
    order = []
    waiting = ["j0"]
    while waiting:
        order += waiting
        waiting = ids(scene.end(scene.grip(waiting[0])))
    assert order == names


def test_deployments_do_not_wait_for_each_other(scene: Scene) -> None:
    other = Scene(scene.ledger, "other")
    scene.submit("a")
    scene.submit("b")
    assert ids(other.submit("a").hints) == ["a"]
    scene.end(scene.grip("a"))
    assert scene.state("b") is State.DISPATCHED
    check_places(scene)


def test_the_position_counts_from_one_and_moves_up(scene: Scene) -> None:
    for name in "abcd":
        scene.submit(name)

    def positions() -> list[int | None]:
        return [scene.ledger.jobs.view(scene.uid, name).position for name in "abcd"]

    assert positions() == [None, 1, 2, 3]
    scene.cancel("b")
    assert positions() == [None, None, 1, 2]
    scene.end(scene.grip("a"))
    assert positions() == [None, None, None, 1]


def test_a_waiting_job_expires_when_its_ttl_ran_out(scene: Scene) -> None:
    for name in "abc":
        scene.submit(name)
    scene.outlive_ttl("b")
    assert scene.ledger.jobs.expire_due() == (False, [])
    job = scene.job("b")
    assert (job.state, job.reason) == (State.EXPIRED, Reason.QUEUE_TTL)
    assert job.finished_at is not None
    assert (scene.state("a"), scene.state("c")) == (State.DISPATCHED, State.QUEUED)
    check_places(scene)


def test_a_dispatched_job_that_expires_hands_its_slot_on(scene: Scene) -> None:
    for name in "ab":
        scene.submit(name)
    scene.outlive_ttl("a")
    _, hints = scene.ledger.jobs.expire_due()
    assert ids(hints) == ["b"]
    assert scene.state("a") is State.EXPIRED
    check_places(scene)


def test_a_claimed_job_does_not_expire(scene: Scene) -> None:
    scene.started("a")
    scene.outlive_ttl("a")
    scene.redis.zadd("onejob:due:ttl", {scene.ref("a"): 1})
    scene.ledger.jobs.expire_due()
    assert scene.state("a") is State.STARTING
    check_places(scene)


def test_one_named_job_expires_only_when_it_is_due(scene: Scene) -> None:
    for name in "abc":
        scene.submit(name)
    scene.ledger.jobs.expire(scene.uid, "a")
    assert scene.state("a") is State.DISPATCHED
    scene.outlive_ttl("a")
    scene.outlive_ttl("b")
    assert ids(scene.ledger.jobs.expire(scene.uid, "a")) == ["c"]
    assert [scene.state(name) for name in "abc"] == ["expired", "expired", "dispatched"]
    assert scene.ledger.jobs.expire(scene.uid, "nobody") == []


def test_expiry_goes_in_bounded_steps(scene: Scene) -> None:
    for n in range(6):
        scene.submit(f"j{n}")
        scene.outlive_ttl(f"j{n}")
    scene.change(state="paused")
    assert scene.ledger.jobs.expire_due(limit=4) == (True, [])
    assert scene.ledger.jobs.expire_due(limit=4) == (False, [])
    assert {scene.state(f"j{n}") for n in range(6)} == {State.EXPIRED}


def test_a_short_ttl_runs_out_by_redis_own_clock(ledger: Ledger) -> None:
    scene = Scene(ledger, ttl=1)
    scene.submit("a")
    while scene.state("a") is State.DISPATCHED:
        ledger.jobs.expire_due()
    job = scene.job("a")
    assert job.finished_at is not None
    late = (job.finished_at - job.created_at).total_seconds()
    assert 1 <= late < 60


def test_admission_drops_what_is_past_its_ttl(scene: Scene) -> None:
    for name in "abcd":
        scene.submit(name)
    scene.outlive_ttl("b")
    scene.outlive_ttl("c")
    assert ids(scene.end(scene.grip("a"))) == ["d"]
    assert (scene.state("b"), scene.state("c")) == (State.EXPIRED, State.EXPIRED)
    check_places(scene)


def test_a_job_behind_many_expired_ones_gets_the_free_slot_from_the_next_sweep(
    scene: Scene,
) -> None:
    grip = scene.started("first")
    for n in range(100):
        scene.submit(f"late{n}")
        scene.outlive_ttl(f"late{n}")
    scene.submit("good")
    assert scene.end(grip) == []  # bounded: it does not pay for all of them
    more, hints = scene.ledger.jobs.expire_due()
    assert ids(hints) == ["good"]
    assert not more
    check_places(scene)


def test_a_long_admission_goes_in_bounded_steps_until_all_slots_are_taken(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=1)
    for n in range(251):
        scene.submit(f"j{n}")
    scene.change(max_replica_count=240)
    first = ids(ledger.jobs.admit(scene.uid))
    assert first == [f"j{n}" for n in range(1, 101)]
    rest: list[str] = []
    more = True
    while more:
        more, hints = ledger.jobs.expire_due()
        rest += ids(hints)
    assert first + rest == [f"j{n}" for n in range(1, 240)]
    assert len(scene.slots()) == 240
    check_places(scene)


@pytest.mark.parametrize("gone", ["b", "c"])
def test_a_record_that_vanished_holds_up_nobody(scene: Scene, gone: str) -> None:
    for name in "abcd":
        scene.submit(name)
    scene.redis.delete(f"onejob:job:{scene.uid}:{gone}")
    for name in ("a", *sorted({"b", "c", "d"} - {gone})):
        scene.end(scene.grip(name))
    assert scene.state("d") is State.SUCCEEDED
    assert scene.raw(gone) == {}
