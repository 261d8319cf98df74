"""An empty or a wrong Redis, and one that was restored from an older file."""

from typing import Any

from app.domain.job import State
from tests.workers.rig import Rig, runs


def running(rig: Rig) -> None:
    rig.script = runs
    rig.upkeep().step(0)  # from then on the node knows its ledger
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)


def emptied(rig: Rig) -> None:
    """What an operator sees who forgot the volume."""
    rig.ledger.client.flushdb()


def restored(rig: Rig, saved: dict[bytes, Any]) -> None:
    rig.ledger.client.flushdb()
    for key, value in saved.items():
        rig.ledger.client.restore(key, 0, value)


def saved(rig: Rig) -> dict[bytes, Any]:
    client = rig.ledger.client
    return {key: client.dump(key) for key in client.scan_iter()}


def test_an_empty_redis_removes_nothing(rig: Rig) -> None:
    running(rig)
    emptied(rig)
    site = rig.site()
    rig.upkeep(site).step(0)
    assert rig.engine.names() == {rig.replica()}
    assert rig.root.replicas() == [rig.replica()]
    assert "onejob recover" in site.fitness.problems()[0]


def test_a_node_of_another_ledger_claims_nothing(rig: Rig) -> None:
    rig.upkeep().step(0)
    rig.ledger.client.delete("onejob:ledger")
    rig.submit()
    site = rig.site()
    rig.upkeep(site).step(0)
    rig.supervise(site=site)
    assert rig.job().state is State.DISPATCHED
    assert rig.engine.calls.count("create") == 0


def test_after_a_recovery_the_node_belongs_to_the_new_ledger(rig: Rig) -> None:
    running(rig)
    emptied(rig)
    site = rig.site()
    upkeep = rig.upkeep(site)
    upkeep.step(0)
    rig.ledger.nodes.announce(rig.node, {})
    rig.ledger.recovery.begin()
    upkeep.step(100)
    assert site.fitness.fit
    assert rig.engine.names() == set()  # its job is not known any more
    assert rig.root.replicas() == []


def test_a_claim_that_the_older_file_has_not_runs_on_and_once(rig: Rig) -> None:
    rig.script = runs
    rig.upkeep().step(0)
    rig.submit()
    before = saved(rig)
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until_state(State.RUNNING)
    restored(rig, before)
    rig.ledger.nodes.announce(rig.node, {})
    rig.ledger.recovery.begin()
    rig.supervise()  # a hint: nothing is claimed yet
    assert rig.job().state is State.DISPATCHED

    rig.upkeep().step(0)
    assert (rig.job().state, rig.job().node) == (State.STARTING, rig.node)
    rig.usher().finish()
    assert task.answer() is None  # what it held, it holds no more
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.engine.made == rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


def test_a_replica_that_the_older_file_takes_for_running_has_ended(rig: Rig) -> None:
    running(rig)
    before = saved(rig)
    rig.usher().finish()
    rig.lapse()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    restored(rig, before)
    rig.ledger.nodes.announce(rig.node, {})
    rig.ledger.recovery.begin()
    rig.upkeep().step(0)
    assert rig.fate() == ("failed", "node_lost")
    assert rig.engine.made == {rig.replica(): 1}
