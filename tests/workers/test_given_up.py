"""An attempt that is given up, and its worker killed at each step of that: what has to hold after.

The machine could not start it: it is made again under its number, uncounted. Its container vanished
before the request: it costs an attempt. In both cases nothing ran twice.
"""

import pytest

from app.domain.job import Reason, State
from tests.workers.alone import Fresh
from tests.workers.points import GIVEN_UP
from tests.workers.rig import Gate, Rig, kill_at, runs
from workers.engine import EngineTrouble

KEPT = ["before spool.keep_from_starting", "after spool.keep_from_starting"]
WITHOUT_CONTAINER = [point for point in GIVEN_UP if "engine.remove" not in point]


def reasons(rig: Rig) -> list[Reason]:
    return [earlier.reason for earlier in rig.ledger.jobs.view(rig.uid, "j1").earlier]


@pytest.mark.parametrize("point", [*KEPT, *GIVEN_UP])
def test_what_the_machine_could_not_start_costs_no_attempt(rig: Rig, point: str) -> None:
    rig.engine.fail("start", EngineTrouble("busy"), times=3)
    rig.submit()
    rig.killed_at(point)
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.job().attempt == 1
    assert set(reasons(rig)) <= {Reason.ENGINE_LOST}
    assert len(reasons(rig)) <= 1
    assert rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


@pytest.mark.parametrize("point", [*KEPT, *WITHOUT_CONTAINER])
def test_nor_does_what_it_could_not_even_create(rig: Rig, point: str) -> None:
    rig.engine.fail("create", EngineTrouble("disk full"), times=3)
    rig.submit()
    rig.killed_at(point)
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.job().attempt == 1
    assert rig.engine.made == rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


def test_a_worker_that_stops_before_it_gave_an_attempt_up_leaves_that_to_the_next(
    rig: Rig,
) -> None:
    rig.engine.fail("start", EngineTrouble("busy"), times=3)
    gate = Gate("after spool.keep_from_starting")
    rig.submit()
    site = rig.site(gate)
    task = rig.supervising(site=site)
    gate.wait()
    site.roster.stop()
    gate.open()
    assert task.answer() is None
    assert rig.job().abandoned is None
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.job().attempt == 1


@pytest.mark.parametrize("point", WITHOUT_CONTAINER)
def test_what_vanished_before_its_request_costs_one_attempt(rig: Rig, point: str) -> None:
    kill = kill_at(point)

    def vanish_once(passed: str) -> None:
        if passed == "before engine.start" and rig.job().attempt == 1:
            rig.engine.vanish(rig.replica())
        kill(passed)

    rig.submit()
    with pytest.raises(BaseException, match=point):
        rig.supervise(site=rig.site(vanish_once))
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    # Who died before it said so has left nothing but the directory: it is made anew.
    assert rig.job().attempt == (1 if point == "before attempts.abandon" else 2)
    assert sum(rig.engine.starts.values()) == 1
    rig.check_nothing_left()


@pytest.mark.parametrize("removes_events", [False, True])
def test_an_app_that_takes_its_marker_for_ours_gains_nothing(
    rig: Rig, removes_events: bool
) -> None:
    """It may write what it likes there. Its request was sent: it is not made again."""
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)
    marker = rig.usher().spool / "started"
    marker.unlink()
    marker.symlink_to("kept")
    if removes_events:
        (rig.usher().spool / "events").unlink()
    rig.usher().finish()
    Fresh(rig).run()
    assert rig.job().state.final
    assert rig.engine.made == rig.engine.starts == {rig.replica(): 1}


def test_a_sleepers_late_start_of_what_was_given_up_runs_nothing(rig: Rig) -> None:
    rig.engine.fail("start", EngineTrouble("busy"), times=3)
    rig.submit()

    def start_late(point: str) -> None:
        if point == "before engine.remove":
            container = rig.engine.find(rig.replica())
            assert container is not None
            rig.engine.start(container.id)

    rig.supervise(site=rig.site(start_late))
    assert (rig.engine.starts, rig.engine.apps) == ({rig.replica(): 1}, {})
    assert rig.job().state is State.DISPATCHED
