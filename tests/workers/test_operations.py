"""The operator's commands, on a real Redis: what they say and what they do."""

import json
from typing import Any

from app.dispatch import Publisher
from app.domain.job import Hint, State
from tests.workers.alone import Fresh, dump
from tests.workers.command_line import Onejob, complaint, onejob, published, said
from tests.workers.rig import Rig, works
from tests.workers.test_allegiance import emptied, running
from tests.workers.test_lost_nodes import silent
from tests.workers.test_sweep import patient

__all__ = ["onejob", "patient"]


def test_the_help_lists_them(onejob: Onejob) -> None:
    words = said(onejob("--help"))
    for command in ("drain", "node", "recover", "sweep", "up"):
        assert f"\n  {command} " in words
    assert "forget" in said(onejob("node", "--help"))
    assert "--dry-run" in said(onejob("sweep", "--help"))


# -- onejob node list --------------------------------------------------------------------------


def test_without_machines_the_list_is_empty(onejob: Onejob) -> None:
    assert len(said(onejob("node", "list")).splitlines()) == 1
    assert json.loads(said(onejob("node", "list", "-o", "json"))) == []


def test_the_list_tells_of_each_machine(rig: Rig, onejob: Onejob) -> None:
    running(rig)
    info = {"compute": {"gpu": {}, "cpu": {}}, "problems": ["disk full", "no network"]}
    rig.ledger.nodes.announce(rig.node, info)
    rig.ledger.nodes.announce("n2", {})
    silent_node(rig, "n2", 100)
    header, first, second = said(onejob("node", "list")).splitlines()
    assert header.split() == ["NODE", "SILENT", "ATTEMPTS", "STRAYS", "PROBLEMS"]
    node, silent_seconds, *others = first.split()
    assert (node, others[:3]) == (rig.node, ["s", "1", "0"])
    assert 0 <= int(silent_seconds) < 60
    assert first.endswith("disk full; no network")
    node, silent_seconds, *others = second.split()
    assert (node, others) == ("n2", ["s", "0", "0", "-"])
    assert 100 <= int(silent_seconds) < 160

    one, two = json.loads(said(onejob("node", "list", "-o", "json")))
    assert (one["id"], one["attempts"], one["strays"]) == (rig.node, 1, 0)
    assert one["compute"] == ["cpu", "gpu"]
    assert one["problems"] == ["disk full", "no network"]
    assert 100 <= two["silent_seconds"] < 160


def silent_node(rig: Rig, node: str, seconds: float) -> None:
    now: Any = rig.ledger.client.time()
    rig.ledger.client.zadd("onejob:nodes", {node: now[0] + now[1] / 1e6 - seconds})


# -- onejob node forget ------------------------------------------------------------------------


def test_a_machine_that_is_alive_is_not_forgotten(rig: Rig, onejob: Onejob) -> None:
    running(rig)
    rig.ledger.nodes.announce(rig.node, {})
    before = dump(rig)
    words = complaint(onejob("node", "forget", rig.node))
    assert rig.node in words
    assert "stop its workers first" in words
    assert dump(rig) == before


def test_a_machine_that_nobody_knows_can_not_be_forgotten(onejob: Onejob) -> None:
    assert complaint(onejob("node", "forget", "nobody")) == "Error: no node 'nobody'"


def test_a_machine_that_is_gone_is_forgotten_with_all_that_it_held(
    rig: Rig, onejob: Onejob
) -> None:
    """Its attempt, and the stray of an earlier one; their slots go to those that wait."""
    running(rig)
    rig.submit("j2")
    silent(rig)
    assert said(onejob("node", "forget", rig.node)) == f"node {rig.node} is forgotten\n"
    assert rig.fate("j1") == ("failed", "node_lost")
    assert rig.job("j2").state is State.DISPATCHED
    assert published(rig) == 1
    assert rig.ledger.nodes.all() == []
    assert rig.ledger.client.keys("onejob:node:*") == []
    assert complaint(onejob("node", "forget", rig.node)).endswith(f"no node '{rig.node}'")


def test_nothing_is_left_of_its_queue(rig: Rig, onejob: Onejob) -> None:
    running(rig)
    hint = Hint(uid=rig.uid, id="j1", deployment="dep", compute="cpu")
    Publisher(rig.url).to_node([hint], rig.node)
    assert rig.ledger.client.keys(f"_kombu.binding*{rig.node}")
    silent(rig)
    said(onejob("node", "forget", rig.node))
    assert rig.ledger.client.keys(f"*{rig.node}*") == []


def test_the_slots_that_waited_for_it_are_freed(rig: Rig, onejob: Onejob) -> None:
    running(rig)
    rig.submit("j2")
    silent(rig)
    rig.ledger.nodes.lose(rig.node, 60, 1, False)
    assert rig.job("j2").state is State.QUEUED
    said(onejob("node", "forget", rig.node))
    assert rig.job("j2").state is State.DISPATCHED
    assert published(rig) == 1
    assert not rig.ledger.client.exists("onejob:due:strays")


# -- onejob recover ----------------------------------------------------------------------------


def test_a_recovery_names_the_machines_that_have_to_report(rig: Rig, onejob: Onejob) -> None:
    rig.ledger.nodes.announce("n1", {})
    rig.ledger.nodes.announce("n2", {})
    assert "have reported: n1, n2\n" in said(onejob("recover"))
    assert rig.ledger.recovery.waiting_for() == ["n1", "n2"]


def test_a_recovery_waits_for_machines_that_it_is_told_of(rig: Rig, onejob: Onejob) -> None:
    rig.ledger.nodes.announce("n1", {})
    words = said(onejob("recover", "--expect", "a" * 16, "--expect", "b" * 16))
    assert f"have reported: {'a' * 16}, {'b' * 16}, n1\n" in words
    row = said(onejob("node", "list")).splitlines()[-1]
    assert row.split()[1] == "ever"
    wrong = onejob("recover", "--expect", "n1")
    assert wrong.exit_code == 2
    assert "is no machine's id" in wrong.output
    assert rig.ledger.recovery.identity().epoch == 2


def test_a_recovery_of_a_ledger_that_knows_no_machine_says_what_to_do(onejob: Onejob) -> None:
    words = said(onejob("recover"))
    assert "no machine is known here" in words
    assert "`onejob recover` again" in words


def test_after_redis_was_emptied_a_recovery_puts_the_node_to_work_again(
    rig: Rig, onejob: Onejob
) -> None:
    running(rig)
    emptied(rig)
    rig.deployment = rig.ledger.deployments.create(rig.deployment.spec, "me")
    old, rig.uid = rig.replica(), rig.deployment.uid
    rig.submit("new")
    fresh = Fresh(rig)
    fresh.turn()
    assert not fresh.site.fitness.fit
    assert rig.job("new").state is State.DISPATCHED
    assert rig.engine.names() == {old}

    rig.ledger.nodes.announce(rig.node, {})  # its heartbeat
    assert rig.node in said(onejob("recover"))
    rig.script = works
    fresh.run()
    assert fresh.site.fitness.fit
    assert rig.fate("new") == ("succeeded", "exit_0")
    assert old not in rig.engine.names()  # its job is not known any more
    rig.check_nothing_left()


def test_a_recovery_that_was_begun_before_the_node_was_heard_of_is_begun_again(
    rig: Rig, onejob: Onejob
) -> None:
    running(rig)
    emptied(rig)
    said(onejob("recover"))
    site = rig.site()
    rig.upkeep(site).step(0)
    assert "onejob recover" in site.fitness.problems()[0]
    assert rig.engine.names() == {rig.replica()}
    rig.ledger.nodes.announce(rig.node, {})
    said(onejob("recover"))
    rig.upkeep(site).step(0)
    assert site.fitness.fit
