"""A revoked task is a cancelled job, wherever it stands."""

import pytest
from celery.utils.collections import LimitedSet

from app.domain.job import Reason, State
from tests.workers.rig import Rig, runs
from workers.engine import ContainerSpec
from workers.heartbeat import Heartbeat
from workers.pool import Pool, Running
from workers.revokes import Revokes


@pytest.fixture
def revoked() -> LimitedSet:
    """Celery's set of revoked ids."""
    return LimitedSet()


def test_a_dispatched_job_is_cancelled_and_its_slot_handed_on(
    rig: Rig, revoked: LimitedSet
) -> None:
    rig.submit("j1")
    rig.submit("j2")
    revoked.add("dep.j1")
    Revokes(rig.site(), revoked).heed(0)
    assert rig.fate("j1") == ("cancelled", "cancelled")
    assert rig.job("j1").detail == "its task was revoked"
    assert rig.job("j2").state is State.DISPATCHED
    assert [hint.id for hint in rig.published] == ["j2"]


def test_a_waiting_job_is_cancelled(rig: Rig, revoked: LimitedSet) -> None:
    rig.submit("j1")
    rig.submit("j2")
    revoked.add("dep.j2")
    Revokes(rig.site(), revoked).heed(0)
    assert rig.fate("j2") == ("cancelled", "cancelled")


def test_a_running_job_is_told_to_end(rig: Rig, revoked: LimitedSet) -> None:
    def stops(spec: ContainerSpec) -> None:
        usher = rig.ushers[spec.name]
        usher.tell("stopping why=signal health=healthy")
        usher.signalled(15)

    rig.script = runs
    rig.engine.on_stop = stops
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until_state(State.RUNNING)
    revoked.add("dep.j1")
    Revokes(site, revoked).heed(0)
    assert rig.job().cancel is Reason.CANCELLED
    Heartbeat(site).beat(0)
    job = task.answer()
    assert job is not None
    assert job.state is State.CANCELLED
    rig.check_nothing_left()


def test_a_job_that_is_over_stays_as_it_is(rig: Rig, revoked: LimitedSet) -> None:
    rig.submit()
    rig.supervise()
    revoked.add("dep.j1")
    Revokes(rig.site(), revoked).heed(0)
    assert rig.fate() == ("succeeded", "exit_0")


def test_a_revoke_is_forgotten_once_it_is_heeded(rig: Rig, revoked: LimitedSet) -> None:
    rig.submit()
    for task_id in ("dep.j1", "dep.unknown", "unknown.j1", "nonsense"):
        revoked.add(task_id)
    Revokes(rig.site(), revoked).heed(0)
    # Else Celery would skip the message of a job that is made again under the same names.
    assert len(revoked) == 0


def test_a_job_id_may_have_dots(rig: Rig, revoked: LimitedSet) -> None:
    rig.submit("a.b.c")
    revoked.add("dep.a.b.c")
    Revokes(rig.site(), revoked).heed(0)
    assert rig.fate("a.b.c") == ("cancelled", "cancelled")


def test_the_pool_takes_a_terminate_for_what_it_is() -> None:
    pool = Pool(limit=1)
    running = pool.on_apply(lambda *_: None, (), {}, None, lambda *_: None)
    assert isinstance(running, Running)
    running.terminate(15)
    pool.terminate_job(1, 15)
    pool.on_stop()
