"""The real worker process on a real Redis: what Flower sees, and how it goes away."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from app.domain.job import State
from tests.hurried import hurry
from tests.redis_server import RedisServer
from tests.stopped import stop
from tests.workers.celery_stage import CHECKOUT, Process, Stage

LEAVE_SECONDS = 5.0  # promise 6


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage with one worker, for all tests that leave it alive."""
    folder = tmp_path_factory.mktemp("stage")
    server = RedisServer.start(folder / "redis")
    stage = Stage(server, folder)
    stage.first = stage.worker().until_ready()  # type: ignore[attr-defined]
    yield stage
    stage.close()
    server.stop()


# -- what Flower sees --------------------------------------------------------------------------


EXIT_1 = "Unsuccessful: failed: exit_nonzero: the process ended with exit code 1"


def test_a_job_that_succeeds_is_a_task_that_succeeds(shared: Stage) -> None:
    assert shared.submit("works-1").fate() == "succeeded"


def test_a_job_that_fails_is_a_failed_task_without_a_traceback_in_the_log(shared: Stage) -> None:
    assert shared.submit("fails-1").fate() == EXIT_1
    first: Process = shared.first  # type: ignore[attr-defined]
    shared.rig.until(lambda: "fails-1] raised expected: Unsuccessful" in first.words())
    assert "Traceback" not in first.words()


def test_a_second_hint_of_a_running_job_leaves_its_task_alone(shared: Stage) -> None:
    task = shared.submit("runs-1")
    shared.rig.until_state(State.RUNNING, "runs-1")
    assert task.meta()["status"] == "STARTED"
    shared.hint("runs-1")
    assert shared.submit("works-2").fate() == "succeeded"  # behind it in the same queue
    first: Process = shared.first  # type: ignore[attr-defined]
    shared.rig.until(lambda: "runs-1] ignored" in first.words())
    assert task.meta()["status"] == "STARTED"
    shared.end("runs-1")
    assert task.fate() == "succeeded"


@pytest.mark.parametrize(("job_id", "fate"), [("works-3", "succeeded"), ("fails-3", EXIT_1)])
def test_a_hint_of_a_job_that_is_over_tells_its_fate_again(
    shared: Stage, job_id: str, fate: str
) -> None:
    task = shared.submit(job_id)
    assert task.fate() == fate
    shared.rig.ledger.client.delete(task.key)
    shared.hint(job_id)
    assert task.fate() == fate


def test_a_hint_of_an_unknown_job_is_ignored(shared: Stage) -> None:
    shared.hint("nobody-1")
    shared.submit("works-4").fate()
    assert shared.task("nobody-1").meta()["status"] in ("STARTED", "PENDING")


def test_messages_are_acknowledged_before_the_job_is_done(shared: Stage) -> None:
    shared.submit("runs-2")
    shared.rig.until_state(State.RUNNING, "runs-2")
    client = shared.rig.ledger.client
    shared.rig.until(lambda: not client.exists("unacked"))
    assert shared.rig.job("runs-2").state is State.RUNNING
    shared.end("runs-2")
    shared.rig.until_state(State.SUCCEEDED, "runs-2")


# -- how it goes away ----------------------------------------------------------------------------


def running(stage: Stage, jobs: int = 3, **environ: str) -> Process:
    """A worker that supervises some jobs."""
    worker = stage.worker(**environ).until_ready()
    for number in range(jobs):
        stage.submit(f"runs-{number}")
    for number in range(jobs):
        stage.rig.until_state(State.RUNNING, f"runs-{number}")
    hurry(worker.process.pid)
    return worker


def let_go(stage: Stage) -> list[str]:
    """The jobs that nobody holds; a Redis that waits for the disk may learn that a little later."""
    lapsed = stage.rig.ledger.attempts.lapsed(stage.rig.node, "no-queue")
    return sorted(hint.id for hint in lapsed)


def test_sigterm_lets_all_jobs_go_and_the_next_worker_finishes_them(stage: Stage) -> None:
    worker = running(stage, ONEJOB_LEASE_SECONDS="600")  # what lapses here was let go of
    worker.tell(signal.SIGTERM)
    assert worker.left_within(LEAVE_SECONDS) == 0
    stage.rig.until(lambda: let_go(stage) == ["runs-0", "runs-1", "runs-2"])
    for number in range(3):
        assert stage.rig.job(f"runs-{number}").state is State.RUNNING
        stage.end(f"runs-{number}")
    stage.worker().until_ready()
    for number in range(3):
        stage.rig.until_state(State.SUCCEEDED, f"runs-{number}")
        assert stage.task(f"runs-{number}").fate() == "succeeded"


def test_sigterm_twice_while_a_call_to_the_engine_hangs(stage: Stage) -> None:
    worker = stage.worker(TEST_HANGS="image").until_ready()
    stage.submit("works-1")
    stage.rig.until(lambda: "the engine hangs" in worker.words())
    hurry(worker.process.pid)
    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGTERM)
    assert worker.left_within(LEAVE_SECONDS) == 0
    assert "leaving without a word" in worker.words()
    assert stage.rig.job("works-1").state is State.STARTING


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_sigterm_while_redis_is_away(stage: Stage, how: signal.Signals) -> None:
    worker = running(stage)
    assert stage.server.pid is not None
    if how is signal.SIGKILL:
        stage.server.kill()
    else:
        stop(stage.server.pid)
        time.sleep(2.5)  # until Celery's own pulse hangs in it, of which there is no sign
    try:
        worker.tell(signal.SIGTERM)
        worker.left_within(LEAVE_SECONDS)
    finally:
        if how is signal.SIGSTOP:
            os.kill(stage.server.pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ["flower", "SIGQUIT"])
def test_other_ways_to_end_it_take_no_longer(stage: Stage, how: str) -> None:
    worker = running(stage)
    if how == "flower":
        stage.celery.control.shutdown()
    else:
        worker.tell(signal.SIGQUIT)
    worker.left_within(LEAVE_SECONDS)
    assert stage.rig.job("runs-0").state is State.RUNNING


def test_without_an_engine_it_says_so_and_ends(stage: Stage) -> None:
    worker = stage.worker(TEST_NO_ENGINE="1")
    assert worker.left_within(60) == 1
    assert "this worker can't start: no engine answers" in worker.words()
    assert "Traceback" not in worker.words()


def test_a_broker_that_was_away_is_consumed_again(stage: Stage) -> None:
    worker = running(stage, jobs=1)
    stage.server.kill()
    stage.end("runs-0")
    stage.server.restart()
    stage.rig.until_state(State.SUCCEEDED, "runs-0")
    assert stage.submit("works-1").fate() == "succeeded"
    assert worker.process.poll() is None


# -- settings ----------------------------------------------------------------------------------


def test_a_result_that_can_not_be_stored_holds_no_task_for_long(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import time; from workers.celery import app\n"
        "def timed():\n"
        "    begun = time.monotonic()\n"
        # The part of `store_result` that is tried again; what it reads before, is not.
        "    try: app.backend.set('celery-task-meta-dep.j1', b'succeeded')\n"
        "    except Exception as error: print(type(error).__name__)\n"
        "    return time.monotonic() - begun\n"
        "print(any(timed() < 3 for _ in range(3)))\n"  # it may stand still meanwhile
    )
    environ = dict(os.environ) | {"ONEJOB_REDIS_URL": own_redis.url}
    own_redis.kill()
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    *why, soon = done.stdout.split()
    assert set(why) == {"ConnectionError"}
    assert soon == "True"
