"""The pulse: leases renewed, supervisors told, the node announced; and the roster it goes by."""

import threading

import pytest
import redis

from app.domain.job import Reason, State
from app.ledger.attempts import Grip
from tests.workers.rig import Gate, Rig, runs
from workers.engine import EngineUnavailable
from workers.heartbeat import ANNOUNCE_SECONDS, Heartbeat, Periodic
from workers.roster import Roster


@pytest.fixture
def running(rig: Rig) -> Rig:
    rig.script = runs
    rig.submit()
    return rig


def lease_end(rig: Rig) -> float:
    score = rig.ledger.client.zscore(f"onejob:node:{rig.node}:leases", f"{rig.uid}/j1")
    assert isinstance(score, float)
    return score


def test_leases_are_renewed(running: Rig) -> None:
    site = running.site()
    task = running.supervising(site=site)
    running.until_state(State.RUNNING)
    running.lapse()
    Heartbeat(site).beat(0)
    assert running.ledger.attempts.lapsed(running.node, "no-queue") == []
    assert lease_end(running) > 1_600_000_000
    running.usher().finish()
    task.answer()


def test_who_lost_its_attempt_is_told_and_lets_go(running: Rig) -> None:
    site = running.site()
    task = running.supervising(site=site)
    running.until_state(State.RUNNING)
    running.lapse()
    second = running.supervising()  # another process: it has a roster of its own
    running.until(lambda: running.job().fence == 2)
    Heartbeat(site).beat(0)
    assert task.answer() is None
    running.usher().finish()
    second.answer()


def test_a_cancel_reaches_the_supervisor(running: Rig) -> None:
    site = running.site()
    task = running.supervising(site=site)
    running.until_state(State.RUNNING)
    running.ledger.jobs.cancel(running.uid, "j1", Reason.PURGED, "on request")
    Heartbeat(site).beat(0)
    task.answer()
    assert running.fate() == ("cancelled", "purged")


def test_a_reason_of_a_newer_version_does_not_stop_the_pulse(running: Rig) -> None:
    site = running.site()
    task = running.supervising(site=site)
    running.until_state(State.RUNNING)
    (attention,) = site.roster.all()
    site.ledger.attempts.__dict__["renew"] = lambda *_: ["boredom"]
    Heartbeat(site).beat(0)
    assert attention.cancel is Reason.CANCELLED
    task.answer()


def test_the_node_is_announced_now_and_then(rig: Rig) -> None:
    heartbeat = Heartbeat(rig.site())
    heartbeat.beat(1000)
    assert list(rig.ledger.nodes.compute()) == ["cpu"]
    rig.ledger.client.delete("onejob:nodes")
    heartbeat.beat(1000 + ANNOUNCE_SECONDS / 2)
    assert rig.ledger.nodes.alive() == []
    heartbeat.beat(1000 + ANNOUNCE_SECONDS)
    assert len(rig.ledger.nodes.alive()) == 1


def test_leases_are_renewed_before_anything_else(running: Rig) -> None:
    site = running.site()
    task = running.supervising(site=site)
    running.until_state(State.RUNNING)
    running.lapse()
    site.ledger.nodes = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        Heartbeat(site).beat(0)
    assert lease_end(running) > 1_600_000_000
    running.usher().finish()
    task.answer()


# -- the listing -------------------------------------------------------------------------------


def test_the_listing_rings_where_a_container_runs_no_more(running: Rig) -> None:
    site = running.site()
    task = running.supervising(site=site)
    running.until_state(State.RUNNING)
    running.engine.exit(running.replica(), 137)
    Heartbeat(site).list(0)
    task.answer()
    assert running.fate() == ("failed", "signalled")


def test_the_listing_does_not_disturb_a_job_that_has_no_container_yet(running: Rig) -> None:
    gate = Gate("after engine.image")
    site = running.site(gate)
    task = running.supervising(site=site)
    gate.wait()
    Heartbeat(site).list(0)
    [attention] = site.roster.all()
    assert not attention.container_gone
    assert not attention.bell.is_set()
    gate.open()
    running.until_state(State.RUNNING)
    finds = running.engine.calls.count("find")
    Heartbeat(site).list(0)  # and one that runs is left alone as well
    assert running.engine.calls.count("find") == finds
    running.usher().finish()
    task.answer()


def test_without_attempts_the_engine_is_not_asked(rig: Rig) -> None:
    Heartbeat(rig.site()).list(0)
    assert rig.engine.calls == []


# -- the threads -------------------------------------------------------------------------------


def test_a_failing_step_is_told_once_and_done_again(caplog: pytest.LogCaptureFixture) -> None:
    enough = threading.Event()
    errors: list[Exception] = [redis.ConnectionError("away")] * 3
    errors += [EngineUnavailable("no answer"), ValueError("a bug")]
    left = iter(errors)

    def step(_now: float) -> None:
        error = next(left, None)
        if error is None:
            enough.set()
            return
        raise error

    thread = Periodic("pulse", 0.001, step)
    thread.start()
    assert enough.wait(60)
    thread.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert caplog.text.count("away") == 1
    assert caplog.text.count("no answer") == 1
    assert "a bug" in caplog.text


def test_a_stop_does_not_wait_for_a_step_that_hangs() -> None:
    hangs, begun = threading.Event(), threading.Event()

    def step(_now: float) -> None:
        begun.set()
        hangs.wait(60)

    thread = Periodic("pulse", 1, step)
    thread.start()
    assert begun.wait(60)
    thread.stop()
    assert thread.is_alive()
    hangs.set()
    thread.join(60)


# -- the roster --------------------------------------------------------------------------------


def test_the_roster_has_who_is_inside() -> None:
    roster, grip = Roster(), Grip("u", "j", 1, 1)
    with roster.enter(grip, "r") as attention:
        assert roster.all() == [attention]
        assert not attention.stopping
    assert roster.all() == []


@pytest.mark.parametrize("late", [False, True])
def test_of_two_with_one_attempt_the_lower_fence_has_lost_it(late: bool) -> None:
    roster = Roster()
    grips = [Grip("u", "j", 1, 1), Grip("u", "j", 1, 2)]
    with (
        roster.enter(grips[late], "r") as first,
        roster.enter(grips[not late], "r") as second,
    ):
        low, high = (second, first) if late else (first, second)
        assert low.lost
        assert low.bell.is_set()
        assert not high.lost
        assert roster.all() == [high]
    assert roster.all() == []


def test_a_stop_reaches_all_and_those_who_come_later() -> None:
    roster = Roster()
    with roster.enter(Grip("u", "a", 1, 1), "r") as early:
        roster.stop()
        assert early.stopping
        assert early.bell.is_set()
        with roster.enter(Grip("u", "b", 1, 1), "r") as late:
            assert late.stopping


def test_a_ring_before_the_wait_is_not_lost() -> None:
    roster = Roster()
    with roster.enter(Grip("u", "a", 1, 1), "r") as attention:
        attention.ring()
        attention.wait(10)  # returns at once
        assert not attention.bell.is_set()
