"""Promises, "Where it can break": a supervisor dies at each point, and another one moves on."""

import pytest

from app.domain.job import State
from tests.workers.points import POINTS, check_done_by_the_second
from tests.workers.rig import BODY, HEAD, Gate, Killed, Rig, kill_at, runs, works
from workers import actions


@pytest.mark.parametrize("point", POINTS)
def test_who_takes_over_goes_on_where_the_first_was_killed(rig: Rig, point: str) -> None:
    rig.submit()
    rig.killed_at(point)
    assert rig.supervise() is None or rig.job().state.final  # its lease is good: not ours to do
    assert rig.job().fence == 1

    rig.lapse()
    rig.sweep().take_over()
    assert [hint.id for hint in rig.to_node_published] == ["j1"]
    done = rig.supervise()
    assert done is not None
    assert done.state is State.SUCCEEDED
    check_done_by_the_second(rig)


@pytest.mark.parametrize("advance", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_job_runs_on_while_nobody_supervises_it(rig: Rig, when: str, advance: int) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at(f"{when} attempts.advance", time=advance)
    rig.usher().finish()  # no worker is needed for that

    rig.lapse()
    rig.supervise()
    check_done_by_the_second(rig)


def test_a_running_job_is_followed_by_who_takes_over(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)
    started_at = rig.job().started_at

    rig.lapse()
    second = rig.supervising()
    rig.until(lambda: rig.job().fence == 2)
    assert rig.job().state is State.RUNNING
    rig.usher().finish()
    second.answer()
    assert rig.job().started_at == started_at  # the deadline counts from the replica's start
    check_done_by_the_second(rig)


def test_a_container_that_was_started_unnoticed_counts_from_its_start(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after engine.start")
    container = rig.engine.find(rig.replica())
    assert container is not None

    rig.lapse()
    second = rig.supervising()
    rig.until_state(State.RUNNING)
    assert rig.job().started_at == container.started_at
    rig.usher().finish()
    second.answer()


def test_killed_again_and_again_it_still_runs_once(rig: Rig) -> None:
    rig.submit()
    for point in POINTS:
        try:
            rig.supervise(site=rig.site(kill_at(point)))
        except Killed:
            rig.lapse()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.result() == (HEAD, BODY)
    assert rig.engine.made == rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


def test_after_the_release_the_sweep_hints_at_the_next_job(rig: Rig) -> None:
    rig.submit("j1")
    rig.submit("j2")
    rig.killed_at("after attempts.release", "j1")
    assert rig.job("j2").state is State.DISPATCHED
    assert rig.published == []
    rig.ledger.client.zadd("onejob:due:hints:cpu", {f"{rig.uid}/j2": 0}, xx=True)
    rig.sweep().republish()
    assert [hint.id for hint in rig.published] == ["j2"]


def test_what_a_killed_worker_left_of_a_directory_does_not_hinder(rig: Rig) -> None:
    rig.submit()
    rig.killed_at("after payloads.read")
    assert [path.name[0] for path in rig.root.attempts.iterdir()] == ["."]
    rig.lapse()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")


def test_the_order_makes_a_sleeper_harmless(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "FRESH_SECONDS", 600)  # who is slow confirms once more
    passed: list[str] = []
    rig.submit()
    rig.supervise(site=rig.site(passed.append))
    order = [
        "after spool.prepare",
        "after attempts.confirm",
        "before engine.create",
        "before engine.start",
        "before attempts.finish",
        "before engine.remove",
        "after engine.remove",
        "before spool.remove",
        "after spool.remove",
        "before attempts.release",
    ]
    assert [point for point in passed if point in order] == order


def test_a_job_in_its_last_steps_takes_its_answer_from_the_record(rig: Rig) -> None:
    rig.submit()
    gate = Gate("before engine.remove")
    first = rig.supervising(site=rig.site(gate))
    gate.wait()
    job = rig.supervise()  # a second hint, while the first tears down
    assert job is not None
    assert job.state is State.SUCCEEDED
    gate.open()
    first.answer()
    rig.check_nothing_left()


def test_a_job_is_noted_as_started_once_when_it_runs_already(rig: Rig) -> None:
    """Whoever notes it takes his time: it comes after what the job waits for."""
    rig.script = runs
    rig.submit()
    noted: list[list[str]] = []

    def note() -> None:
        noted.append(rig.engine.calls.copy())
        rig.usher().finish()

    rig.supervise(note_started=note)
    assert noted == [["image", "create", "start"]]
    assert rig.fate() == ("succeeded", "exit_0")


def test_works_is_over_before_start_returns(rig: Rig) -> None:
    rig.script = works
    rig.submit()
    job = rig.supervise()
    assert job is not None
    assert (job.state, job.fence) == (State.SUCCEEDED, 1)
    assert rig.engine.calls == ["image", "create", "start", "wait", "logs", "remove"]
