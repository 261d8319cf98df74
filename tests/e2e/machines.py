"""Two machines, one of which a test breaks: `near` is this one, `far` has the second engine.

Both have the compute `cpu`, and each one that is its own and is named like it. There are further
workers of this machine as well, and what tests look at from outside.
"""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import docker
import pytest

from app.children import Child
from app.domain.job import JobView
from app.ledger import Ledger, connect
from tests.e2e.house import PATIENCE_SECONDS, WAITS, House, Place, until
from tests.second_engine import SecondEngine, loaded_engine

ANSWERS = WAITS + "c.sendall(OK)\n"
NODE_TIMEOUT = 10.0  # signs of life come every 3 s, or later on a machine that other tests use, too
SLACK = 20.0  # for its sweeps; one that gives no sign begins the timeout anew
GRACE = 2.0
SETTINGS = {
    "node_timeout_seconds": NODE_TIMEOUT,
    "stop_grace_seconds": GRACE,
    "lease_seconds": 2,
    "hint_seconds": 1,  # a message can go to a machine that is cut off, and is lost then
    "concurrency": 1,
}
NewHouse = Callable[..., House]
NewPair = Callable[..., "Pair"]


@pytest.fixture(scope="module")
def engine() -> Iterator[SecondEngine]:
    """A second engine with the base image, for all tests of a file; `freshen` undoes their harm."""
    with loaded_engine() as engine:
        yield engine


@pytest.fixture
def new_pair(engine: SecondEngine, new_house: NewHouse, tmp_path: Path) -> NewPair:
    """Makes a house on two machines, its settings are those of `Pair`."""
    return partial(Pair, new_house, engine, tmp_path)


class Pair:
    """A house with a worker on each machine, which take one job each unless settings say more."""

    def __init__(
        self, new_house: NewHouse, engine: SecondEngine, folder: Path, **settings: object
    ) -> None:
        self.engine = engine
        self._folder = folder
        self._blocker = ""
        freshen(engine)
        with _offering(folder, "near"):
            self.house: House = new_house(**(SETTINGS | settings))
        self.start_far()

    def start_far(self) -> None:
        """The far machine's worker; again after it ended."""
        with _offering(self._folder, "far"):
            self.house.start_second_worker(self.engine)

    @property
    def near(self) -> Place:
        """Where the house's own worker runs its replicas."""
        return self.house.places[0]

    @property
    def far(self) -> Place:
        """The second engine's machine."""
        return self.house.places[1]

    def deploy_far(self, name: str = "line", lines: str = ANSWERS, **changes: Any) -> None:
        """A deployment that only the far machine has the compute for."""
        self.house.deploy(name, lines, compute={"name": "far", "size": 1}, **changes)

    def run_far(self, name: str) -> str:
        """A job that both machines have the compute for, running on the far one.

        The near one is busy with another job until `free_near`.
        """
        self.house.deploy("blocker", ANSWERS, compute={"name": "near", "size": 1})
        self._blocker = running(self.house, "blocker")
        job_id = running(self.house, name)
        assert self.house.status(name, job_id)["Node"] == self.far.node
        return job_id

    def free_near(self) -> None:
        """The job that the near machine was busy with ends, and ends well."""
        self.ends_well("blocker", self._blocker)

    def ends_well(self, name: str, job_id: str) -> Place:
        """A job runs, and ends well; where."""
        status = self.house.until(name, job_id, lambda s: s["State"] == "running")
        place = next(place for place in self.house.places if place.node == status["Node"])
        go_on(place, job_id)
        assert self.house.finished(name, job_id)["State"] == "succeeded"
        return place


def freshen(engine: SecondEngine) -> None:
    """Makes the engine as if no test had used it before."""
    if not engine.running:
        engine.start()
    engine.resume()
    engine.machine.mend()
    if not engine.live_restore:
        engine.live_restore = True
        engine.restart()
    client = engine.client()
    for left in client.containers.list(all=True, ignore_removed=True):
        left.remove(force=True)
    # A spool root belongs to one ledger: each house has its own.
    rmtree(engine.folder / "spool", ignore_errors=True)


@contextmanager
def _offering(folder: Path, own: str) -> Iterator[None]:
    """Processes that are started in the block offer `cpu` and this compute."""
    path = folder / f"{own}.toml"
    path.write_text(f"[cpu]\n[{own}]\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEJOB_COMPUTE_FILE", str(path))
        yield


def another_worker(house: House, name: str, spool: Path | None = None) -> Child:
    """A further worker process of this machine: of a node of its own if it has a spool root."""
    celery = str(Path(sys.executable).parent / "celery")
    argv = [celery, "-A", "workers.celery", "worker", "--loglevel=INFO", f"--hostname={name}@%h"]
    argv += ["--without-mingle", "--without-gossip"]
    environ = house.stack.environ() | ({"ONEJOB_SPOOL_ROOT": str(spool)} if spool else {})
    child = Child(name, argv, house.stack.layout.log(name), environ, stop_seconds=30)
    house.stack.children.append(child)
    child.until(lambda: " ready." in child.log.read_text(errors="replace"), PATIENCE_SECONDS)
    house.places += [Place(spool)] if spool else []
    return child


# -- jobs ------------------------------------------------------------------------------------------


def running(house: House, name: str, body: bytes = b"") -> str:
    """Submits a job; its id, once it runs."""
    job_id = house.faces.submit(name, "/", body)
    house.until(name, job_id, lambda s: s["State"] == "running")
    return job_id


def go_on(place: Place, job_id: str) -> None:
    """Lets an app go on that waits as `WAITS` has it."""
    (spool_of(place, job_id) / "go").touch()


def spool_of(place: Place, job_id: str) -> Path:
    """The directory of a job's only attempt there."""
    (name,) = (n for n in place.spools() if job_id in n and not n.startswith("."))
    return place.spool / "attempts" / name


def await_exit(place: Place, job_id: str) -> None:
    """Waits until the usher has noted the end, whoever hears of it."""
    events = spool_of(place, job_id) / "events"
    until(lambda: " exited " in events.read_text(), events.read_text)


def is_there(place: Place, job_id: str) -> bool:
    """Whether there is a container or a directory of a job."""
    return any(job_id in name for name in (*place.containers(), *place.spools()))


def happened(status: dict[str, Any]) -> list[str]:
    """The events of a job's timeline."""
    return [entry["Event"] for entry in status["Timeline"]]


def view(house: House, name: str, job_id: str) -> JobView:
    """A job as the ledger has it."""
    with ledger(house) as books:
        return books.jobs.view(books.deployments.get(name).uid, job_id)


def at(house: House, name: str, job_id: str, event: str) -> float:
    """When something happened to a job last, in seconds since the epoch."""
    instants = [e.at for e in view(house, name, job_id).timeline if e.event == event]
    assert instants, f"{event} did not happen"
    return instants[-1].timestamp()


# -- what is seen from outside ---------------------------------------------------------------------


@contextmanager
def ledger(house: House) -> Iterator[Ledger]:
    """The ledger of a house."""
    client = connect(house.stack.redis_url)
    yield Ledger(client)
    client.close()


def missing(house: House) -> str:
    """What /ready says is missing."""
    return "; ".join(house.faces.data("GET", "/ready").json["missing"])


@contextmanager
def creations(*docker_hosts: str | None) -> Iterator[Counter[str]]:
    """Counts the containers that engines create in the block, by job."""
    made: Counter[str] = Counter()

    def count(stream: Iterator[dict[str, Any]]) -> None:
        for event in stream:
            made[event["Actor"]["Attributes"].get("onejob.job", "")] += 1

    with ExitStack() as stack:
        for stream in _created(docker_hosts, stack):
            threading.Thread(target=count, args=[stream], daemon=True).start()
        yield made


def _created(docker_hosts: Sequence[str | None], stack: ExitStack) -> Iterator[Any]:
    for host in docker_hosts:
        client = docker.APIClient(host, timeout=600)  # of a stream: from one event to the next
        stack.callback(client.close)
        filters = {"type": "container", "event": "create"}
        stream = client.events(decode=True, filters=filters)
        stack.callback(stream.close)
        yield stream
