"""A machine that is being drained: its workers take no new jobs, and end what they have."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from app import operations
from app.dispatch import compute_queue
from app.domain.job import State
from tests.workers.celery_stage import Stage
from tests.workers.command_line import Onejob, complaint, onejob, said
from tests.workers.rig import Rig
from tests.workers.test_allegiance import running
from workers.heartbeat import Heartbeat

__all__ = ["onejob"]


def drained(rig: Rig) -> None:
    rig.ledger.nodes.announce(rig.node, {}, "this machine")
    rig.ledger.nodes.drain(rig.node)


# -- a worker ----------------------------------------------------------------------------------


def test_a_worker_that_is_refused_a_job_takes_no_more(rig: Rig) -> None:
    rig.submit()
    drained(rig)
    site = rig.site()
    assert rig.supervise(site=site) is None
    assert rig.job().state is State.DISPATCHED
    assert rig.engine.calls == []
    assert not site.fitness.fit
    assert site.fitness.problems() == []  # it was meant


def test_each_worker_of_the_node_hears_of_it_by_its_heartbeat(rig: Rig) -> None:
    drained(rig)
    sites = [rig.site(), rig.site()]
    for now, fit in ((0.0, False), (10.0, True)):
        for site in sites:
            Heartbeat(site).beat(now)
        assert [site.fitness.fit for site in sites] == [fit, fit]
        rig.ledger.nodes.drain(rig.node, draining=False)


def test_the_next_sweep_hints_at_what_it_was_refused(rig: Rig) -> None:
    rig.submit()
    drained(rig)
    site = rig.site()
    for _ in range(2):  # refused by the ledger, and then by what the worker knows
        rig.supervise(site=site)
        rig.published.clear()
        rig.sweep(site).republish()
        assert [hint.id for hint in rig.published] == ["j1"]


def test_its_workers_stop_consuming_and_begin_again(stage: Stage) -> None:
    """Two processes of one node: one that was there, and one that starts meanwhile."""
    rig = stage.rig
    client, nodes = rig.ledger.client, rig.ledger.nodes
    stage.worker().until_ready()
    task = stage.submit("runs-1")
    rig.until(lambda: rig.job("runs-1").node)
    nodes.drain(rig.node)
    second = stage.worker()
    rig.until(lambda: " ready." in second.words())
    stage.until_none_takes_jobs()
    waiting = stage.submit("works-1")
    rig.until(lambda: client.llen(compute_queue("cpu")) == 1 or waiting.meta()["result"])
    assert rig.job("works-1").state is State.DISPATCHED
    stage.end("runs-1")
    assert task.fate() == "succeeded"
    nodes.drain(rig.node, draining=False)
    assert waiting.fate() == "succeeded"


# -- onejob drain ------------------------------------------------------------------------------


def test_a_machine_is_drained_and_takes_jobs_again(rig: Rig, onejob: Onejob) -> None:
    rig.ledger.nodes.announce(rig.node, {"problems": ["disk full"]})
    assert said(onejob("drain", rig.node)) == f"node {rig.node} takes no new jobs\n"
    assert said(onejob("node", "list")).splitlines()[1].endswith("  draining; disk full")
    (listed,) = json.loads(said(onejob("node", "list", "-o", "json")))
    assert listed["draining"] is True
    assert said(onejob("drain", rig.node, "--undo")) == f"node {rig.node} takes jobs again\n"
    (listed,) = json.loads(said(onejob("node", "list", "-o", "json")))
    assert listed["draining"] is False


def test_a_machine_that_nobody_knows_can_not_be_drained(onejob: Onejob) -> None:
    assert complaint(onejob("drain", "nobody")) == "Error: no node 'nobody'"


def test_to_wait_for_a_machine_that_takes_jobs_again_makes_no_sense(onejob: Onejob) -> None:
    assert onejob("drain", "n1", "--wait", "5", "--undo").exit_code == 2


def tell_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the command wrote to one: the runner of the tests is none."""
    terminal = SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(operations, "sys", terminal)


def test_who_waits_is_told_when_the_machine_is_empty(
    rig: Rig, onejob: Onejob, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(rig)
    rig.ledger.nodes.announce(rig.node, {})
    pauses: list[float] = []
    sleep = time.sleep  # others pause in between, too

    def pause(seconds: float) -> None:
        """The job comes to its end while the command waits."""
        if seconds != operations.POLL_SECONDS:
            sleep(seconds)  # theirs
            return
        pauses.append(seconds)
        rig.usher().finish()
        rig.lapse()
        rig.supervise()

    monkeypatch.setattr(operations.time, "sleep", pause)
    tell_a_terminal(monkeypatch)
    words = said(onejob("drain", rig.node, "--wait", "60"))
    assert words == f"left: 1 jobs, 0 strays\nnode {rig.node} is empty\n"
    assert len(pauses) == 1
    assert rig.fate() == ("succeeded", "exit_0")


def test_a_wait_that_takes_too_long_ends_with_3(rig: Rig, onejob: Onejob) -> None:
    running(rig)
    rig.ledger.nodes.announce(rig.node, {})
    result = onejob("drain", rig.node, "--wait", "0")
    assert result.exit_code == 3
    assert result.output == f"node {rig.node} still holds jobs\n"
    assert rig.ledger.nodes.all()[0].draining  # it goes on being drained


def test_a_wait_outlasts_a_redis_that_is_away(
    rig: Rig, onejob: Onejob, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.ledger.nodes.announce(rig.node, {})
    answers: list[Any] = [operations.redis.ConnectionError("away"), rig.ledger.nodes.all()]

    def all_nodes(_nodes: object) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(type(rig.ledger.nodes), "all", all_nodes)
    assert said(onejob("drain", rig.node, "--wait", "60")) == f"node {rig.node} is empty\n"
    assert answers == []
