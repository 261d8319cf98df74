"""Nothing is removed for a ledger that is not ours, nor for one that has forgotten a claim."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.job import State
from tests.redis_server import RedisServer
from tests.workers.alone import Fresh, pass_time
from tests.workers.rig import Gate, Hooked, Rig, runs
from tests.workers.stand_ins import Hook
from tests.workers.test_allegiance import emptied, restored, running, saved
from tests.workers.test_lost_nodes import SECONDS, silent, watched
from workers.sweep import FORGOTTEN_SECONDS


def at(point: str, time: int, happens: Callable[[], None]) -> Hook:
    """When a point is passed for the n-th time."""
    passes = [0]

    def hook(passed: str) -> None:
        passes[0] += passed == point
        if passed == point and passes[0] == time:
            happens()

    return hook


@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.parametrize(
    "point", ["after recovery.asks", "before engine.owned", "after engine.owned"]
)
def test_a_redis_that_is_emptied_in_the_middle_of_an_upkeep_costs_no_replica(
    rig: Rig, point: str, time: int
) -> None:
    """After the question whose ledger it is, too, and before that who needs the replica."""
    running(rig)
    hook = at(point, time, lambda: emptied(rig))
    site = rig.site(hook)
    recovery = site.ledger.recovery
    site.ledger.recovery = Hooked(recovery, "recovery", hook)  # type: ignore[assignment]
    upkeep = rig.upkeep(site)
    for now in (0.0, 100.0):
        upkeep.step(now)
    assert rig.ledger.client.keys("onejob:job:*") == []
    assert rig.engine.names() == {rig.replica()}
    assert rig.root.replicas() == [rig.replica()]


def test_an_older_file_costs_no_replica_before_its_operator_says_so(rig: Rig) -> None:
    """It has forgotten the claim, and nothing tells it from the newest one yet."""
    rig.script = runs
    rig.upkeep().step(0)
    rig.submit()
    before = saved(rig)
    rig.killed_at("after attempts.advance", time=2)
    restored(rig, before)
    assert rig.job().state is State.DISPATCHED
    rig.upkeep().step(100)
    assert rig.engine.names() == {rig.replica()}
    assert rig.root.replicas() == [rig.replica()]

    rig.ledger.nodes.announce(rig.node, {})
    rig.ledger.recovery.begin()
    fresh = Fresh(rig)
    fresh.look()
    rig.usher().finish()
    fresh.run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


def test_a_machine_that_has_to_report_is_not_forgotten_by_a_sweep(rig: Rig) -> None:
    """Its last sign of life is as old as the file, and it may run what the file has forgotten."""
    silent(rig, FORGOTTEN_SECONDS + SECONDS)
    rig.ledger.recovery.begin()
    watched(rig)
    assert rig.ledger.recovery.waiting_for() == [rig.node]
    rig.ledger.nodes.forget(rig.node)  # an operator may
    assert rig.ledger.recovery.waiting_for() == []


def test_a_foreign_ledger_gets_no_report_and_loses_no_stray(rig: Rig) -> None:
    running(rig)
    silent(rig)
    rig.ledger.nodes.lose(rig.node, SECONDS, 1, False)
    client: Any = rig.ledger.client
    client.delete("onejob:ledger")  # as if it were another one with the same strays
    before = rig.ledger.nodes.strays(rig.node)
    rig.upkeep().step(0)
    assert rig.ledger.nodes.strays(rig.node) == before != []
    assert rig.engine.names() == {rig.replica()}


def test_in_a_foreign_ledger_nothing_new_is_claimed_by_the_whole_worker(rig: Rig) -> None:
    rig.upkeep().step(0)
    rig.ledger.client.delete("onejob:ledger")
    rig.submit()
    fresh = Fresh(rig)
    for _ in range(3):
        fresh.turn()
    assert rig.job().state is State.DISPATCHED
    assert rig.engine.made == {}
    rig.ledger.nodes.announce(rig.node, {})
    rig.ledger.recovery.begin()
    pass_time(rig)
    fresh.run()
    assert rig.fate() == ("succeeded", "exit_0")


def test_an_older_file_of_another_redis_process_loses_no_machine_at_once(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    """It was started so fast that no sweep was missed, and knows only old signs of life."""
    rig = Rig(own_redis.url, tmp_path / "spool")
    running(rig)
    sweep = watched(rig)
    own_redis.kill()
    own_redis.restart()
    silent(rig)
    for now in range(1000 + SECONDS + 1, 1000 + 2 * SECONDS + 1):
        sweep.sweep(float(now))
        assert rig.job().state is State.RUNNING
    sweep.sweep(1000.0 + 2 * SECONDS + 1)
    assert rig.fate() == ("failed", "node_lost")
    rig.close()


@pytest.mark.parametrize("reporter", ["its own process", "another process of the node"])
def test_a_recovery_ends_no_job_whose_image_is_being_pulled(rig: Rig, reporter: str) -> None:
    gate = Gate("before engine.image")
    site = rig.site(gate)
    rig.submit()
    task = rig.supervising(site=site)
    gate.wait()
    rig.ledger.nodes.announce(rig.node, {})
    rig.ledger.recovery.begin()
    rig.upkeep(site if reporter == "its own process" else rig.site()).step(0)
    assert rig.ledger.recovery.waiting_for() == []
    assert rig.job().state is State.STARTING
    gate.open()
    assert task.answer() is None  # what it held, it holds no more
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.engine.made == rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()
