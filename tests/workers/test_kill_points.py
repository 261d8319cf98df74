"""Killed in what is no supervisor: the upkeep, the loss of a node, the report to a new ledger."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.job import State
from tests.workers.alone import Fresh
from tests.workers.points import REPORT, STRAYS
from tests.workers.rig import Hooked, Killed, Rig, kill_at, runs, works
from tests.workers.stand_ins import Hook
from tests.workers.test_allegiance import restored, saved
from tests.workers.test_lost_nodes import SECONDS, silent
from workers.allegiance import Allegiance
from workers.site import Site


def hooked_site(rig: Rig, hook: Hook) -> Site:
    """A worker process whose hook also hears of nodes and of recoveries."""
    site = rig.site(hook)
    site.ledger.nodes = Hooked(site.ledger.nodes, "nodes", hook)  # type: ignore[assignment]
    site.ledger.recovery = Hooked(site.ledger.recovery, "recovery", hook)  # type: ignore[assignment]
    return site


# -- a machine that is back removes what it still ran ----------------------------------------------


@pytest.fixture
def back(rig: Rig) -> Rig:
    """j1 was given up while the machine was out of reach, and has ended; j2 waits for its slot."""
    rig.script = runs
    rig.submit("j1")
    rig.submit("j2")
    rig.killed_at("after attempts.advance", "j1", time=2)
    silent(rig)
    rig.ledger.nodes.lose(rig.node, SECONDS, 1, False)
    rig.usher("j1").finish()
    rig.ledger.nodes.announce(rig.node, {})
    return rig


@pytest.mark.parametrize("point", STRAYS)
def test_killed_while_it_removes_a_stray_the_slot_is_freed_by_the_next(
    back: Rig, point: str
) -> None:
    upkeep = back.upkeep(hooked_site(back, kill_at(point)))
    with pytest.raises(Killed):
        upkeep.remove_strays()
    dropped = point == "after nodes.drop_stray"
    assert back.job("j2").state is (State.DISPATCHED if dropped else State.QUEUED)
    removed = STRAYS.index(point) > STRAYS.index("before engine.remove")
    assert back.engine.names() == (set() if removed else {back.replica("j1")})

    back.script = works
    Fresh(back).run()
    assert back.fate("j1") == ("failed", "node_lost")
    assert back.events("j1").count("late") == 1
    assert back.fate("j2") == ("succeeded", "exit_0")
    assert back.engine.starts == {back.replica("j1"): 1, back.replica("j2"): 1}
    assert back.ledger.nodes.strays(back.node) == []
    back.check_nothing_left()


def test_a_container_goes_before_its_directory_and_the_slot_last(back: Rig) -> None:
    passed: list[str] = []
    back.upkeep(hooked_site(back, passed.append)).remove_strays()
    assert [point for point in passed if point in STRAYS] == STRAYS


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["engine.owned", "engine.remove", "engine.find", "spool.remove"])
def test_killed_while_it_removes_what_no_job_needs_the_next_removes_it(
    rig: Rig, when: str, point: str
) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)
    rig.ledger.client.hset(f"onejob:job:{rig.uid}:j1", "attempt", 2)  # it is another one's turn
    with pytest.raises(Killed):
        rig.upkeep(rig.site(kill_at(f"{when} {point}"))).remove_dangling()
    if rig.engine.names():
        assert rig.root.replicas() == [rig.replica()]  # the directory outlives the container
    rig.upkeep().remove_dangling()
    assert rig.engine.names() == set()
    assert rig.root.replicas() == []


# -- a node is lost in bounded steps ---------------------------------------------------------------


@pytest.mark.parametrize("free", [False, True], ids=["slots kept", "slots freed"])
@pytest.mark.parametrize(
    ("point", "step"),
    [("before nodes.lose", 1), ("after nodes.lose", 1), ("after nodes.lose", 2),
     ("after nodes.lose", 3)],
)  # fmt: skip
def test_killed_between_two_steps_of_a_loss_the_next_sweep_ends_the_rest_once(
    redis_url: str, tmp_path: Path, point: str, step: int, free: bool
) -> None:
    held, waiting = 210, 5  # two whole steps, and a part of a third
    rig = Rig(redis_url, tmp_path / "spool", cap=held)
    for n in range(held + waiting):
        rig.submit(f"j{n}")
    for n in range(held):
        assert rig.ledger.attempts.claim(rig.uid, f"j{n}", rig.node, 60).job
    silent(rig)
    with pytest.raises(Killed):
        losing(rig, hooked_site(rig, kill_at(point, step)), free)
    lost = min(held, 100 * (step - point.startswith("before")))
    assert states(rig, held) == Counter({"failed": lost}) + Counter({"starting": held - lost})
    assert len(rig.ledger.attempts.held(rig.node)) == held - lost

    losing(rig, rig.site(), free)
    assert states(rig, held) == {"failed": held}
    assert all(rig.events(f"j{n}").count("failed") == 1 for n in range(held))
    assert rig.ledger.attempts.held(rig.node) == []
    assert len(rig.ledger.nodes.strays(rig.node)) == (0 if free else held)
    expected = {b"j%d" % n for n in range(held, held + waiting)} if free else set()
    assert rig.slots() == expected  # their hints are the sweep's to publish
    rig.close()


def losing(rig: Rig, site: Site, free: bool) -> None:
    settings = site.settings.model_copy(update={"free_lost_slots": free})
    rig.sweep(replace(site, settings=settings, node="another")).lose_nodes()


def states(rig: Rig, count: int) -> Counter[str]:
    return Counter(str(rig.job(f"j{n}").state) for n in range(count))


# -- a node reports to a ledger that was restored --------------------------------------------------


@pytest.fixture
def restored_rig(rig: Rig) -> Rig:
    """j1 runs; the file that the ledger was restored from has forgotten its claim."""
    rig.script = runs
    rig.upkeep().step(0)
    rig.submit()
    before = saved(rig)
    rig.killed_at("after attempts.advance", time=2)
    restored(rig, before)
    rig.ledger.nodes.announce(rig.node, {})
    rig.ledger.recovery.begin()
    return rig


def check_found_again(rig: Rig) -> None:
    site = rig.site()
    fresh = Fresh(rig, site)
    fresh.look()
    assert site.fitness.fit
    assert rig.ledger.recovery.waiting_for() == []
    assert rig.engine.names() == {rig.replica()}
    rig.usher().finish()
    fresh.run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.engine.made == rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


@pytest.mark.parametrize("point", REPORT)
def test_killed_while_it_reports_a_node_belongs_to_the_ledger_all_the_same(
    restored_rig: Rig, point: str
) -> None:
    with pytest.raises(Killed):
        Allegiance(hooked_site(restored_rig, kill_at(point))).holds()
    check_found_again(restored_rig)


def test_a_report_whose_answer_is_lost_counts(restored_rig: Rig) -> None:
    site = restored_rig.site()
    report = site.ledger.recovery.report

    def unanswered(*args: Any) -> Any:
        report(*args)
        raise ConnectionError("lost")

    site.ledger.recovery.__dict__["report"] = unanswered
    with pytest.raises(ConnectionError):
        Allegiance(site).holds()
    check_found_again(restored_rig)


def test_an_identity_that_was_not_written_down_is_asked_for_again(
    restored_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Allegiance, "_remember", full)
        with pytest.raises(OSError, match="no space"):
            Allegiance(restored_rig.site()).holds()
    assert restored_rig.ledger.recovery.waiting_for() == [restored_rig.node]
    check_found_again(restored_rig)
