"""Who writes for an attempt at the same instant, a thousand times: exactly one gets through."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Grip, Stale
from tests.ledger.scene import LEASE, NODE, PAST, Scene, check_places
from tests.redis_server import RedisServer

ROUNDS = 1000
Runner = Callable[[Ledger, int], object]


def race(server: RedisServer, *runners: Runner) -> list[list[object]]:
    """What each runner came to, round by round; all begin a round together, on own connections."""
    barrier = threading.Barrier(len(runners), timeout=60)

    def run(runner: Runner) -> list[object]:
        ledger, told = Ledger(server.connect()), list[object]()
        try:
            for number in range(ROUNDS):
                barrier.wait()
                told.append(runner(ledger, number))
        except BaseException:
            barrier.abort()
            raise
        finally:
            ledger.client.close()
        return told

    with ThreadPoolExecutor(len(runners)) as pool:
        return list(pool.map(run, runners))


def by_round(told: list[list[object]]) -> list[tuple[object, ...]]:
    return list(zip(*told, strict=True))


def lapse_all(scene: Scene) -> None:
    leases = {scene.ref(f"j{n}"): PAST for n in range(ROUNDS)}
    scene.redis.zadd(f"onejob:node:{NODE}:leases", leases, xx=True)


def took(scene: Scene) -> Runner:
    """Whether a worker of the node got the attempt."""

    def take(ledger: Ledger, number: int) -> object:
        job = ledger.attempts.claim(scene.uid, f"j{number}", NODE, LEASE).job
        return job and job.fence

    return take


def ended(grips: list[Grip], state: State, reason: Reason) -> Runner:
    """What became of a worker's word on the end."""

    def finish(ledger: Ledger, number: int) -> object:
        try:
            ledger.attempts.finish(grips[number], state, reason, "ended", {})
        except Stale:
            return "stale"
        return "done"

    return finish


@pytest.fixture
def many(ledger: Ledger) -> Scene:
    """A thousand dispatched jobs."""
    scene = Scene(ledger, cap=ROUNDS)
    for n in range(ROUNDS):
        scene.submit(f"j{n}", b"")
    return scene


def claimed(scene: Scene) -> list[Grip]:
    return [scene.grip(f"j{n}") for n in range(ROUNDS)]


def test_of_three_workers_of_a_node_exactly_one_claims_each_job(
    many: Scene, redis_server: RedisServer
) -> None:
    told = race(redis_server, took(many), took(many), took(many))
    for fences in by_round(told):
        assert sorted(fences, key=str) == [1, None, None]
    assert all(1 in fences for fences in told), "no race took place"
    check_places(many)


def test_of_three_workers_exactly_one_takes_a_lapsed_attempt_over_with_the_next_fence(
    many: Scene, redis_server: RedisServer
) -> None:
    claimed(many)
    lapse_all(many)
    told = race(redis_server, took(many), took(many), took(many))
    for fences in by_round(told):
        assert sorted(fences, key=str) == [2, None, None]
    assert all(2 in fences for fences in told), "no race took place"
    assert {many.job(f"j{n}").fence for n in range(ROUNDS)} == {2}
    check_places(many)


def test_of_two_ends_one_is_done_and_who_was_replaced_ends_nothing(
    many: Scene, redis_server: RedisServer
) -> None:
    """The last two have the same grip, as a worker and a repeat of its call that comes late."""
    replaced = claimed(many)
    lapse_all(many)
    holder = claimed(many)
    told = race(
        redis_server,
        ended(replaced, State.FAILED, Reason.SIGNALLED),
        ended(holder, State.SUCCEEDED, Reason.EXIT_0),
        ended(holder, State.TIMED_OUT, Reason.DEADLINE),
    )
    for n, (late, succeeded, timed_out) in enumerate(by_round(told)):
        assert (late, {succeeded, timed_out}) == ("stale", {"done", "stale"})
        state = State.SUCCEEDED if succeeded == "done" else State.TIMED_OUT
        assert many.state(f"j{n}") is state
        assert many.events(f"j{n}")[-1] == state
    assert all("done" in verdicts for verdicts in told[1:]), "no race took place"
    check_places(many)


def test_of_a_claim_and_a_cancel_both_know_of_the_other(
    many: Scene, redis_server: RedisServer
) -> None:
    def cancel(ledger: Ledger, number: int) -> object:
        return ledger.jobs.cancel(many.uid, f"j{number}", Reason.CANCELLED, "on request")

    fences, _ = race(redis_server, took(many), cancel)
    for n, fence in enumerate(fences):
        job = many.job(f"j{n}")
        if fence is None:
            assert (job.state, job.node) == (State.CANCELLED, None)
        else:
            assert (job.state, job.cancel) == (State.STARTING, Reason.CANCELLED)
    check_places(many)
