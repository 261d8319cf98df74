"""A supervisor that only slept, and was replaced: it does no harm when it wakes up."""

import logging
import threading

import pytest

from app.domain.job import State
from tests.workers.points import POINTS, check_done_by_the_second
from tests.workers.rig import BODY, HEAD, Background, Gate, Rig, runs
from workers.engine import EngineTrouble

SLEEPS = POINTS[: POINTS.index("before attempts.release") + 1]


@pytest.mark.parametrize("point", SLEEPS)
def test_who_wakes_up_late_does_nothing(
    rig: Rig, point: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    gate = Gate(point)
    rig.submit()
    sleeper = rig.supervising(site=rig.site(gate))
    gate.wait()
    rig.lapse()
    rig.supervise()
    check_done_by_the_second(rig)
    calls = len(rig.engine.calls)

    gate.open()
    told = sleeper.answer()
    assert told is None or told.state is State.SUCCEEDED
    # A start that it tries may be refused: there is no such container.
    assert not {"kill", "stop"} & set(rig.engine.calls[calls:])
    rig.upkeep().remove_dangling()  # a directory that it may have made anew
    check_done_by_the_second(rig)
    assert sum("another supervisor" in record.message for record in caplog.records) == 1


def wake_up_while_the_second_runs_it(rig: Rig, gate: Gate, sleeper: Background) -> None:
    """And the second one does not notice."""
    second = rig.supervising()
    rig.until_state(State.RUNNING)
    gate.open()
    assert sleeper.answer() is None
    assert rig.engine.names() == {rig.replica()}
    rig.usher().finish()
    second.answer()
    check_done_by_the_second(rig)


@pytest.mark.parametrize("point", ["after attempts.confirm", "after engine.create"])
def test_who_wakes_up_while_the_other_runs_the_replica_leaves_it_alone(
    rig: Rig, point: str
) -> None:
    rig.script = runs
    gate = Gate(point)
    rig.submit()
    sleeper = rig.supervising(site=rig.site(gate))
    gate.wait()
    rig.lapse()
    wake_up_while_the_second_runs_it(rig, gate, sleeper)


def test_a_sleeper_in_trouble_does_not_remove_the_others_container(rig: Rig) -> None:
    """Three failures make a supervisor give the attempt up: not where it lost it meanwhile."""
    rig.script = runs
    gate = Gate("third create")
    left = [3]

    def create(_spec: object) -> None:
        left[0] -= 1
        if not left[0]:
            gate("third create")
        raise EngineTrouble("disk full")

    rig.submit()
    failing = rig.site()
    failing.engine.__dict__["create"] = create
    sleeper = rig.supervising(site=failing)
    gate.wait()
    rig.lapse()
    wake_up_while_the_second_runs_it(rig, gate, sleeper)


def test_a_start_after_the_end_of_the_app_starts_no_second_one(rig: Rig) -> None:
    asks, ends = Gate("before engine.start"), Gate("before attempts.finish")
    rig.submit()
    sleeper = rig.supervising(site=rig.site(asks))
    asks.wait()
    rig.lapse()
    second = rig.supervising(site=rig.site(ends))
    ends.wait()
    asks.open()
    assert sleeper.answer() is None
    ends.open()
    second.answer()
    assert (rig.fate(), rig.result()) == (("succeeded", "exit_0"), (HEAD, BODY))
    assert (rig.engine.starts, rig.engine.apps) == ({rig.replica(): 2}, {rig.replica(): 1})
    rig.check_nothing_left()


@pytest.mark.parametrize("turn", range(10))
def test_two_supervisors_at_once_make_one_container_and_start_one_app(rig: Rig, turn: int) -> None:
    rig.submit()
    barrier = threading.Barrier(2)

    def together(point: str) -> None:
        if point == "before attempts.claim":
            barrier.wait(60)
        if point == f"before {('spool.prepare', 'engine.create', 'engine.start')[turn % 3]}":
            rig.lapse()

    runners = [rig.supervising(site=rig.site(together)) for _ in range(2)]
    for runner in runners:
        runner.answer()
    rig.lapse()
    rig.supervise()
    rig.upkeep().remove_dangling()
    assert rig.fate() == ("succeeded", "exit_0")
    # One that asked before the other's app had ended starts the container again, and no app.
    assert rig.engine.made == rig.engine.apps == {rig.replica(): 1}
    rig.check_nothing_left()
