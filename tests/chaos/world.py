"""The product under chaos: each of its processes can be struck alone, and begun again.

Redis, API and Flower run on this machine; both workers are of one node, on a second machine.
"""

import os
import signal
import sys
from collections import Counter
from pathlib import Path

from app.children import Child
from tests.e2e.house import House, HouseStack, Place
from tests.hurried import seconds_to_end
from tests.second_engine import SecondEngine

REDIS, API, FLOWER, ENGINE = "redis", "api", "flower", "engine"
WORKERS = ("worker-1", "worker-2")
ORDER = (REDIS, API, *WORKERS, FLOWER)  # of a start
GRACE_SECONDS = 6  # time enough to end at a stop signal, on a busy machine too
LEASE_SECONDS = 2
READY_SECONDS = 60


class World(House):
    """One instance on a data directory, its jobs on a second engine: nobody else uses that."""

    def __init__(self, folder: Path, engine: SecondEngine) -> None:
        super().__init__(
            folder,
            own_replicas="false",
            lease_seconds=LEASE_SECONDS,
            stop_grace_seconds=GRACE_SECONDS,
            hint_seconds=1,
            concurrency=16,
            token_seconds=24 * 3600,
            result_retention_seconds=300,  # else Redis's file would grow with a long run
        )
        self.engine = engine
        self.places = [Place(engine.folder / "spool", engine.url)]
        self._lives: Counter[str] = Counter()

    def start(self) -> None:
        """Starts everything."""
        self.engine.favour()
        self.stack = HouseStack(self._layout, self._settings)
        self.begin(REDIS)
        self.stack.listen(self.engine.machine.here)
        self.stack.ensure_inference_key()
        for name in ORDER[1:]:
            self.begin(name)
        self.log_in()

    def begin(self, name: str) -> None:
        """Starts one of the processes, and waits until it is of use."""
        self._keep_log(name)
        if name == REDIS:
            self.stack.start_redis()
        elif name == API:
            self.stack.start_api()
        elif name == FLOWER:
            self.stack.start_flower()
        else:
            self._begin_worker(name)

    def terminate(self, name: str) -> float:
        """SIGTERM to one of the processes; how many seconds it took to end."""
        child = self.child(name)
        took = seconds_to_end(child.pid)
        child.stop()
        self.stack.children.remove(child)
        return took

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to one of the processes and all that it has started."""
        os.killpg(self.child(name).pid, number)

    def close(self) -> None:
        """Stops everything, Redis last."""
        if hasattr(self, "stack"):
            self.stack.children.sort(key=lambda child: ORDER.index(child.name))
            self.stop()

    def logs(self) -> list[Path]:
        """The logs of all processes there ever were."""
        return sorted((self.folder / "logs").iterdir())

    def _begin_worker(self, name: str) -> None:
        machine, spool = self.engine.machine, self.places[0].spool
        environ = self.stack.environ() | {
            "ONEJOB_REDIS_URL": self.stack.redis_url.replace("127.0.0.1", machine.here),
            "ONEJOB_DOCKER_HOST": self.engine.url,
            "ONEJOB_SPOOL_ROOT": str(spool),
        }
        celery = str(Path(sys.executable).parent / "celery")
        argv = [*machine.prefix, celery, "-A", "workers.celery", "worker", "--loglevel=INFO"]
        argv += [f"--hostname={name}@%h", "--without-mingle", "--without-gossip"]
        child = Child(name, argv, self._layout.log(name), environ, stop_seconds=30)
        self.stack.children.append(child)
        child.until(lambda: " ready.\n" in child.log.read_text(errors="replace"), READY_SECONDS)

    def _keep_log(self, name: str) -> None:
        """A new process begins its log anew: the old one's tells how it died."""
        log = self._layout.log(name)
        self._lives[name] += 1
        if log.exists():
            log.rename(log.with_name(f"{name}.{self._lives[name] - 1}.log"))
