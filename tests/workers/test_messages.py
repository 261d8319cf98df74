"""Celery messages are hints: several of one job, none at all, or one of a job that is no more."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from app.domain.job import Hint, Reason, State
from tests.workers.alone import dump
from tests.workers.celery_stage import Stage
from tests.workers.rig import Rig, Usher, works
from workers.sweep import Sweep

COPIES, JOBS = 3, 20


@pytest.fixture
def crowd(redis_url: str, tmp_path: Path, quick: None) -> Iterator[Rig]:
    """As many slots as jobs."""
    rig = Rig(redis_url, tmp_path / "spool", cap=JOBS)
    yield rig
    rig.close()


class Requests:
    """Counts what the apps were handed."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, usher: Usher) -> None:
        """The script of a job that goes well."""
        with self._lock:
            self.of[usher.name] += 1
        works(usher)


def test_each_message_three_times_at_once_makes_one_container_and_one_request(crowd: Rig) -> None:
    crowd.script = requests = Requests()
    for n in range(JOBS):
        crowd.submit(f"j{n}")
    together = threading.Barrier(COPIES * JOBS)

    def hooked(point: str) -> None:
        if point == "before attempts.claim":
            together.wait(60)

    jobs = [f"j{n}" for n in range(JOBS)] * COPIES
    tasks = [crowd.supervising(job_id, crowd.site(hooked)) for job_id in jobs]
    fates = [task.answer() for task in tasks]
    assert all(job is None or job.state is State.SUCCEEDED for job in fates)

    once = {crowd.replica(f"j{n}"): 1 for n in range(JOBS)}
    assert crowd.engine.made == crowd.engine.starts == requests.of == once
    for n in range(JOBS):
        job = crowd.job(f"j{n}")
        assert (job.state, job.attempt, job.fence) == (State.SUCCEEDED, 1, 1)
        assert Counter(crowd.events(f"j{n}")).most_common(1)[0][1] == 1
    crowd.check_nothing_left()


# -- lost --------------------------------------------------------------------------------------


class Lossy:
    """A broker that loses each job's first messages, whoever published them."""

    def __init__(self, loses: int) -> None:
        self._loses = loses
        self._seen: Counter[str] = Counter()
        self.arrived: list[Hint] = []

    def __call__(self, hints: Iterable[Hint]) -> None:
        for hint in hints:
            self._seen[hint.id] += 1
            if self._seen[hint.id] > self._loses:
                self.arrived.append(hint)


@pytest.mark.parametrize("loses", [0, 1, 3])
def test_all_jobs_complete_though_every_message_but_the_sweeps_is_lost(
    redis_url: str, tmp_path: Path, loses: int
) -> None:
    """Those of accept and release go nowhere; of the sweep's own each job loses some, too."""
    rig, broker = Rig(redis_url, tmp_path / "spool", cap=3, hint_seconds=0.05), Lossy(loses)
    sweep = Sweep(rig.site(), broker)  # type: ignore[arg-type]
    jobs = [f"j{n}" for n in range(9)]
    for job_id in jobs:
        rig.submit(job_id)
    give_up = time.monotonic() + 60
    while not all(rig.job(job_id).state.final for job_id in jobs):
        assert time.monotonic() < give_up, "a job was forgotten"
        sweep.republish()
        some, broker.arrived = broker.arrived, []
        for hint in some:
            rig.supervise(hint.id)
        time.sleep(0.01)  # the sweep's own pace
    waits = []
    for job_id in jobs:
        job = rig.job(job_id)
        assert job.state is State.SUCCEEDED
        assert job.claimed_at is not None
        assert job.dispatched_at is not None
        waits.append((job.claimed_at - job.dispatched_at).total_seconds())
    # Some may have been held up by a slow machine, but not all.
    assert (loses + 1) * 0.05 <= min(waits) < (loses + 1) * 0.05 + 2
    assert set(rig.engine.starts.values()) == {1}
    rig.check_nothing_left()
    rig.close()


# -- of jobs that are no more ------------------------------------------------------------------


def ended(rig: Rig) -> None:
    rig.submit()
    rig.supervise()


def cancelled(rig: Rig) -> None:
    rig.submit()
    rig.ledger.jobs.cancel(rig.uid, "j1", Reason.CANCELLED, "on request")


def cancelled_in_the_queue(rig: Rig) -> None:
    rig.submit("first")
    cancelled(rig)


def forgotten(rig: Rig) -> None:
    ended(rig)
    rig.ledger.client.zadd("onejob:due:retention", {f"{rig.uid}/j1": 1})
    rig.sweep().forget()


def without_its_deployment(rig: Rig) -> None:
    rig.submit()
    rig.ledger.deployments.terminate("dep")
    rig.sweep().shrink()
    assert rig.ledger.deployments.list() == []


@pytest.mark.parametrize(
    "happened",
    [lambda rig: None, ended, cancelled, cancelled_in_the_queue, forgotten, without_its_deployment],
    ids=["never was", "ended", "cancelled", "cancelled early", "forgotten", "deployment is gone"],
)
def test_a_message_of_a_job_that_is_no_more_does_nothing(rig: Rig, happened: object) -> None:
    assert callable(happened)
    happened(rig)
    before, calls = dump(rig), len(rig.engine.calls)
    for _ in range(2):
        told = rig.supervise()
        assert told is None or told.state.final
    assert dump(rig) == before
    assert len(rig.engine.calls) == calls
    assert rig.root.replicas() == []


# -- with the real Celery ----------------------------------------------------------------------


def test_a_worker_gets_each_message_three_times_and_some_of_jobs_that_are_no_more(
    stage: Stage,
) -> None:
    worker, rig = stage.worker(), stage.rig
    rig.submit("cancelled-1")
    rig.ledger.jobs.cancel(rig.uid, "cancelled-1", Reason.CANCELLED, "on request")
    jobs = [f"works-{n}" for n in range(10)]
    for job_id in jobs:
        rig.submit(job_id)
    for job_id in [*jobs, "nobody-1", "cancelled-1"] * COPIES:
        stage.hint(job_id)
    stage.publish([Hint("0000", "gone-1", "gone", "cpu")] * COPIES)
    for job_id in jobs:
        rig.until(lambda job_id=job_id: rig.job(job_id).state.final, 60)  # type: ignore[misc]
        assert stage.task(job_id).fate() == "succeeded"
    client = rig.ledger.client
    rig.until(lambda: not client.exists("compute.cpu"))
    assert stage.submit("works-last").fate() == "succeeded"  # behind all others in the queue
    for job_id in jobs:
        assert Counter(rig.events(job_id)).most_common(1)[0][1] == 1
        assert rig.job(job_id).fence == 1
    assert stage.task("cancelled-1").fate().startswith("Unsuccessful: cancelled")
    assert "Traceback" not in worker.words()
    rig.until(lambda: not rig.slots())  # a copy of a message tells an end before all is removed
    rig.check_nothing_left()
