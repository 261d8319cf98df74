"""Jobs per second with n at once: from the first POST to the last container's removal.

Ours is one deployment with `max_replica_count` n; the bare loop has n threads; the Celery task a
worker with concurrency n.
"""

import random
import time
from pathlib import Path

from tests.bench import proc, setting
from tests.bench.latency import BODY, TARGET, released
from tests.bench.plan import REPLICAS, THROUGHPUT_LIMIT, Plan
from tests.bench.product import Client, Product
from tests.bench.report import Row, Section, middle
from tests.bench.setting import Place
from tests.bench.stats import ratio

NAME = "throughput"
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 300.0


def measure(plan: Plan, folder: Path) -> Section:
    """Interleaved, in a new random order each round."""
    section = Section(NAME)
    with setting.place(folder, peers=REPLICAS) as place:
        for replicas in REPLICAS:
            place.product.deploy(name_of(replicas), replicas)
        chance = random.Random(2)
        for replicas in REPLICAS:
            _round(place, replicas, replicas, chance)  # warms up
        for _ in range(plan.throughput_rounds):
            for replicas in REPLICAS:
                _keep(section, replicas, _round(place, replicas, plan.jobs, chance))
    section.rows = [_row(section, replicas) for replicas in REPLICAS]
    section.rows += [_cost(section, replicas) for replicas in REPLICAS]
    return section


def _round(
    place: Place, replicas: int, jobs: int, chance: random.Random
) -> dict[str, dict[str, float]]:
    does = {
        "ours": lambda: ours(place.product, replicas, jobs),
        "bare": lambda: _bare(place, replicas, jobs),
        "peer": lambda: _peer(place, replicas, jobs),
    }
    found = {}
    for who in chance.sample(sorted(does), len(does)):
        before = _processor_time(place)
        seconds = does[who]()
        used = {name: value - before[name] for name, value in _processor_time(place).items()}
        found[who] = {"rate": jobs / seconds} | {
            f"cpu_ms {name}": value / jobs * 1000 for name, value in used.items()
        }
    return found


def ours(product: Product, replicas: int, jobs: int) -> float:
    """Seconds from the first POST to the last removal."""
    name, client = name_of(replicas), Client(product)
    uid = product.ledger.deployments.get(name).uid
    began = time.time()
    ids = [client.submit(name, TARGET, BODY) for _ in range(jobs)]
    client.close()
    return max(_release(product, uid, job_id) for job_id in ids) - began


def _release(product: Product, uid: str, job_id: str) -> float:
    """When the job's slot was freed; waited for at a pace that costs the others nothing."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (seen := released(product.ledger, uid, job_id)) is None:
        assert time.monotonic() < give_up, f"{job_id} did not end"
        time.sleep(LOOK_SECONDS)
    assert "succeeded" in seen, seen
    return seen["released"]


def _bare(place: Place, replicas: int, jobs: int) -> float:
    began, gone = place.bare.run_many(replicas, jobs, TARGET, BODY)
    return gone - began


def _peer(place: Place, replicas: int, jobs: int) -> float:
    began = time.time()
    sent = [place.peers.send(replicas, TARGET, BODY) for _ in range(jobs)]
    return float(max(one.get(timeout=PATIENCE_SECONDS)["gone_at"] for one in sent)) - began


def _processor_time(place: Place) -> dict[str, float]:
    pids = {child.name: proc.family(child.pid) for child in place.product.stack.children}
    pids |= {"dockerd": proc.named("dockerd"), "containerd": proc.named("containerd")[:1]}
    return {name: proc.cpu_seconds(found) for name, found in pids.items()}


def name_of(replicas: int) -> str:
    """The deployment with so many at once."""
    return f"throughput-{replicas}"


def _keep(section: Section, replicas: int, found: dict[str, dict[str, float]]) -> None:
    for who, figures in found.items():
        for name, value in figures.items():
            by_name = section.samples.setdefault(str(replicas), {}).setdefault(name, {})
            by_name.setdefault(who, []).append(value)


def _row(section: Section, replicas: int) -> Row:
    samples = section.samples[str(replicas)]["rate"]
    return Row(
        f"{replicas} at once",
        "jobs/s",
        middle(samples, "ours") or 0.0,
        middle(samples, "bare"),
        middle(samples, "peer"),
        ratio(samples["ours"], samples["bare"]),
        at_least=THROUGHPUT_LIMIT,
    )


def _cost(section: Section, replicas: int) -> Row:
    """What our own processes take of the processor for each job."""
    samples = section.samples[str(replicas)]
    parts = [
        middle(samples[f"cpu_ms {name}"], "ours") or 0.0 for name in ("worker", "api", "redis")
    ]
    return Row(f"{replicas} at once: worker, API and Redis", "ms of processor/job", sum(parts))
