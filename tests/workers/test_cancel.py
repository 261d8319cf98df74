"""A job that is ended by us: on request, or at its deadline."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.job import Reason, State
from tests.workers.rig import Gate, Rig, Usher, runs
from workers import actions


def cancel(rig: Rig, reason: Reason = Reason.CANCELLED) -> None:
    rig.ledger.jobs.cancel(rig.uid, "j1", reason, "on request")


@pytest.mark.parametrize("point", ["before engine.image", "before attempts.confirm"])
def test_a_cancel_before_the_container_is_made(rig: Rig, point: str) -> None:
    gate = Gate(point)
    rig.submit()
    task = rig.supervising(site=rig.site(gate))
    gate.wait()
    cancel(rig)
    gate.open()
    task.answer()
    assert rig.fate() == ("cancelled", "cancelled")
    assert rig.job().detail == "cancelled before it started"
    assert not rig.engine.made
    rig.check_nothing_left()


def test_a_cancel_between_create_and_start_starts_nothing(rig: Rig) -> None:
    rig.submit()
    gate = Gate("after engine.create")
    site = rig.site(gate)
    task = rig.supervising(site=site)
    gate.wait()
    site.roster.all()[0].cancel = Reason.PURGED
    gate.open()
    task.answer()
    assert rig.fate() == ("cancelled", "purged")
    assert not rig.engine.starts
    rig.check_nothing_left()


def stops(usher: Usher) -> None:
    """What the usher does at SIGTERM."""
    usher.tell("stopping why=signal health=healthy")
    usher.signalled(15)


def heed_cancel(rig: Rig, site: object) -> None:
    """The heartbeat's part."""
    for entry in site.roster.all():  # type: ignore[attr-defined]
        entry.cancel = rig.job().cancel
        entry.ring()


def cancel_while_it_runs(rig: Rig) -> None:
    """Submits a job, cancels it once it runs, and waits for its supervisor."""
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until_state(State.RUNNING)
    cancel(rig)
    heed_cancel(rig, site)
    task.answer()


@pytest.mark.parametrize("reason", [Reason.CANCELLED, Reason.DEPLOYMENT_DELETED])
def test_a_cancel_while_it_runs_stops_the_replica(rig: Rig, reason: Reason) -> None:
    rig.script = runs
    rig.engine.on_stop = lambda spec: stops(rig.ushers[spec.name])
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until_state(State.RUNNING)
    cancel(rig, reason)
    heed_cancel(rig, site)
    task.answer()
    assert rig.fate() == ("cancelled", str(reason))
    deleted = reason is Reason.DEPLOYMENT_DELETED
    expected = "its deployment was deleted" if deleted else "cancelled on request"
    assert rig.job().detail == expected
    rig.check_nothing_left()


def test_an_app_that_claims_to_be_stopping_is_cancelled_all_the_same(rig: Rig) -> None:
    def forges(usher: Usher) -> None:
        runs(usher)
        usher.tell("stopping why=deadline health=healthy")

    rig.script = forges
    cancel_while_it_runs(rig)
    assert "stop" in rig.engine.calls
    rig.check_nothing_left()


def test_an_usher_that_does_not_answer_is_killed_and_the_job_cancelled(rig: Rig) -> None:
    rig.script = runs  # and writes no word at SIGTERM
    cancel_while_it_runs(rig)
    assert rig.fate() == ("cancelled", "cancelled")


def test_an_app_that_ended_before_the_cancel_came_is_judged_by_its_own_end(rig: Rig) -> None:
    rig.script = runs
    rig.engine.on_stop = lambda spec: rig.ushers[spec.name].finish()
    cancel_while_it_runs(rig)
    assert rig.fate() == ("succeeded", "exit_0")


# -- the deadline, from outside ----------------------------------------------------------------


def test_a_replica_past_its_deadline_is_killed(rig: Rig) -> None:
    rig.script = runs
    started_at = datetime.now(UTC) - timedelta(seconds=61)
    rig.engine.now = lambda: started_at
    rig.submit()
    rig.killed_at("after engine.start")
    rig.lapse()
    rig.supervise()  # its usher never does anything about it
    assert rig.fate() == ("timed_out", "deadline")
    rig.check_nothing_left()


def test_a_container_that_does_not_die_is_not_killed_without_a_pause(rig: Rig) -> None:
    rig.script = runs
    started_at = datetime.now(UTC) - timedelta(seconds=61)
    rig.engine.now = lambda: started_at
    kills: list[float] = []

    def kill(_id: str) -> None:
        kills.append(time.monotonic())
        if len(kills) == 3:
            rig.engine.exit(rig.replica(), 137)

    rig.engine.__dict__["kill"] = kill
    rig.submit()
    rig.killed_at("after engine.start")
    rig.lapse()
    rig.supervise()
    assert len(kills) == 3
    assert kills[-1] - kills[0] >= actions.KILL_SECONDS  # of two pauses its bell may end one
    assert rig.engine.calls.count("find") <= len(kills) + 2
    assert rig.fate() == ("timed_out", "deadline")
