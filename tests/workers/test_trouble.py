"""What is nobody's fault in a job: the engine fails, Redis is away, things vanish."""

from dataclasses import replace

import pytest

from app.domain.job import Reason, State
from tests.workers.rig import Rig, runs, works
from workers import actions
from workers.engine import EngineTrouble, EngineUnavailable
from workers.fitness import FAILURES, Fitness

VERBS = ["image", "create", "start", "remove"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", VERBS)
def test_an_engine_that_does_not_answer_is_asked_again(rig: Rig, verb: str, after: bool) -> None:
    rig.engine.fail(verb, EngineUnavailable("no answer"), after=after, times=5)
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.job().attempt == 1
    assert rig.engine.made == rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


def test_an_engine_that_is_away_for_long_kills_no_job(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until_state(State.RUNNING)
    rig.engine.available = False
    for entry in site.roster.all():
        entry.container_gone = True
        entry.ring()
    rig.engine.wait_for_call("find", 5)
    assert rig.job().state is State.RUNNING
    rig.engine.available = True
    rig.usher().finish()
    task.answer()
    assert rig.fate() == ("succeeded", "exit_0")


@pytest.mark.parametrize("verb", ["image", "create", "start"])
def test_a_failing_engine_costs_no_attempt(
    rig: Rig, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig.engine.fail(verb, EngineTrouble("disk full"), times=3)
    rig.submit("j1")
    rig.submit("j2")
    assert rig.supervise("j1") is None
    job = rig.job("j1")
    assert (job.state, job.attempt) == (State.DISPATCHED, 1)  # in front of j2
    assert rig.job("j2").state is State.QUEUED
    assert [hint.id for hint in rig.published] == ["j1"]
    assert rig.engine.names() == set()
    assert rig.root.replicas() == []
    assert "another supervisor" not in caplog.text
    (earlier,) = rig.ledger.jobs.view(rig.uid, "j1").earlier
    assert (earlier.attempt, earlier.reason) == (1, Reason.ENGINE_LOST)
    assert "disk full" in earlier.detail

    rig.supervise("j1")
    assert rig.fate("j1") == ("succeeded", "exit_0")
    assert rig.job("j1").attempt == 1
    assert rig.engine.starts[rig.replica("j1")] == 1


def test_a_machine_whose_engine_fails_again_and_again_takes_no_more(rig: Rig) -> None:
    rig.engine.fail("create", EngineTrouble("disk full"), times=9)
    rig.submit("j1")
    site = replace(rig.site(), fitness=Fitness(lambda: 1000.0))  # its pause does not end
    for _ in range(FAILURES):
        rig.supervise("j1", site)
    assert "disk full" in site.fitness.problems()[0]
    made = rig.engine.calls.count("create")
    rig.supervise("j1", site)
    assert rig.engine.calls.count("create") == made
    assert rig.job("j1").state is State.DISPATCHED
    rig.supervise("j1")  # another machine
    assert rig.fate("j1") == ("succeeded", "exit_0")
    assert rig.job("j1").attempt == 1


def test_what_such_a_machine_has_already_it_goes_on_with(rig: Rig) -> None:
    rig.submit()
    rig.killed_at("after engine.start")
    rig.lapse()
    site = rig.site()
    site.fitness.stands("engine", "trouble")
    rig.supervise(site=site)
    assert rig.fate() == ("succeeded", "exit_0")


def test_a_start_that_works_clears_the_count(rig: Rig) -> None:
    site = rig.site()
    for _ in range(FAILURES - 1):
        site.fitness.failed("disk full")
    rig.submit()
    rig.supervise(site=site)
    site.fitness.failed("disk full")
    assert site.fitness.fit


def test_a_replica_that_was_started_unseen_is_not_given_up(rig: Rig) -> None:
    """The start worked, and was answered with a failure; so were the looks after it."""
    rig.script = runs
    rig.engine.fail("start", EngineTrouble("timeout"), after=True)
    rig.engine.fail("find", EngineTrouble("timeout"), times=5)
    rig.submit()
    task = rig.supervising()
    rig.until_state(State.RUNNING)
    rig.usher().finish()
    task.answer()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.engine.starts == {rig.replica(): 1}


def test_an_engine_that_goes_away_while_it_is_given_up_is_waited_for(rig: Rig) -> None:
    rig.engine.fail("create", EngineTrouble("disk full"), times=3)
    rig.engine.fail("find", EngineUnavailable("no answer"), times=3)
    rig.submit()
    rig.supervise()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()


def test_failures_that_are_not_in_a_row_do_not_add_up(rig: Rig) -> None:
    rig.engine.fail("image", EngineTrouble("disk full"), times=2)
    rig.engine.fail("create", EngineTrouble("disk full"), times=2)
    rig.engine.fail("start", EngineTrouble("disk full"), times=2)
    rig.submit()
    rig.supervise()
    assert rig.job().attempt == 1
    assert rig.fate() == ("succeeded", "exit_0")


def test_a_cancel_ends_a_job_whose_attempt_is_given_up(rig: Rig) -> None:
    rig.engine.fail("create", EngineTrouble("disk full"), times=3)
    rig.submit()

    def cancel(point: str) -> None:
        if point == "before attempts.requeue":
            rig.ledger.jobs.cancel(rig.uid, "j1", Reason.CANCELLED, "on request")

    done = rig.supervise(site=rig.site(cancel))
    assert rig.fate() == ("cancelled", "cancelled")
    assert done is not None
    assert done.state is State.CANCELLED
    rig.check_nothing_left()


# -- what vanishes -----------------------------------------------------------------------------


def test_a_spool_that_vanished_before_the_create_costs_an_attempt(rig: Rig) -> None:
    def remove(point: str) -> None:
        if point == "before engine.create":
            rig.root.attempt(rig.replica()).remove()

    rig.submit()
    assert rig.supervise(site=rig.site(remove)) is None
    assert rig.job().attempt == 2
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")


def test_a_container_that_vanished_before_its_start_costs_an_attempt(rig: Rig) -> None:
    def vanish(point: str) -> None:
        if point == "before engine.start":
            rig.engine.vanish(rig.replica())

    rig.submit()
    rig.supervise(site=rig.site(vanish))
    assert rig.job().attempt == 2
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")


def vanished(rig: Rig, state: State) -> None:
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until(lambda: rig.job().started_at and rig.job().state is state)
    rig.engine.vanish(rig.replica())
    for entry in site.roster.all():
        entry.container_gone = True
        entry.ring()
    task.answer()


def test_a_container_that_vanished_before_the_request_costs_an_attempt(rig: Rig) -> None:
    rig.script = lambda usher: usher.start()
    vanished(rig, State.STARTING)
    assert rig.job().attempt == 2
    rig.script = works
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()


def test_a_container_that_vanished_after_the_request_ends_the_job(rig: Rig) -> None:
    rig.script = runs
    vanished(rig, State.RUNNING)
    assert rig.fate() == ("failed", "engine_lost")
    rig.check_nothing_left()


def test_where_the_spool_went_too_nothing_is_known_and_nothing_sent_again(rig: Rig) -> None:
    rig.script = lambda usher: usher.start()
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until(lambda: rig.job().started_at)
    rig.root.attempt(rig.replica()).remove()
    rig.engine.vanish(rig.replica())
    for entry in site.roster.all():
        entry.container_gone = True
        entry.ring()
    task.answer()
    assert rig.fate() == ("failed", "engine_lost")
    assert rig.job().attempt == 1


def test_a_request_that_is_gone_ends_the_job(rig: Rig) -> None:
    rig.submit()
    rig.ledger.client.delete(f"onejob:payload:{rig.job().payload}")
    rig.supervise()
    assert rig.fate() == ("failed", "start_failed")
    assert "is gone" in (rig.job().detail or "")
    assert list(rig.root.attempts.iterdir()) == []  # no draft either
    rig.check_nothing_left()


def test_a_spec_that_is_gone_ends_the_job(rig: Rig) -> None:
    rig.submit()
    rig.ledger.client.delete(f"onejob:deployment:{rig.uid}:specs")
    rig.supervise()
    assert rig.fate() == ("cancelled", "deployment_deleted")
    rig.check_nothing_left()


def test_a_spec_that_went_while_it_ran_ends_the_job(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after engine.start")
    rig.ledger.client.delete(f"onejob:deployment:{rig.uid}:specs")
    rig.lapse()
    rig.supervise()
    assert rig.fate() == ("cancelled", "deployment_deleted")
    rig.check_nothing_left()


def test_a_fault_of_ours_ends_the_job_too(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(actions.harvest, "ending", broken)
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "engine_lost")
    assert "KeyError" in (rig.job().detail or "")
    assert "a fault of ours" in caplog.text
    rig.check_nothing_left()


def test_without_its_event_file_a_job_is_followed_by_the_slow_poll(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "POLL_SECONDS", 0.01)
    rig.script = lambda usher: (usher.start(), (usher.spool / "events").unlink())  # type: ignore[assignment,return-value]
    rig.submit()
    task = rig.supervising()
    rig.until(lambda: rig.job().started_at)
    rig.usher().send()
    rig.usher().finish()
    task.answer()
    assert rig.fate() == ("succeeded", "exit_0")
