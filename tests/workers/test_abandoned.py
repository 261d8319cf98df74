"""Nobody is left who knows of a job: for each state that is not the last, who moves it on.

By the text in `app.domain.job`: a worker that begins now, by its sweep and its upkeep alone.
"""

from pathlib import Path
from typing import Any

import pytest

from app.domain.job import Reason, State
from tests.workers.alone import Fresh, elsewhere
from tests.workers.rig import Rig, runs
from tests.workers.test_dangling import overdue
from tests.workers.test_lost_nodes import SECONDS, silent
from workers.engine import EngineTrouble


def outlive_ttl(rig: Rig, job_id: str) -> None:
    client, ref = rig.ledger.client, f"{rig.uid}/{job_id}"
    client.hset(f"onejob:job:{rig.uid}:{job_id}", "expires_at", "1000000000.000000")
    client.zadd("onejob:due:ttl", {ref: 1}, xx=True)


def running(rig: Rig, job_id: str = "j1") -> None:
    """It got its request, and runs on; its worker is gone."""
    rig.script = runs
    rig.submit(job_id)
    rig.killed_at("after attempts.advance", job_id, time=2)


# -- queued ------------------------------------------------------------------------------------


def test_a_queued_job_whose_admission_stopped_half_way_is_admitted(rig: Rig) -> None:
    """A hundred before it were past their TTL: as many as one admission looks at."""
    rig.submit("first")
    for number in range(100):
        rig.submit(f"late{number}")
        key = f"onejob:job:{rig.uid}:late{number}"
        rig.ledger.client.hset(key, "expires_at", "1000000000.000000")
    rig.submit("j1")
    rig.killed_at("after attempts.release", "first")
    assert rig.job().state is State.QUEUED
    assert rig.slots() == set()
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.fate("late99") == ("expired", "queue_ttl")
    rig.check_nothing_left()


def test_a_queued_job_past_its_ttl_expires(rig: Rig) -> None:
    running(rig, "first")
    rig.submit("j1")
    outlive_ttl(rig, "j1")
    fresh = Fresh(rig)
    fresh.sweep.sweep(1000.0)
    assert rig.fate() == ("expired", "queue_ttl")
    assert rig.job("first").state is State.RUNNING


def test_a_queued_job_gets_the_slot_of_one_that_nobody_tears_down(rig: Rig) -> None:
    rig.submit("first")
    rig.submit("j1")
    rig.killed_at("after attempts.finish", "first")
    assert rig.job().state is State.QUEUED
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()


# -- dispatched --------------------------------------------------------------------------------


def test_a_dispatched_job_whose_hint_was_lost_is_hinted_at_again(rig: Rig) -> None:
    rig.submit()
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()


def test_a_dispatched_job_past_its_ttl_expires_and_makes_room(rig: Rig) -> None:
    rig.submit("j1")
    rig.submit("j2")
    outlive_ttl(rig, "j1")
    Fresh(rig).run()
    assert rig.fate("j1") == ("expired", "queue_ttl")
    assert rig.fate("j2") == ("succeeded", "exit_0")
    rig.check_nothing_left()


def test_a_dispatched_job_of_a_paused_deployment_waits_and_goes_on_with_it(rig: Rig) -> None:
    rig.submit()
    rig.ledger.deployments.pause(rig.uid)
    fresh = Fresh(rig)
    fresh.run()
    assert rig.job().state is State.QUEUED
    assert rig.slots() == set()
    rig.ledger.deployments.resume(rig.uid)  # and its hint is lost
    fresh.run()
    assert rig.fate() == ("succeeded", "exit_0")


# -- starting and running ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "point",
    ["after attempts.claim", "after spool.prepare", "after engine.create", "after engine.start"],
)
def test_a_starting_job_is_gone_on_with_by_a_worker_of_its_node(rig: Rig, point: str) -> None:
    rig.submit()
    rig.killed_at(point)
    assert rig.job().state is State.STARTING
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


def test_a_running_job_is_collected_by_a_worker_of_its_node(rig: Rig) -> None:
    running(rig)
    rig.usher().finish()
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()


def test_a_running_job_is_ended_at_its_deadline_though_its_usher_does_nothing(rig: Rig) -> None:
    overdue(rig, 1.5)
    Fresh(rig).run()
    assert rig.fate() == ("timed_out", "deadline")
    rig.check_nothing_left()


def test_a_cancel_of_a_running_job_is_carried_out_by_a_worker_of_its_node(rig: Rig) -> None:
    running(rig)
    rig.engine.on_stop = lambda spec: rig.ushers[spec.name].tell("stopping why=signal")
    rig.ledger.jobs.cancel(rig.uid, "j1", Reason.CANCELLED, "on request")
    Fresh(rig).run()
    assert rig.fate() == ("cancelled", "cancelled")
    rig.check_nothing_left()


@pytest.mark.parametrize("point", ["after attempts.claim", "after engine.start"])
def test_the_job_of_a_machine_that_is_gone_is_ended_by_another_one(
    rig: Rig, tmp_path: Path, point: str
) -> None:
    rig.script = runs
    rig.submit("j1")
    rig.submit("j2")
    rig.killed_at(point, "j1")
    silent(rig)
    other = Fresh(rig, elsewhere(rig, tmp_path / "elsewhere"))
    for _ in range(SECONDS + 1):
        other.look()
    assert rig.fate("j1") == ("failed", "node_lost")
    assert rig.job("j2").state is State.QUEUED  # the slot is the stray's

    for member in rig.ledger.client.zrange("onejob:due:strays", 0, -1):
        rig.ledger.client.zadd("onejob:due:strays", {member: 1})  # its deadline has passed
    other.look()
    assert rig.job("j2").state is State.DISPATCHED
    assert [hint.id for hint in other.hints] == ["j2"]


def test_what_an_earlier_worker_gave_up_is_queued_again(rig: Rig) -> None:
    rig.engine.fail("start", EngineTrouble("busy"), times=3)
    rig.submit()
    rig.killed_at("after attempts.abandon")
    assert rig.job().abandoned is Reason.ENGINE_LOST
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.job().attempt == 1
    rig.check_nothing_left()


# -- final, and not yet torn down --------------------------------------------------------------


@pytest.mark.parametrize("point", ["after attempts.finish", "after engine.remove"])
def test_what_is_left_of_a_final_job_is_removed_and_its_slot_freed(rig: Rig, point: str) -> None:
    rig.submit()
    rig.killed_at(point)
    assert rig.slots() == {b"j1"}
    Fresh(rig).run()
    rig.check_nothing_left()
    assert rig.events()[-1] == "released"


def test_a_deployment_that_is_being_deleted_goes_whatever_its_jobs_were_doing(wide: Rig) -> None:
    rig = wide
    for job_id, point in {
        "claimed": "after attempts.claim",
        "made": "after engine.create",
        "started": "after engine.start",
        "ended": "after attempts.finish",
    }.items():
        rig.submit(job_id)
        rig.killed_at(point, job_id)
    running(rig, "running")
    rig.engine.on_stop = lambda spec: rig.ushers[spec.name].tell("stopping why=signal")
    for number in range(10):
        rig.submit(f"waits{number}")
    rig.ledger.deployments.terminate("dep")
    Fresh(rig).run()
    rig.check_nothing_left()
    keys: Any = rig.ledger.client.keys("onejob:*")
    of_it = [key for key in keys if rig.uid.encode() in key]
    assert of_it == []
    assert rig.ledger.deployments.list() == []
