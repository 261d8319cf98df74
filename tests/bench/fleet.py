"""Jobs per second with more workers and with a second engine, eight at once.

Workers are processes of one machine, or of two with an engine each: the second one is a dockerd on
a machine of its own (tests/second_engine.py), with the same processors. The bare loop has eight
threads, or four on each machine.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from app.children import Child
from tests.bench import setting, throughput
from tests.bench.bare import BareLoop
from tests.bench.latency import BODY, TARGET
from tests.bench.plan import Plan
from tests.bench.product import Product
from tests.bench.report import Row, Section, middle
from tests.bench.stats import ratio
from tests.e2e.house import HouseStack
from tests.second_engine import SecondEngine, second_engine
from workers.prepare import EXAMPLE_IMAGE

NAME = "fleet"
ROOT = Path(__file__).parents[2]
AT_ONCE = 8
ALONE = {"1 worker": 1, "2 workers": 2, "4 workers": 4}
BOTH = "2 engines, a worker each"
READY_SECONDS = 60
Launched = subprocess.Popen[str]


def measure(plan: Plan, folder: Path) -> Section:
    """Interleaved, in a new random order each round."""
    section = Section(NAME)
    setting.prepare()
    with second_engine() as engine, Product(folder, worker=False) as product:
        engine.load(EXAMPLE_IMAGE)
        product.deploy(throughput.name_of(AT_ONCE), AT_ONCE)
        fleet, chance = Fleet(product, engine), random.Random(5)
        for number in range(-1, plan.fleet_rounds):  # the first one warms up
            for kind in chance.sample([*ALONE, BOTH], len(ALONE) + 1):
                found = fleet.round(kind, plan.jobs if number >= 0 else AT_ONCE)
                for who, rate in found.items() if number >= 0 else ():
                    section.samples.setdefault(kind, {}).setdefault(who, []).append(rate)
    section.rows = [_row(section, kind) for kind in [*ALONE, BOTH]]
    return section


class Fleet:
    """Workers here and on the second engine's machine, as a round needs them."""

    def __init__(self, product: Product, engine: SecondEngine) -> None:
        self._product = product
        self._engine = engine
        self._started = count(1)
        self._here = engine.machine.here
        assert isinstance(product.stack, HouseStack)
        product.stack.listen(self._here)

    def round(self, kind: str, jobs: int) -> dict[str, float]:
        """Jobs per second of ours and of the bare loop."""
        with self._workers(kind):
            ours = throughput.ours(self._product, AT_ONCE, jobs)
        return {"ours": jobs / ours, "bare": jobs / self._bare(kind, jobs)}

    @contextmanager
    def _workers(self, kind: str) -> Iterator[None]:
        children = [self._start([], {}) for _ in range(ALONE.get(kind, 1))]
        if kind == BOTH:
            url = self._product.stack.redis_url.replace("127.0.0.1", self._here)
            far = {
                "ONEJOB_REDIS_URL": url,
                "ONEJOB_DOCKER_HOST": self._engine.url,
                "ONEJOB_SPOOL_ROOT": str(self._engine.folder / "spool"),
            }
            children.append(self._start(self._engine.machine.prefix, far))
        try:
            for child in children:
                child.until(partial(_ready, child), READY_SECONDS)
            yield
        finally:
            for child in children:
                child.stop()

    def _start(self, prefix: list[str], more: dict[str, str]) -> Child:
        stack, name = self._product.stack, f"worker-{next(self._started)}"
        celery = str(Path(sys.executable).parent / "celery")
        argv = [*prefix, celery, "-A", "workers.celery", "worker", "--loglevel=INFO"]
        argv += [f"--hostname={name}@%h", "--without-mingle", "--without-gossip"]
        return Child(name, argv, stack.layout.log(name), stack.environ() | more)

    def _bare(self, kind: str, jobs: int) -> float:
        """Seconds from the first loop's beginning to the last one's end."""
        if kind != BOTH:
            return _seconds([_launch([], None, AT_ONCE, jobs)])
        half, prefix = jobs // 2, self._engine.machine.prefix
        near = _launch([], None, AT_ONCE // 2, jobs - half)
        return _seconds([near, _launch(prefix, self._engine.url, AT_ONCE // 2, half)])


def _ready(worker: Child) -> bool:
    return " ready." in worker.log.read_text(errors="replace")


def _launch(prefix: list[str], docker_host: str | None, threads: int, jobs: int) -> Launched:
    """A bare loop in a process of its own, which waits for its input to begin."""
    argv = [*prefix, sys.executable, "-m", "tests.bench.fleet", str(threads), str(jobs)]
    launched = subprocess.Popen(
        [*argv, *([docker_host] if docker_host else [])],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launched.stdout is not None
    assert launched.stdout.readline() == "ready\n"
    return launched


def _seconds(loops: list[Launched]) -> float:
    for loop in loops:
        assert loop.stdin is not None
        loop.stdin.write("go\n")
        loop.stdin.flush()
    spans = [json.loads(loop.communicate(timeout=600)[0]) for loop in loops]
    return float(max(span[1] for span in spans) - min(span[0] for span in spans))


def _row(section: Section, kind: str) -> Row:
    samples = section.samples[kind]
    return Row(
        f"{AT_ONCE} at once, {kind}",
        "jobs/s",
        middle(samples, "ours") or 0.0,
        middle(samples, "bare"),
        ratio=ratio(samples["ours"], samples["bare"]),
    )


def main(threads: int, jobs: int, docker_host: str | None) -> None:
    """One bare loop: says that it is ready, waits for a line, tells when it began and ended."""
    loop = BareLoop(EXAMPLE_IMAGE, setting.NETWORK, docker_host)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(loop.run_many(threads, jobs, TARGET, BODY)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), next(iter(sys.argv[3:]), None))
