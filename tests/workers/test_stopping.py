"""A worker that goes away: its jobs go on without it, or its replicas go with it."""

import pytest

from app.domain.job import Reason, State
from tests.workers.rig import Gate, Rig, Usher, runs, works
from workers import wishes
from workers.engine import EngineUnavailable
from workers.site import Site


def lapsed(rig: Rig) -> list[str]:
    return [hint.id for hint in rig.ledger.attempts.lapsed(rig.node, "no-queue")]


def stops(usher: Usher) -> None:
    usher.tell("stopping why=signal health=healthy")
    usher.signalled(15)


@pytest.fixture
def owning(rig: Rig) -> Site:
    """A worker that takes its replicas along, as `scripts/run` has it."""
    rig.engine.on_stop = lambda spec: stops(rig.ushers[spec.name])
    return rig.site(own_replicas=True)


def test_a_running_job_is_let_go_at_once_and_goes_on(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until_state(State.RUNNING)
    site.roster.stop()
    assert task.answer() is None
    assert rig.engine.names() == {rig.replica()}
    assert lapsed(rig) == ["j1"]  # no need to wait for the end of the lease
    second = rig.supervising()
    rig.until(lambda: rig.job().fence == 2)
    rig.usher().finish()
    second.answer()
    assert rig.fate() == ("succeeded", "exit_0")


@pytest.mark.parametrize(
    "point", ["after attempts.claim", "after engine.image", "after engine.create"]
)
def test_a_starting_job_is_let_go_at_the_next_step(rig: Rig, point: str) -> None:
    gate = Gate(point)
    rig.submit()
    site = rig.site(gate)
    task = rig.supervising(site=site)
    gate.wait()
    site.roster.stop()
    gate.open()
    assert task.answer() is None
    assert lapsed(rig) == ["j1"]
    assert rig.job().state is State.STARTING
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")


def test_a_job_that_waits_for_the_engine_is_let_go(rig: Rig) -> None:
    rig.engine.fail("create", EngineUnavailable("no answer"), times=10_000)
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.engine.wait_for_call("create", 3)
    site.roster.stop()
    assert task.answer() is None
    assert lapsed(rig) == ["j1"]


def test_a_job_that_is_torn_down_is_torn_down_to_the_end(rig: Rig) -> None:
    gate = Gate("before engine.remove")
    rig.submit()
    site = rig.site(gate)
    task = rig.supervising(site=site)
    gate.wait()
    site.roster.stop()
    gate.open()
    assert task.answer() is not None
    rig.check_nothing_left()


def test_a_job_whose_removal_fails_is_let_go(rig: Rig) -> None:
    rig.engine.fail("remove", EngineUnavailable("no answer"), times=10_000)
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.engine.wait_for_call("remove", 2)
    site.roster.stop()
    assert task.answer() is not None  # it is over all the same
    assert lapsed(rig) == ["j1"]


def test_a_worker_that_stops_claims_nothing(rig: Rig) -> None:
    rig.submit()
    site = rig.site()
    site.roster.stop()
    assert rig.supervise(site=site) is None
    assert rig.job().state is State.DISPATCHED


# -- with its replicas -------------------------------------------------------------------------


def test_a_job_whose_request_was_sent_is_cancelled_with_its_replica(rig: Rig, owning: Site) -> None:
    rig.script = runs
    rig.submit()
    task = rig.supervising(site=owning)
    rig.until_state(State.RUNNING)
    owning.roster.stop()
    task.answer()
    assert rig.fate() == ("cancelled", "cancelled")
    assert rig.job().detail == wishes.STOPPED_DETAIL
    rig.check_nothing_left()


def test_a_job_whose_request_was_not_sent_is_queued_again(rig: Rig, owning: Site) -> None:
    rig.script = lambda usher: usher.start()
    rig.submit()
    task = rig.supervising(site=owning)
    rig.until(lambda: rig.job().started_at)
    owning.roster.stop()
    assert task.answer() is None
    assert (rig.job().state, rig.job().attempt) == (State.DISPATCHED, 2)
    assert rig.engine.names() == set()
    rig.script = works
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")


@pytest.mark.parametrize("point", ["after attempts.claim", "after engine.image"])
def test_a_job_without_a_container_waits_for_the_next_start(
    rig: Rig, owning: Site, point: str
) -> None:
    gate = Gate(point)
    rig.submit()
    site = rig.site(gate, own_replicas=True)
    task = rig.supervising(site=site)
    gate.wait()
    site.roster.stop()
    gate.open()
    assert task.answer() is None
    assert rig.job().state is State.STARTING
    assert lapsed(rig) == ["j1"]
    assert not rig.engine.made
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")


def test_a_created_container_is_not_started_any_more(rig: Rig) -> None:
    gate = Gate("after engine.create")
    rig.submit()
    site = rig.site(gate, own_replicas=True)
    task = rig.supervising(site=site)
    gate.wait()
    site.roster.stop()
    gate.open()
    task.answer()
    assert not rig.engine.starts
    assert rig.engine.names() == set()
    assert (rig.job().state, rig.job().attempt) == (State.DISPATCHED, 1)


def test_at_the_last_attempt_it_is_cancelled(rig: Rig) -> None:
    rig.script = lambda usher: usher.start()
    rig.submit()
    site = rig.site(own_replicas=True, max_attempts=1)
    task = rig.supervising(site=site)
    rig.until(lambda: rig.job().started_at)
    site.roster.stop()
    task.answer()
    assert rig.fate() == ("cancelled", "cancelled")
    rig.check_nothing_left()


def test_a_cancel_before_the_stop_stays_a_cancel(rig: Rig, owning: Site) -> None:
    rig.script = lambda usher: usher.start()
    rig.submit()
    task = rig.supervising(site=owning)
    rig.until(lambda: rig.job().started_at)
    rig.ledger.jobs.cancel(rig.uid, "j1", Reason.PURGED, "on request")
    owning.roster.stop()
    done = task.answer()
    assert rig.fate() == ("cancelled", "purged")
    assert done is not None
    rig.check_nothing_left()
