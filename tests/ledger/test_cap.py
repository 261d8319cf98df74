"""The cap: exactly `max_replica_count` at once, over all threads and processes."""

import multiprocessing
import threading

from app.domain.job import Reason, State
from app.ledger import Ledger, connect
from app.ledger.attempts import Grip
from tests.ledger.scene import LEASE, Scene, check_places, ids
from tests.redis_server import RedisServer

CAP, JOBS, PROCESSES, THREADS = 3, 200, 2, 5
PATIENCE_SECONDS = 60


def _work(url: str, uid: str, process: int) -> None:
    """Claims, finishes and releases what the queue `todo` names, and counts who is inside."""
    threads = [
        threading.Thread(target=_work_alone, args=(url, uid, f"node{process}-{number}"))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _work_alone(url: str, uid: str, node: str) -> None:
    client = connect(url, timeout_seconds=2 * PATIENCE_SECONDS)
    attempts = Ledger(client).attempts
    while (name := client.blpop(["todo"], timeout=PATIENCE_SECONDS)) and name[1] != b"stop":
        job = attempts.claim(uid, name[1].decode(), node, LEASE).job
        assert job is not None
        client.rpush("inside", client.incr("count"))
        attempts.finish(Grip.of(job), State.SUCCEEDED, Reason.EXIT_0, "", {})
        client.decr("count")
        hints = ids(attempts.release(Grip.of(job)))
        if hints:
            client.rpush("todo", *hints)
        if client.incr("done") == JOBS:
            client.rpush("todo", *["stop"] * PROCESSES * THREADS)


def test_the_cap_holds_exactly_under_many_threads_and_processes(
    redis_server: RedisServer, ledger: Ledger
) -> None:
    scene = Scene(ledger, cap=CAP)
    spawn = multiprocessing.get_context("spawn")
    workers = [
        spawn.Process(target=_work, args=(redis_server.url, scene.uid, number))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    submitters = [threading.Thread(target=_submit, args=(redis_server, scene, n)) for n in range(4)]
    for submitter in submitters:
        submitter.start()
    for thread in (*submitters, *workers):
        thread.join(PATIENCE_SECONDS)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    inside = [int(count) for count in scene.redis.lrange("inside", 0, -1)]
    assert len(inside) == JOBS
    assert max(inside) == CAP, "never more, and as many as may be"
    assert scene.slots() == set()
    check_places(scene)


def _submit(server: RedisServer, scene: Scene, number: int) -> None:
    mine = scene.beside(server.connect())
    for n in range(number, JOBS, 4):
        hints = ids(mine.submit(f"j{n}", b"").hints)
        if hints:
            mine.redis.rpush("todo", *hints)


def test_a_cap_that_is_raised_lets_more_in(scene: Scene) -> None:
    for name in "abcde":
        scene.submit(name)
    scene.change(max_replica_count=3)
    assert ids(scene.ledger.jobs.admit(scene.uid)) == ["b", "c"]
    assert ids(scene.ledger.jobs.admit(scene.uid)) == []
    assert scene.slots() == {"a", "b", "c"}


def test_a_cap_that_is_lowered_lets_nobody_in_until_there_is_room(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=3)
    grips = [scene.started(name) for name in "abc"]
    scene.submit("d")
    scene.change(max_replica_count=1)
    assert [ids(scene.end(grip)) for grip in grips] == [[], [], ["d"]]
    check_places(scene)
