"""Claiming: once, by one, and only what may still start."""

import threading

import pytest
import redis

from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Claimed
from app.ledger.verbs import Verbs
from tests.ledger.scene import LEASE, NODE, Scene, check_places, ids, offer_of
from tests.redis_server import RedisServer


def test_a_claim_gives_the_job_to_the_node(scene: Scene) -> None:
    scene.submit("a")
    claimed = scene.claim("a")
    assert claimed.hints == []
    assert claimed.job == scene.job("a")
    assert claimed.job is not None
    assert (claimed.job.state, claimed.job.node) == (State.STARTING, NODE)
    assert (claimed.job.attempt, claimed.job.fence) == (1, 1)
    assert claimed.job.claimed_at is not None
    assert scene.events("a") == ["queued", "dispatched", "starting"]
    check_places(scene)


def test_a_job_is_claimed_once(scene: Scene) -> None:
    scene.started("a")
    assert scene.claim("a") == Claimed(None, [])
    assert scene.claim("a", "node2") == Claimed(None, [])
    assert scene.job("a").fence == 1


@pytest.mark.parametrize("ended", [False, True])
def test_there_is_nothing_to_claim_in_a_waiting_or_an_ended_job(scene: Scene, ended: bool) -> None:
    scene.submit("a")
    scene.submit("b")
    if ended:
        scene.cancel("b")
    before = scene.raw("b")
    assert scene.claim("b") == Claimed(None, [])
    assert scene.raw("b") == before
    assert scene.claim("nobody") == Claimed(None, [])
    check_places(scene)


def test_the_same_call_twice_is_answered_alike(scene: Scene) -> None:
    scene.submit("a")
    verbs = Verbs(scene.redis)
    args = ("claim", scene.uid, "a", NODE, LEASE, "token")
    first, second = verbs(*args), verbs(*args)
    assert first[0] == second[0] == b"claimed"
    assert first == second
    assert scene.events("a").count("starting") == 1
    assert verbs(*args[:-1], "another token")[0] == b"not_dispatched"


def test_a_paused_deployment_starts_nothing_and_keeps_the_order(scene: Scene) -> None:
    scene.submit("a")
    scene.submit("b")
    scene.change(state="paused")
    assert scene.claim("a") == Claimed(None, [])
    assert scene.state("a") is State.QUEUED
    assert scene.ledger.jobs.view(scene.uid, "a").position == 1
    check_places(scene)
    scene.change(state="running")
    assert ids(scene.ledger.jobs.admit(scene.uid)) == ["a"]
    assert scene.grip("a").attempt == 1


def test_a_job_whose_compute_changed_goes_to_where_it_can_run(scene: Scene) -> None:
    scene.submit("a")
    scene.submit("b")
    scene.change(compute="gpu", version=2)
    claimed = scene.claim("a")
    assert claimed.job is None
    assert [(hint.id, hint.compute) for hint in claimed.hints] == [("a", "gpu")]
    assert (scene.job("a").compute, scene.job("a").version) == ("gpu", 2)
    check_places(scene)


def test_a_message_that_is_too_old_gives_no_job_to_a_node_without_its_compute(
    scene: Scene,
) -> None:
    scene.submit("a")
    scene.change(compute="gpu", version=2)
    scene.claim("a")
    assert scene.claim("a", "cpu-node", offer_of("cpu", "small")).job is None
    assert scene.state("a") is State.DISPATCHED
    assert scene.claim("a", "gpu-node", offer_of("cpu", "gpu")).job is not None
    check_places(scene)


def test_a_job_past_its_ttl_expires_at_the_claim(scene: Scene) -> None:
    scene.submit("a")
    scene.submit("b")
    scene.outlive_ttl("a")
    claimed = scene.claim("a")
    assert claimed.job is None
    assert ids(claimed.hints) == ["b"]
    assert (scene.state("a"), scene.job("a").reason) == (State.EXPIRED, Reason.QUEUE_TTL)
    check_places(scene)


def test_a_job_of_a_deployment_that_is_being_deleted_is_cancelled_at_the_claim(
    scene: Scene,
) -> None:
    scene.submit("a")
    scene.submit("b")
    scene.ledger.deployments.terminate("dep")
    assert scene.claim("a") == Claimed(None, [])
    assert scene.state("a") is State.CANCELLED
    assert scene.job("a").reason is Reason.DEPLOYMENT_DELETED
    assert scene.state("b") is State.QUEUED
    check_places(scene)


def test_nothing_starts_above_a_cap_that_was_lowered(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=4)
    running = scene.started("running")
    for name in "abc":
        scene.submit(name)
    scene.change(max_replica_count=2)
    assert [scene.claim(name).job is not None for name in "abc"] == [False, False, True]
    assert [scene.ledger.jobs.view(scene.uid, name).position for name in "ab"] == [1, 2]
    check_places(scene)
    assert ids(scene.end(running)) == ["a"]


def test_the_version_is_fixed_when_the_job_gets_its_slot(scene: Scene) -> None:
    grip = scene.started("a")
    scene.submit("b")
    assert scene.job("b").version == 1
    scene.change(version=2)
    scene.end(grip)
    assert scene.job("a").version == 1
    assert scene.job("b").version == 2
    scene.change(version=3)
    scene.grip("b")
    assert scene.job("b").version == 2


def test_the_grip_of_a_claim_is_the_one_it_made_however_late_its_answer_is_read(
    redis_server: RedisServer, ledger: Ledger
) -> None:
    """A worker that is stopped right after the script must not see its successor's fence."""
    scene = Scene(ledger)
    scene.submit("a")

    class Stopped(redis.Redis):
        def execute_command(self, *args: object, **options: object) -> object:
            answer = super().execute_command(*args, **options)
            if scene.state("a") is State.STARTING and scene.job("a").fence == 1:
                scene.lapse("a")
                assert scene.grip("a").fence == 2
            return answer

    sleeper = Ledger(Stopped(port=redis_server.port))
    claimed = sleeper.attempts.claim(scene.uid, "a", NODE, LEASE)
    assert scene.job("a").fence == 2
    assert claimed.job is not None
    assert claimed.job.fence == 1


def test_of_two_claimers_exactly_one_wins_each_of_a_thousand_times(
    redis_server: RedisServer, ledger: Ledger
) -> None:
    count = 1000
    scene = Scene(ledger, cap=count)
    for n in range(count):
        scene.submit(f"j{n}", b"")
    barrier = threading.Barrier(2, timeout=60)
    wins: dict[str, list[str]] = {"node1": [], "node2": []}

    def race(node: str) -> None:
        mine = Ledger(redis_server.connect())
        for n in range(count):
            barrier.wait()
            if mine.attempts.claim(scene.uid, f"j{n}", node, LEASE).job:
                wins[node].append(f"j{n}")

    threads = [threading.Thread(target=race, args=(node,)) for node in wins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins["node1"] + wins["node2"]) == sorted(f"j{n}" for n in range(count))
    for node, names in wins.items():
        assert {scene.job(name).node for name in names} == {node}
    assert min(map(len, wins.values())) > 0, "no race took place"
    check_places(scene)
