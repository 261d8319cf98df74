"""What is counted and measured: each thing once, whatever is repeated, and at a bounded cost."""

import re
from collections.abc import Callable

import pytest
import redis

from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Grip, Stale
from app.ledger.counts import HISTOGRAMS, observation
from app.ledger.metrics import DEPLOYMENTS_LIMIT, Counts, DeploymentMeasures, Measures
from app.ledger.nodes import Stray
from tests.ledger.scene import HINT_SECONDS, NODE, PAST, Scene
from tests.ledger.test_cost import CROWD, counted
from tests.ledger.test_lost_nodes import silent
from tests.redis_server import RedisServer


def measures(scene: Scene, late_seconds: float = 0) -> Measures:
    return scene.ledger.metrics.read(late_seconds)


def counts(scene: Scene) -> Counts:
    return measures(scene).counts


def observed(scene: Scene, histogram: str) -> tuple[int, float, float]:
    """How many values, their sum, and the lowest bound that none is above."""
    one = counts(scene).histogram(histogram)
    count = one.buckets[-1][1]
    return count, one.sum, next(bound for bound, below in one.buckets if below == count)


def began(scene: Scene, job_id: str, field: str, seconds_ago: float) -> float:
    """Moves an instant of a job's record into the past; returns it."""
    seconds, microseconds = scene.redis.time()
    at = seconds + microseconds / 1e6 - seconds_ago
    scene.redis.hset(f"onejob:job:{scene.uid}:{job_id}", field, f"{at:.6f}")
    return at


def sent(scene: Scene, grip: Grip, started: float, request_sent: float) -> None:
    """Tells when an attempt started, and when its app got the request."""
    advance = scene.ledger.attempts.advance
    life = {"started_at": f"{started:.6f}", "deadline_at": f"{started + 60:.6f}"}
    advance(grip, State.STARTING, State.STARTING, "started", life)
    fields = {"sent_at": f"{request_sent:.6f}"}
    advance(grip, State.STARTING, State.RUNNING, "sent", fields)


# -- counted once ------------------------------------------------------------------------------


@pytest.fixture(params=["once", "each script twice"])
def any_scene(request: pytest.FixtureRequest, ledger: Ledger) -> Scene:
    """A deployment that runs one job at once, behind a client that sends scripts once or twice."""
    if request.param == "once":
        return Scene(ledger)
    return Scene(request.getfixturevalue("stuttering"))


def test_a_job_is_counted_once_from_its_acceptance_to_its_end(any_scene: Scene) -> None:
    grip = any_scene.started("a")
    now = began(any_scene, "a", "created_at", 100)
    began(any_scene, "a", "claimed_at", 35)
    sent(any_scene, grip, started=now + 60, request_sent=now + 64)
    more = {"exited_at": f"{now + 70:.6f}", "response_size": 5000}
    any_scene.finish(grip, **more)
    any_scene.ledger.attempts.release(grip)
    gone = any_scene.redis.time()[0] + 1 - (now + 100)  # the seconds that this took

    def lasted(seconds: float) -> object:
        return pytest.approx(seconds + gone / 2, abs=gone / 2)

    known = counts(any_scene)
    assert known.counter("accepted") == 1
    assert known.labelled("ended") == {("succeeded", "exit_0"): 1}
    assert observed(any_scene, "queue")[0] == 1
    assert observed(any_scene, "prepare") == (1, lasted(35), 60)
    assert observed(any_scene, "healthy") == (1, pytest.approx(4), 5)
    assert observed(any_scene, "run") == (1, pytest.approx(6), 15)
    assert observed(any_scene, "job") == (1, lasted(100), 300)
    assert observed(any_scene, "result") == (1, 5000, 16_384)


def cancelled(scene: Scene) -> None:
    scene.submit("a")
    scene.cancel("a")


def purged(scene: Scene) -> None:
    scene.submit("a")
    scene.ledger.jobs.purge(scene.uid)


def expired(scene: Scene) -> None:
    scene.submit("a")
    scene.outlive_ttl("a")
    scene.ledger.jobs.expire_due()


def expired_at_the_claim(scene: Scene) -> None:
    scene.submit("a")
    scene.outlive_ttl("a")
    scene.claim("a")


def deleted(scene: Scene) -> None:
    scene.submit("a")
    scene.ledger.deployments.terminate("dep")
    while scene.ledger.deployments.shrink(scene.uid) == "more":
        pass


def lost(scene: Scene) -> None:
    scene.started("a")
    silent(scene)
    scene.ledger.nodes.lose(NODE, 60, 10, False)


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        (cancelled, "cancelled", "cancelled"),
        (purged, "cancelled", "purged"),
        (expired, "expired", "queue_ttl"),
        (expired_at_the_claim, "expired", "queue_ttl"),
        (deleted, "cancelled", "deployment_deleted"),
        (lost, "failed", "node_lost"),
    ],
)
def test_every_end_is_counted_once(
    any_scene: Scene, end: Callable[[Scene], None], state: str, reason: str
) -> None:
    end(any_scene)
    known = counts(any_scene)
    assert known.labelled("ended") == {(state, reason): 1}
    assert known.counter("accepted") == 1
    assert observed(any_scene, "job")[0] == 0, "its app never had the request"


def test_what_was_refused_is_not_counted(scene: Scene) -> None:
    scene.submit("a")
    scene.submit("a")  # a repeat of the client's: another payload, the same job
    grip = scene.grip("a")
    scene.finish(grip)
    with pytest.raises(Stale):
        scene.ledger.attempts.finish(grip, State.TIMED_OUT, Reason.DEADLINE, "late", {})
    assert counts(scene).counter("accepted") == 1
    assert counts(scene).labelled("ended") == {("succeeded", "exit_0"): 1}


def test_an_attempt_that_is_followed_by_another_is_counted_by_its_reason(any_scene: Scene) -> None:
    any_scene.requeue(any_scene.started("a"))
    any_scene.requeue(any_scene.grip("a"), counts=False)
    any_scene.grip("a")
    assert counts(any_scene).labelled("repeated") == {("engine_lost",): 2}
    assert observed(any_scene, "queue")[0] == 1, "only the first claim ends the time in the queue"


def test_what_the_sweep_does_is_counted(any_scene: Scene) -> None:
    for job_id in ("a", "b"):
        any_scene.submit(job_id)
    any_scene.redis.zadd("onejob:due:hints:cpu", {any_scene.ref("a"): PAST})
    any_scene.ledger.jobs.due_hints("cpu", "no-queue", HINT_SECONDS)
    any_scene.grip("a")
    silent(any_scene)
    any_scene.ledger.nodes.lose(NODE, 60, 10, False)
    any_scene.redis.zadd("onejob:due:strays", {f"{NODE}/{any_scene.ref('a')}#1": PAST})
    any_scene.ledger.nodes.free_strays()
    any_scene.redis.zadd("onejob:due:retention", {any_scene.ref("a"): PAST})
    any_scene.ledger.jobs.forget_due()
    assert counts(any_scene).labelled("swept") == {
        ("hint_repeated",): 1,
        ("attempt_lost",): 1,
        ("stray_freed",): 1,
        ("record_forgotten",): 1,
    }


def test_a_slot_that_a_machine_frees_when_it_is_back_is_counted_once(any_scene: Scene) -> None:
    any_scene.started("a")
    silent(any_scene)
    any_scene.ledger.nodes.lose(NODE, 60, 10, False)
    any_scene.ledger.nodes.drop_stray(NODE, Stray(any_scene.uid, "a", 1), "gone")
    assert counts(any_scene).labelled("swept")["stray_freed",] == 1


@pytest.mark.parametrize("seconds", [-1e9, 1e9], ids=["past", "future"])
def test_forged_instants_count_for_no_more_than_the_time_gone_by(
    scene: Scene, seconds: float
) -> None:
    grip = scene.started("a")
    now = began(scene, "a", "claimed_at", 2)
    began(scene, "a", "created_at", 3)
    sent(scene, grip, started=now, request_sent=now + seconds)
    scene.finish(grip, exited_at=f"{now - seconds:.6f}")
    assert 0 <= observed(scene, "healthy")[1] < 60
    assert 0 <= observed(scene, "run")[1] < 60


def test_a_record_without_a_claim_comes_to_its_end(scene: Scene) -> None:
    """An older file had forgotten the claim, and the node told what it runs."""
    grip = scene.started("a")
    scene.redis.hdel(f"onejob:job:{scene.uid}:a", "claimed_at")
    sent(scene, grip, 5, 6)
    scene.finish(grip)
    assert observed(scene, "job")[0] == 1
    assert observed(scene, "prepare")[0] == 0


def test_counts_outlive_their_deployment_and_their_redis_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = RedisServer.start(tmp_path_factory.mktemp("counts"))
    scene = Scene(Ledger(server.connect()))
    deleted(scene)
    before = scene.redis.hgetall("onejob:counts")
    server.kill()
    server.restart()
    assert scene.redis.hgetall("onejob:counts") == before != {}
    server.stop()


# -- what workers add --------------------------------------------------------------------------


def test_an_addition_counts_once_under_its_number(any_scene: Scene) -> None:
    add = any_scene.ledger.metrics.add
    for process, number in (("p", 1), ("p", 2), ("p", 1), ("q", 1)):
        add(process, number, {"swept|spool_removed": 5})
    assert counts(any_scene).labelled("swept") == {("spool_removed",): 15}
    assert 0 < any_scene.redis.ttl("onejob:told:p") <= 86_400


def test_an_addition_is_taken_where_redis_is_full(scene: Scene) -> None:
    scene.redis.config_set("maxmemory", 1)
    try:
        scene.ledger.metrics.add("p", 1, {"swept|spool_removed": 1})
        scene.ledger.metrics.read(0)
    finally:
        scene.redis.config_set("maxmemory", 0)
    assert counts(scene).labelled("swept") == {("spool_removed",): 1}


@pytest.mark.parametrize("histogram", HISTOGRAMS)
def test_a_value_lies_in_the_first_bucket_whose_bound_it_is_not_above(histogram: str) -> None:
    bounds = HISTOGRAMS[histogram].bounds
    assert list(bounds) == sorted(set(bounds))
    for number, bound in enumerate(bounds, 1):
        assert observation(histogram, bound)[f"{histogram}|{number}"] == 1
        assert observation(histogram, bound * 1.01 + 0.1)[f"{histogram}|sum"] >= bound
    assert observation(histogram, 1e12)[f"{histogram}|{len(bounds) + 1}"] == 1


@pytest.mark.parametrize("size", [0, 1, 1024, 1025, 268_435_456, 268_435_457])
def test_scripts_and_workers_agree_on_buckets(scene: Scene, size: int) -> None:
    grip = scene.started("a")
    scene.run(grip)
    scene.finish(grip, response_size=size)
    found = {n.decode(): int(v) for n, v in scene.redis.hgetall("onejob:counts").items()}
    ours = {name: value for name, value in found.items() if name.startswith("result|")}
    assert ours == observation("result", size)


# -- how things stand --------------------------------------------------------------------------


def test_it_tells_what_waits_and_since_when(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=1)
    for job_id in "abc":
        scene.submit(job_id)
    began(scene, "b", "created_at", 100)
    known = measures(scene)
    assert known.gauges["waiting"] == 3
    assert known.unclaimed == {"cpu": 1}
    (one,) = known.deployments
    assert one == DeploymentMeasures("dep", "running", "cpu", 1, 2, 1, 0, one.oldest_seconds)
    assert 100 <= one.oldest_seconds < 160
    assert Scene(ledger, "empty").deployment.name in {d.name for d in measures(scene).deployments}


def test_it_tells_what_runs_on_past_its_deadline(scene: Scene) -> None:
    grip = scene.started("a")
    sent(scene, grip, 1000, 1001)
    assert (measures(scene).gauges["started"], measures(scene).gauges["overrun"]) == (1, 0)
    scene.redis.zincrby("onejob:due:deadlines", -100, scene.ref("a"))
    assert measures(scene, late_seconds=0).gauges["overrun"] == 1
    assert measures(scene, late_seconds=90).gauges["overrun"] == 0


def test_it_tells_of_nodes_and_of_what_they_hold(scene: Scene) -> None:
    scene.ledger.nodes.announce(NODE, {"problems": ["a disk is full"]})
    scene.started("a")
    scene.lapse("a")
    (node,) = measures(scene).nodes
    assert (node.id, node.leases, node.lapsed, node.strays) == (NODE, 1, 1, 0)
    assert node.info["problems"] == ["a disk is full"]
    silent(scene)
    scene.ledger.nodes.lose(NODE, 60, 10, False)
    (node,) = measures(scene).nodes
    assert (node.leases, node.strays) == (0, 1)
    assert 61 <= node.silent_seconds < 120
    assert measures(scene).gauges["strays"] == 1
    assert measures(scene).deployments[0].strays == 1


def test_it_tells_what_a_recovery_waits_for(scene: Scene) -> None:
    scene.ledger.nodes.announce(NODE, {})
    scene.ledger.recovery.begin()
    assert measures(scene).gauges["reports"] == 1


def test_it_tells_of_redis(scene: Scene) -> None:
    server = scene.ledger.metrics.server()
    assert server.used_bytes > 0
    assert (server.most_bytes, server.appends, server.append_ok) == (0, True, True)


# -- what it costs -----------------------------------------------------------------------------


def test_a_look_costs_the_same_with_10_and_with_20000_waiting_jobs(ledger: Ledger) -> None:
    def cost(waiting: int) -> dict[str, int]:
        ledger.client.flushall()
        scene = Scene(ledger)
        scene.submit("seed")
        scene.submit("first")
        ledger.client.eval(CROWD, 0, scene.uid, waiting, "seed")
        measures(scene)  # the scripts are loaded
        return counted(ledger.client, lambda: ledger.metrics.read(0))

    assert cost(20_000) == cost(10)


def test_deployments_are_asked_for_in_parts(ledger: Ledger) -> None:
    scene = Scene(ledger)
    measures(scene)
    uids = {f"d{n}": f"u{n}" for n in range(2 * DEPLOYMENTS_LIMIT)}
    ledger.client.hset("onejob:deployments", mapping=uids)  # names whose records are gone
    calls = counted(ledger.client, lambda: ledger.metrics.read(0))
    assert calls["evalsha"] == 1 + 3
    assert [one.name for one in measures(scene).deployments] == ["dep"]


def test_what_a_job_adds_to_redis_does_not_grow_with_the_jobs(scene: Scene) -> None:
    def one(job_id: str) -> set[bytes]:
        grip = scene.started(job_id)
        now = began(scene, job_id, "created_at", 1)
        sent(scene, grip, now, now)
        scene.finish(grip, response_size=1)
        scene.ledger.attempts.release(grip)
        names: list[bytes] = scene.redis.hkeys("onejob:counts")
        # Each bucket may get its first value at any time: how many there are is fixed.
        return {re.sub(rb"\|\d+$", b"|bucket", name) for name in names}

    first = one("a")
    assert [one(f"b{n}") for n in range(20)] == [first] * 20


def test_a_look_writes_nothing(scene: Scene) -> None:
    scene.started("a")
    client: redis.Redis = scene.redis
    before = {key: client.dump(key) for key in client.scan_iter()}
    measures(scene)
    assert {key: client.dump(key) for key in client.scan_iter()} == before
