"""An engine that hangs, or fails at all, while its worker is well: no job waits for it for ever."""

import pytest

from app.domain.job import Reason, State
from tests.ledger.scene import PAST
from tests.workers.rig import BODY, HEAD, Rig, runs
from workers.engine import EngineError, EngineTrouble, EngineUnavailable

ALWAYS = 10_000
HANGS = pytest.mark.parametrize("error", [EngineUnavailable("hangs"), EngineTrouble("corrupt")])


@pytest.fixture(autouse=True)
def at_once(rig: Rig) -> None:
    """The node timeout is over with the second failure."""
    rig.settings = rig.settings.model_copy(update={"node_timeout_seconds": 0.001})


def hang(rig: Rig, point: str, error: EngineError) -> None:
    """From there on every call of the engine fails."""

    def hook(passed: str) -> None:
        if passed == point:
            for verb in ("image", "create", "start", "find", "stop", "kill", "wait", "logs"):
                rig.engine.fail(verb, error, times=ALWAYS)
            rig.engine.fail("remove", error, times=ALWAYS)

    rig.supervise(site=rig.site(hook))


def mend(rig: Rig) -> None:
    rig.engine._faults.clear()


def outlive_deadline(rig: Rig, job_id: str = "j1") -> None:
    """Deadline and grace of a started job are over, by its record and by Redis."""
    key = f"onejob:job:{rig.uid}:{job_id}"
    rig.ledger.client.hset(key, mapping={"started_at": PAST, "deadline_at": PAST + 60})
    rig.ledger.client.zadd("onejob:due:deadlines", {f"{rig.uid}/{job_id}": PAST + 60})


def running_unwatched(rig: Rig) -> None:
    """A job that has its request, and no supervisor; and one behind it."""
    rig.script = runs
    rig.submit("j1")
    rig.submit("j2")
    rig.killed_at("after attempts.advance", "j1", time=2)
    rig.lapse("j1")


# -- what was not started ----------------------------------------------------------------------


@HANGS
@pytest.mark.parametrize(
    "point", ["before engine.image", "before engine.create", "before engine.start"]
)
def test_what_was_never_started_is_for_another_machine(
    rig: Rig, point: str, error: EngineError
) -> None:
    rig.submit()
    hang(rig, point, error)
    job = rig.job()
    assert (job.state, job.node) == (State.DISPATCHED, None)
    assert str(error) in rig.ledger.jobs.view(rig.uid, "j1").earlier[0].detail
    mend(rig)
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    assert sum(rig.engine.starts.values()) == 1
    rig.upkeep().step(0)  # of the first attempt
    rig.check_nothing_left()


def test_what_it_left_there_is_never_taken_for_the_next_attempts(rig: Rig) -> None:
    rig.submit()
    hang(rig, "before engine.start", EngineUnavailable("hangs"))
    assert rig.engine.names() == {rig.replica(attempt=1)}
    assert rig.job().attempt == 2
    mend(rig)
    assert [c.name for c in rig.upkeep().dangling_containers()] == [rig.replica(attempt=1)]


def test_its_ttl_bounds_how_often_that_happens(rig: Rig) -> None:
    rig.submit()
    expires_at = rig.job().expires_at
    hang(rig, "before engine.start", EngineUnavailable("hangs"))
    assert rig.job().expires_at == expires_at


def test_a_cancel_ends_it(rig: Rig) -> None:
    rig.submit()

    def cancel(point: str) -> None:
        if point == "before engine.create":
            rig.ledger.jobs.cancel(rig.uid, "j1", Reason.CANCELLED, "on request")
            rig.engine.available = False

    done = rig.supervise(site=rig.site(cancel))
    assert done is not None
    assert rig.fate() == ("cancelled", "cancelled")
    assert rig.job().teardown is None
    assert rig.slots() == set()


def test_such_a_machine_is_noted_for_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    site = rig.site()
    monkeypatch.setattr(site.fitness, "failed", noted.append)
    rig.engine.fail("create", EngineUnavailable("hangs"), times=ALWAYS)
    rig.submit()
    rig.supervise(site=site)
    assert len(noted) == 1
    assert "hangs" in noted[0]


def test_an_engine_is_given_the_node_timeout(rig: Rig) -> None:
    rig.engine.fail("create", EngineUnavailable("hangs"), times=5)
    rig.submit()
    rig.supervise(site=rig.site(node_timeout_seconds=60))
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.job().attempt == 1


# -- what may have been started ----------------------------------------------------------------


@HANGS
def test_what_may_have_been_started_is_not_started_again_and_has_its_deadline(
    rig: Rig, error: EngineError
) -> None:
    """The start worked, and nobody was told; the usher says that it has its request."""
    rig.script = runs
    rig.submit("j1")
    rig.submit("j2")

    def hook(passed: str) -> None:
        if passed == "before engine.start":
            rig.engine.fail("start", error, after=True)
            rig.engine.fail("find", error, times=ALWAYS)

    task = rig.supervising("j1", site=rig.site(hook))
    rig.until_state(State.RUNNING, "j1")
    assert rig.job("j1").deadline_at is not None
    assert rig.job("j2").state is State.QUEUED
    rig.usher("j1").finish()
    rig.until(lambda: rig.job("j1").state.final)
    assert rig.fate("j1") == ("succeeded", "exit_0")
    assert rig.result("j1") == (HEAD, BODY)
    assert rig.job("j2").state is State.QUEUED  # the slot waits for the container
    mend(rig)
    task.answer()
    assert rig.job("j2").state is State.DISPATCHED


# -- what was started --------------------------------------------------------------------------


@HANGS
def test_what_outlived_its_deadline_without_a_word_is_engine_lost(
    rig: Rig, error: EngineError
) -> None:
    running_unwatched(rig)
    outlive_deadline(rig, "j1")
    rig.engine.fail("find", error, times=ALWAYS)
    done = rig.supervise("j1")
    assert done is not None
    assert rig.fate("j1") == ("failed", "engine_lost")
    assert rig.job("j1").teardown is None
    _, hints = rig.ledger.nodes.free_strays()
    assert [hint.id for hint in hints] == ["j2"]


def test_what_its_usher_says_of_its_end_goes_first(rig: Rig) -> None:
    running_unwatched(rig)
    outlive_deadline(rig, "j1")
    rig.usher("j1").respond()
    rig.usher("j1").tell("stopping why=deadline health=healthy")
    rig.usher("j1").signalled(9)
    rig.engine.available = False
    rig.supervise("j1")
    assert rig.fate("j1") == ("timed_out", "deadline")
    assert rig.result("j1") == (HEAD, BODY)


def test_what_has_ended_is_told_before_its_deadline_and_its_slot_when_it_is_gone(rig: Rig) -> None:
    running_unwatched(rig)
    rig.usher("j1").finish()
    rig.engine.fail("find", EngineUnavailable("hangs"), times=ALWAYS)
    task = rig.supervising("j1")
    rig.until(lambda: rig.job("j1").state.final)
    assert rig.fate("j1") == ("succeeded", "exit_0")
    assert rig.job("j1").teardown == rig.node
    assert rig.slots() == {b"j1"}
    mend(rig)
    task.answer()
    assert rig.job("j2").state is State.DISPATCHED
    assert rig.engine.names() == set()


def test_what_it_left_is_removed_when_the_engine_is_back(rig: Rig) -> None:
    running_unwatched(rig)
    outlive_deadline(rig, "j1")
    rig.engine.available = False
    rig.supervise("j1")
    rig.engine.available = True
    rig.upkeep().step(0)
    assert rig.engine.names() == set()
    assert rig.root.replicas() == []
    assert rig.job("j2").state is State.DISPATCHED
    assert rig.fate("j1") == ("failed", "engine_lost")


def test_a_job_that_runs_is_left_alone_until_then(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)
    rig.lapse()
    rig.engine.available = False
    task = rig.supervising()
    rig.engine.wait_for_call("find", 10)
    assert rig.job().state is State.RUNNING
    rig.engine.available = True
    rig.usher().finish()
    task.answer()
    assert rig.fate() == ("succeeded", "exit_0")
