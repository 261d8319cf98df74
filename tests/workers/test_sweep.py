"""What is overdue, step by step."""

import threading
from typing import Any

import pytest
import redis

from app import dispatch
from app.dispatch import Publisher, compute_queue, node_queue
from app.domain.job import State
from tests.workers.rig import Gate, Rig
from workers.sweep import Sweep


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message is given up because Redis stands still for a moment."""
    monkeypatch.setitem(dispatch._TRANSPORT, "socket_timeout", 60)


def length(rig: Rig, queue: str) -> int:
    answer: Any = rig.ledger.client.llen(queue)
    return int(answer)


def due(rig: Rig, *jobs: str) -> None:
    """Their last hints are old."""
    for job in jobs:
        rig.ledger.client.zadd("onejob:due:hints:cpu", {f"{rig.uid}/{job}": 0}, xx=True)


# -- messages, in a real Celery queue ----------------------------------------------------------


def test_a_lost_hint_is_published_again_into_the_queue_of_its_compute(rig: Rig) -> None:
    rig.submit()
    sweep = Sweep(rig.site(), Publisher(rig.url))
    sweep.republish()
    assert length(rig, compute_queue("cpu")) == 0  # it may still be on its way
    due(rig, "j1")
    sweep.republish()
    assert length(rig, compute_queue("cpu")) == 1


def test_a_hint_that_still_waits_is_not_published_again(rig: Rig) -> None:
    rig.submit()
    sweep = Sweep(rig.site(), Publisher(rig.url))
    for _ in range(3):
        due(rig, "j1")
        sweep.republish()
    assert length(rig, compute_queue("cpu")) == 1


def test_only_as_many_hints_are_published_as_the_queue_lacks(wide: Rig) -> None:
    jobs = [f"j{n}" for n in range(10)]
    for job in jobs:
        wide.submit(job)
    publisher = Publisher(wide.url)
    publisher(wide.ledger.jobs.due_hints("cpu", "none", 5))  # none is due: none published
    sweep = Sweep(wide.site(), publisher)
    due(wide, *jobs[:4])
    sweep.republish()
    assert length(wide, compute_queue("cpu")) == 4
    due(wide, *jobs)
    sweep.republish()
    assert length(wide, compute_queue("cpu")) == 10


def test_a_lapsed_attempt_gets_a_hint_on_the_nodes_own_queue(rig: Rig) -> None:
    rig.submit()
    rig.killed_at("after attempts.claim")
    sweep = Sweep(rig.site(), Publisher(rig.url))
    sweep.take_over()
    assert length(rig, node_queue(rig.node)) == 0
    rig.lapse()
    for _ in range(3):
        sweep.take_over()
    assert length(rig, node_queue(rig.node)) == 1
    assert length(rig, compute_queue("cpu")) == 0


# -- a time without Redis ------------------------------------------------------------------------


class Away:
    """Redis does not answer."""

    def due_hints(self, *_: object) -> None:
        raise redis.ConnectionError("away")


def test_after_a_time_without_redis_the_leases_can_be_renewed_first(rig: Rig) -> None:
    rig.submit()
    rig.killed_at("after attempts.claim")
    site = rig.site()
    sweep, jobs = rig.sweep(site), site.ledger.jobs
    sweep.sweep(1000.0)

    site.ledger.jobs = Away()  # type: ignore[assignment]
    for now in range(1001, 1101):
        with pytest.raises(redis.ConnectionError):
            sweep.sweep(now)
    site.ledger.jobs = jobs
    rig.lapse()
    sweep.sweep(1101.0)
    sweep.sweep(1102.0)
    assert rig.to_node_published == []
    sweep.sweep(1104.5)
    assert [hint.id for hint in rig.to_node_published] == ["j1"]


def test_a_worker_that_begins_takes_over_at_once(rig: Rig) -> None:
    rig.submit()
    rig.killed_at("after attempts.claim")
    rig.lapse()
    rig.sweep().sweep(1000.0)
    assert [hint.id for hint in rig.to_node_published] == ["j1"]


# -- ends --------------------------------------------------------------------------------------


def test_a_job_past_its_ttl_expires_and_makes_room(rig: Rig) -> None:
    rig.submit("j1")
    rig.submit("j2")
    key = f"onejob:job:{rig.uid}:j1"
    rig.ledger.client.hset(key, "expires_at", "1000000000.000000")
    rig.ledger.client.zadd("onejob:due:ttl", {f"{rig.uid}/j1": 1}, xx=True)
    rig.sweep().expire()
    assert rig.fate("j1") == ("expired", "queue_ttl")
    assert [hint.id for hint in rig.published] == ["j2"]


def test_records_past_their_retention_go(rig: Rig) -> None:
    rig.submit("j1")
    rig.supervise("j1")
    rig.submit("j2")
    rig.ledger.client.zadd("onejob:due:retention", {f"{rig.uid}/j1": 1}, xx=True)
    rig.sweep().forget()
    assert not rig.ledger.client.keys("onejob:job:*:j1*")
    assert rig.job("j2").state is State.DISPATCHED


def test_a_deleted_deployment_goes_once_its_replica_is_gone(rig: Rig) -> None:
    rig.submit("j1")
    rig.submit("j2")
    gate = Gate("before engine.remove")
    task = rig.supervising("j1", site=rig.site(gate))
    gate.wait()
    rig.ledger.deployments.terminate("dep")
    sweep = rig.sweep()
    sweep.shrink()
    assert rig.fate("j2") == ("cancelled", "deployment_deleted")
    assert rig.ledger.deployments.terminating() == [rig.uid]
    gate.open()
    task.answer()
    sweep.shrink()
    assert rig.ledger.deployments.list() == []
    assert not rig.ledger.client.keys("onejob:deployment:*")


def test_sweeps_of_many_workers_do_everything_once(wide: Rig) -> None:
    for n in range(10):
        wide.submit(f"j{n}")
    for n in range(5):
        wide.killed_at("after attempts.finish", f"j{n}")
        wide.lapse(f"j{n}")
    due(wide, *[f"j{n}" for n in range(5, 10)])
    publisher = Publisher(wide.url)
    sweeps = [Sweep(wide.site(), publisher) for _ in range(4)]
    threads = [threading.Thread(target=s.sweep, args=(1000.0,)) for s in sweeps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert length(wide, compute_queue("cpu")) == 5
    assert length(wide, node_queue(wide.node)) <= 5 * 4  # each asks for what the queue lacked
    for n in range(5):
        wide.supervise(f"j{n}")
        assert wide.job(f"j{n}").state is State.SUCCEEDED
    assert wide.ledger.attempts.held(wide.node) == []
    assert wide.slots() == {b"j%d" % n for n in range(5, 10)}
