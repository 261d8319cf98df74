"""Machines that are lost, as another one sees it, and what they find when they are back."""

from dataclasses import replace
from typing import Any

import pytest
import redis

from app.domain.job import State
from tests.workers.rig import Rig, runs
from tests.workers.test_sweep import Away
from workers.site import Site
from workers.supervisor import supervise

SECONDS = 60  # the node timeout


def silent(rig: Rig, seconds: float = SECONDS + 1) -> None:
    now: Any = rig.ledger.client.time()
    rig.ledger.client.zadd("onejob:nodes", {rig.node: now[0] - seconds})


def elsewhere(rig: Rig) -> Site:
    """A worker of another machine: each takes its own for alive."""
    return replace(rig.site(), node="another")


def watched(rig: Rig, seconds: int = SECONDS + 1) -> Any:
    """A sweep that has run for so long without a gap."""
    sweep = rig.sweep(elsewhere(rig))
    for now in range(1000, 1000 + seconds):
        sweep.sweep(float(now))
    return sweep


def running(rig: Rig) -> None:
    """A job that runs on, and whose worker is gone."""
    rig.script = runs
    rig.submit("j1")
    rig.submit("j2")
    rig.killed_at("after attempts.advance", "j1", time=2)


def test_a_silent_machine_is_lost_after_the_node_timeout(rig: Rig) -> None:
    running(rig)
    sweep = watched(rig)
    silent(rig, SECONDS / 2)  # a look may come late
    sweep.sweep(1061.0)
    assert rig.job("j1").state is State.RUNNING
    silent(rig)
    sweep.sweep(1062.0)
    assert rig.fate("j1") == ("failed", "node_lost")
    assert rig.job("j2").state is State.QUEUED  # the slot is taken: it may still run


def test_a_sweep_that_has_not_watched_for_so_long_judges_nobody(rig: Rig) -> None:
    running(rig)
    silent(rig)
    watched(rig, SECONDS - 1)
    assert rig.job("j1").state is State.RUNNING


def test_after_redis_was_away_every_node_gets_its_whole_timeout(rig: Rig) -> None:
    running(rig)
    site = elsewhere(rig)
    sweep, jobs = rig.sweep(site), site.ledger.jobs
    for now in range(1000, 1065):
        sweep.sweep(float(now))
    site.ledger.jobs = Away()  # type: ignore[assignment]
    for now in range(1065, 1165):
        with pytest.raises(redis.ConnectionError):
            sweep.sweep(float(now))
    site.ledger.jobs = jobs
    silent(rig)  # as all are, after an outage
    for now in range(1165, 1165 + SECONDS):
        sweep.sweep(float(now))
        assert rig.job("j1").state is State.RUNNING
    sweep.sweep(1165.0 + SECONDS)
    assert rig.fate("j1") == ("failed", "node_lost")


def test_the_machine_is_back_and_removes_what_was_given_up(rig: Rig) -> None:
    running(rig)
    silent(rig)
    watched(rig)
    rig.usher("j1").finish()  # nobody heard of it
    rig.published.clear()
    rig.upkeep().remove_strays()
    assert rig.fate("j1") == ("failed", "node_lost")  # once final, it stays so
    assert rig.result("j1") is None
    late = rig.ledger.jobs.view(rig.uid, "j1").timeline[-1]
    assert late.event == "late"
    assert "exited code=0" in (late.detail or "")
    assert [hint.id for hint in rig.published] == ["j2"]
    assert rig.engine.names() == set()
    assert rig.root.replicas() == []


def test_a_supervisor_that_was_cut_off_lets_go(rig: Rig) -> None:
    rig.script = runs
    rig.submit("j1")
    site = rig.site()
    task = rig.supervising("j1", site=site)
    rig.until_state(State.RUNNING, "j1")
    silent(rig)
    rig.ledger.nodes.lose(rig.node, SECONDS, 1, False)
    rig.usher("j1").finish()
    task.answer()
    assert rig.fate("j1") == ("failed", "node_lost")
    rig.upkeep().remove_strays()
    rig.check_nothing_left()


def test_no_second_container_without_a_retry_policy(rig: Rig) -> None:
    running(rig)
    silent(rig)
    watched(rig)
    supervise(rig.site(), rig.uid, "j1")
    assert rig.engine.made == {rig.replica("j1"): 1}


def test_an_engine_that_does_not_answer_keeps_the_stray(rig: Rig) -> None:
    running(rig)
    silent(rig)
    watched(rig)
    rig.engine.available = False
    with pytest.raises(Exception, match="no answer"):
        rig.upkeep().remove_strays()
    rig.engine.available = True
    assert len(rig.ledger.nodes.strays(rig.node)) == 1
    rig.upkeep().remove_strays()
    assert rig.ledger.nodes.strays(rig.node) == []


def test_a_machine_that_nobody_waits_for_is_forgotten_in_time(rig: Rig) -> None:
    rig.ledger.client.rpush(f"node.{rig.node}", "a message")
    silent(rig, 6 * 24 * 3600)
    watched(rig)
    assert [node.id for node in rig.ledger.nodes.all()] == [rig.node]
    silent(rig, 8 * 24 * 3600)
    watched(rig)
    assert rig.ledger.nodes.all() == []
    assert rig.ledger.client.keys(f"*{rig.node}*") == []


def test_no_machine_gives_itself_up(rig: Rig) -> None:
    """After a suspension its own last sign of life is old, too."""
    running(rig)
    silent(rig)
    sweep = rig.sweep()
    for now in range(1000, 1000 + SECONDS + 5):
        sweep.sweep(float(now))
    assert rig.job("j1").state is State.RUNNING
