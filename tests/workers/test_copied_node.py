"""A spool root that was copied with its machine: the copy leaves the other's attempts alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.job import State
from app.ledger.nodes import NodeTaken
from tests.workers.alone import Fresh, elsewhere, pass_time
from tests.workers.rig import Rig, runs
from workers import worker
from workers.heartbeat import Heartbeat
from workers.site import Site
from workers.supervisor import supervise
from workers.upkeep import Upkeep
from workers.worker import await_node

SILENT_SECONDS = 60.0  # until who is silent is not alive


@pytest.fixture
def copy(rig: Rig, tmp_path: Path) -> Site:
    """Another machine with the same node id, which came up while Redis was away."""
    Heartbeat(rig.site()).beat(0)
    site = replace(elsewhere(rig, tmp_path / "copy"), node=rig.node)
    site.ledger.nodes.silent_seconds = SILENT_SECONDS
    Heartbeat(site).beat(0)
    assert "was this spool root copied?" in site.fitness.problems()[0]
    return site


def test_it_takes_nothing_over(rig: Rig, copy: Site) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)
    pass_time(rig)
    assert supervise(copy, rig.uid, "j1") is None
    assert (rig.job().state, rig.job().fence) == (State.RUNNING, 1)
    rig.usher().finish()
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")


def test_it_does_not_report_in_the_others_name(rig: Rig, copy: Site) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)
    rig.ledger.recovery.begin()
    Upkeep(copy, grace_seconds=0).step(1000.0)
    assert rig.ledger.recovery.waiting_for() == [rig.node]
    assert rig.job().state is State.RUNNING


def test_it_does_not_free_the_slots_of_the_others_strays(rig: Rig, copy: Site) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)
    rig.ledger.client.zadd("onejob:nodes", {rig.node: 1})
    rig.ledger.nodes.lose(rig.node, 60, 1, False)
    Upkeep(copy, grace_seconds=0).step(1000.0)
    assert len(rig.ledger.nodes.strays(rig.node)) == 1


# -- at the start of a worker ------------------------------------------------------------------


class Clock:
    """In place of the module `time` there: it goes on while one sleeps, and `meanwhile` is done."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._now = 0.0
        self._meanwhile = meanwhile

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        self._meanwhile()


def rebooted(rig: Rig) -> Site:
    """The same machine under its new boot id."""
    site = replace(rig.site(), identity="this machine, booted again")
    site.ledger.nodes.silent_seconds = SILENT_SECONDS
    return site


def test_after_a_quick_reboot_a_worker_waits_until_its_last_life_is_silent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig.ledger.nodes.announce(rig.node, {}, "this machine")
    heard_of: Any = rig.ledger.client.zscore("onejob:nodes", rig.node)
    silences = [0, SILENT_SECONDS / 2, SILENT_SECONDS]

    def meanwhile() -> None:
        rig.ledger.client.zadd("onejob:nodes", {rig.node: heard_of - silences.pop(0)})

    monkeypatch.setattr(worker, "time", Clock(meanwhile))
    await_node(rebooted(rig))
    assert silences == []
    assert caplog.text.count("before a reboot: waiting for up to 60 s") == 1


def test_a_worker_whose_id_somebody_has_who_is_alive_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def announce() -> None:
        rig.ledger.nodes.announce(rig.node, {}, "this machine")

    announce()
    monkeypatch.setattr(worker, "time", Clock(announce))
    with pytest.raises(NodeTaken, match=rig.node):
        await_node(rebooted(rig))
