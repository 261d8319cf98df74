"""Memory (proportional set size): idle, and for each running job with many of them at once.

Ours is gunicorn with all its processes, the Celery worker and Redis. Idle is after a first job,
so that what is loaded once does not count for each job. What every container costs on its own,
the usher in it and the engine's shim beside it, is told apart. The Celery task has a process for
each job at once.
"""

import time
from pathlib import Path

from app.children import Child
from app.domain.job import State
from tests.bench import proc, setting
from tests.bench.latency import TARGET as FIRST_TARGET
from tests.bench.latency import released
from tests.bench.plan import MEMORY_LIMIT_MIB, Plan
from tests.bench.product import Client, Product
from tests.bench.report import Row, Section
from tests.bench.setting import Place
from workers.plan import USHER_TARGET

NAME = "memory"
BODY = b'{"x": 1}'
LOOK_SECONDS = 0.25
SETTLE_SECONDS = 3.0  # for what a busy start leaves behind; memory gives no sign of it
START_SECONDS_A_JOB = 1.0  # at most; some machines start four a second
ENGINE = ("dockerd", "containerd")
Figures = dict[str, float]


def measure(plan: Plan, folder: Path) -> Section:
    """Ours first, then the peer."""
    section, jobs = Section(NAME), plan.running
    with setting.place(folder, peers=(jobs,)) as place:
        place.product.deploy(NAME, jobs)
        idle, busy, apart, _ = wave(place.product, jobs)
        peer = _peer(place, jobs)
    section.samples = {"jobs": jobs, "idle": idle, "running": busy, "apart": apart, "peer": peer}
    section.rows = _rows(jobs, idle, busy, apart, peer)
    return section


def seconds_of(jobs: int) -> int:
    """How long each of so many jobs has to work, for all of them to run at one moment."""
    return 20 + round(jobs * 0.5)


def wave(product: Product, jobs: int) -> tuple[Figures, Figures, Figures, list[str]]:
    """Ours when idle and with all jobs running; what is counted apart (a job's share); the jobs.

    The deployment is there.
    """
    _run(product, [FIRST_TARGET])
    time.sleep(SETTLE_SECONDS)
    idle, before = _ours(product), _engine()
    uid = product.ledger.deployments.get(NAME).uid
    ids = _submit(product, [f"/job?duration={seconds_of(jobs)}"] * jobs)
    _until_all_run(product, uid, ids)
    time.sleep(SETTLE_SECONDS)
    busy = _ours(product)
    apart = {name: (value - before[name]) / jobs for name, value in _engine().items()}
    ushers = _ushers()
    assert len(ushers) >= jobs, f"{len(ushers)} of {jobs} jobs ran at that moment"
    apart["usher"] = proc.pss_mib(ushers) / len(ushers)
    apart["the engine's shim"] = proc.pss_mib(map(proc.parent, ushers)) / len(ushers)
    _until_released(product, uid, ids)
    return idle, busy, apart, ids


def _engine() -> Figures:
    return {name: proc.pss_mib(proc.named(name)[:1]) for name in ENGINE}


def _ushers() -> list[int]:
    """Process 1 of each replica; its app is another process."""
    return [pid for pid in proc.named("usher") if proc.command(pid)[:1] == [USHER_TARGET]]


def _ours(product: Product) -> Figures:
    return {c.name: _family(c) for c in product.stack.children}


def _family(child: Child) -> float:
    return proc.pss_mib(proc.family(child.pid))


def _submit(product: Product, targets: list[str]) -> list[str]:
    client = Client(product)
    ids = [client.submit(NAME, target, BODY) for target in targets]
    client.close()
    return ids


def _run(product: Product, targets: list[str]) -> None:
    uid = product.ledger.deployments.get(NAME).uid
    _until_released(product, uid, _submit(product, targets))


def _until_all_run(product: Product, uid: str, ids: list[str]) -> None:
    give_up = time.monotonic() + 10 + START_SECONDS_A_JOB * len(ids)
    for job_id in ids:
        while product.ledger.jobs.get(uid, job_id).state is not State.RUNNING:
            assert time.monotonic() < give_up, f"{job_id} does not run"
            time.sleep(LOOK_SECONDS)


def _until_released(product: Product, uid: str, ids: list[str]) -> None:
    give_up = time.monotonic() + 60 + START_SECONDS_A_JOB * len(ids)
    for job_id in ids:
        while released(product.ledger, uid, job_id) is None:
            assert time.monotonic() < give_up, f"{job_id} does not end"
            time.sleep(LOOK_SECONDS)


def _peer(place: Place, jobs: int) -> Figures:
    """The peer's worker, with as many processes as jobs at once."""
    worker = place.peers.workers[jobs]
    place.peers.run(jobs, FIRST_TARGET, BODY)
    idle = _family(worker)
    target = f"/job?duration={seconds_of(jobs)}"
    sent = [place.peers.send(jobs, target, BODY) for _ in range(jobs)]
    give_up = time.monotonic() + 10 + START_SECONDS_A_JOB * jobs
    while setting.foreign_containers() < jobs:
        assert time.monotonic() < give_up, "the Celery task's containers do not start"
        time.sleep(LOOK_SECONDS)
    time.sleep(SETTLE_SECONDS)
    busy = _family(worker)
    for one in sent:
        one.get(timeout=60 + START_SECONDS_A_JOB * jobs)
    return {"idle": idle, "running": busy}


def _rows(jobs: int, idle: Figures, busy: Figures, apart: Figures, peer: Figures) -> list[Row]:
    rows = [Row(f"{name}, idle", "MiB", value) for name, value in idle.items()]
    rows.append(Row("Celery worker, idle", "MiB", idle["worker"], peer=peer["idle"]))
    ours = {name: (busy[name] - idle[name]) / jobs for name in idle}
    side = ours["api"] + ours["worker"]
    theirs = peer["running"] / jobs
    rows.append(
        Row(
            f"API and worker, {jobs} jobs run",
            "MiB/job",
            side,
            peer=theirs,
            at_most=MEMORY_LIMIT_MIB,
        )
    )
    rows.append(Row(f"Redis, {jobs} jobs run", "MiB/job", ours["redis"]))
    rows += [Row(f"{name}, apart", "MiB/job", value) for name, value in apart.items()]
    return rows
