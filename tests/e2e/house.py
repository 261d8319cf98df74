"""The whole product for tests: real Redis, gunicorn, Celery worker and Docker engine."""

import atexit
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import docker

from app.children import Child
from app.ledger import connect, keys
from app.stack import InUse, Layout, Stack
from tests.api.faces import deployment
from tests.api.wire import Answer
from tests.e2e.patient import PATIENCE_SECONDS, PatientFaces
from tests.images import base_image
from tests.ports import free_port
from tests.second_engine import SecondEngine
from workers.prepare import install_usher

APP = Path(__file__).parents[1] / "usher" / "app.py"
# Works until it is told to go on, by a file in a directory that the test can write to.
WAITS = "c = take_job(); p = '/.onejob/spool/go'\nwhile not os.path.exists(p): time.sleep(0.01)\n"
DEADLINE_SECONDS = 300  # of jobs that are to end before it, however slow the machine is


class Place:
    """Where a worker's replicas run: an engine, and a spool root beside it."""

    def __init__(self, spool: Path, docker_host: str | None = None) -> None:
        self.spool = spool
        self._docker_host = docker_host

    @property
    def node(self) -> str:
        """The id of the node."""
        return (self.spool / "node").read_text()

    def containers(self) -> list[str]:
        """Names of the replicas' containers, in any phase."""
        client = docker.APIClient(self._docker_host)
        filters = {"label": f"onejob.node={self.node}"}
        found = client.containers(all=True, filters=filters)
        client.close()
        # One that is just being removed has no name any more.
        return [c["Names"][0].lstrip("/") if c["Names"] else c["Id"] for c in found]

    def spools(self) -> list[str]:
        """Names in the spool's directory of attempts."""
        return [path.name for path in (self.spool / "attempts").iterdir()]


class HouseStack(Stack):
    """Its Redis also listens where other machines reach it."""

    listens = ("127.0.0.1",)

    def start_redis(self) -> None:
        """As ever, and on all the addresses."""
        super().start_redis()
        if len(self.listens) > 1:
            self.listen()

    def listen(self, *addresses: str) -> None:
        """Adds addresses, which this machine must have."""
        self.listens = (*dict.fromkeys((*self.listens, *addresses)),)
        client = connect(self.redis_url)
        client.config_set("bind", " ".join(self.listens))
        client.close()


class House:
    """Everything on one data directory; its jobs run whatever lines a test gives them."""

    stack_class = HouseStack

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self._layout = Layout(folder, free_port(), free_port())
        self._settings = {f"ONEJOB_{name.upper()}": str(v) for name, v in settings.items()}
        self._settings["ONEJOB_USHER"] = str(_usher())
        self.places = [Place(self._layout.spool)]  # the second worker's comes second
        self.stack: HouseStack
        self.faces: PatientFaces

    def start(self) -> None:
        """Starts Redis, API and worker, on what an earlier start left."""
        if hasattr(self, "stack"):
            self.stack.unlock()  # its processes were killed one by one
        # Processes that were killed may have its lock for a little longer than it waits.
        self.stack = until(self._unused_stack)
        self.stack.start_redis()
        self.stack.ensure_inference_key()
        self.stack.start_api()
        self.stack.start_worker()
        self.log_in()

    def _unused_stack(self) -> HouseStack | None:
        try:
            return self.stack_class(self._layout, self._settings)
        except InUse:
            return None

    def log_in(self) -> None:
        """Makes clients of the API, with its key and a token."""
        known = self.stack.credentials
        grant = {"grant_type": "client_credentials"} | {
            "client_id": known.client_id,
            "client_secret": known.client_secret,
        }
        self.faces = PatientFaces(self._layout.port, known.inference_key, "")
        token = self.faces.control("POST", "/oauth2/token", grant).json["access_token"]
        self.faces = PatientFaces(self._layout.port, known.inference_key, token)

    def start_second_worker(self, engine: SecondEngine) -> Place:
        """A worker named `worker-2` on a second engine's machine; again after it was killed."""
        here = engine.machine.here
        self.stack.listen(here)
        place = Place(engine.folder / "spool", engine.url)
        environ = self.stack.environ() | {
            "ONEJOB_REDIS_URL": self.stack.redis_url.replace("127.0.0.1", here),
            "ONEJOB_DOCKER_HOST": engine.url,
            "ONEJOB_SPOOL_ROOT": str(place.spool),
        }
        celery = str(Path(sys.executable).parent / "celery")
        argv = [*engine.machine.prefix, celery, "-A", "workers.celery", "worker"]
        argv += ["--loglevel=INFO", "--hostname=worker@%h", "--without-mingle", "--without-gossip"]
        announced = self._announced(place)
        child = Child("worker-2", argv, self._layout.log("worker-2"), environ, stop_seconds=30)
        self.stack.children.append(child)
        child.until(lambda: self._announced(place) > announced, PATIENCE_SECONDS)
        self.places[1:] = [place]
        return place

    def _announced(self, place: Place) -> float:
        """When the place's node gave its last sign of life, by Redis's clock; 0 if it never did."""
        if not (place.spool / "node").exists():
            return 0
        client = connect(self.stack.redis_url)
        at: Any = client.zscore(keys.nodes(), place.node)
        client.close()
        return float(at or 0)

    def stop(self) -> None:
        """Stops everything, as Ctrl-C does."""
        self.stack.stop(lambda name: None)

    def child(self, name: str) -> Child:
        """One of the processes."""
        return next(child for child in self.stack.children if child.name == name)

    def kill(self, name: str) -> None:
        """kill -9 of one of the processes and all it has started."""
        child = self.child(name)
        child.kill()
        self.stack.children.remove(child)

    # -- jobs --------------------------------------------------------------------------------

    def deploy(self, name: str, lines: str, **changes: Any) -> str:
        """A deployment whose replicas run these lines of tests/usher/app.py's language."""
        argv = ["python3", "-I", "-S", "-c", APP.read_text(), lines]
        container = {
            "image": base_image(),
            "exposed_port": 8000,
            "entrypoint_overrides": {"enabled": True, "entrypoint": argv},
        } | changes.pop("container", {})
        scaling = deployment()["scaling"] | {"deadline_seconds": DEADLINE_SECONDS}
        scaling |= changes.pop("scaling", {})
        return self.faces.deploy(name, containers=[container], scaling=scaling, **changes)

    def status(self, name: str, job_id: str) -> dict[str, Any]:
        """What /status says."""
        return _members(self.faces.status(name, job_id))

    def until(
        self, name: str, job_id: str, wanted: Callable[[dict[str, Any]], object]
    ) -> dict[str, Any]:
        """Polls /status, as clients do, until it says what is wanted."""

        def look() -> dict[str, Any] | None:
            status = self.status(name, job_id)
            return status if wanted(status) else None

        return until(
            look, lambda: f"{self.faces.status(name, job_id)}\n{self.child('worker').tail()}"
        )

    def finished(self, name: str, job_id: str) -> dict[str, Any]:
        """Waits for the job's end; what /status says then."""
        return self.until(name, job_id, lambda status: status["Status"] == "Completed")

    def run(self, name: str, path: str = "/", body: bytes = b"") -> tuple[dict[str, Any], Answer]:
        """Submits a job, waits for its end, and fetches its result."""
        job_id = self.faces.submit(name, path, body)
        return self.finished(name, job_id), self.faces.result(name, job_id)

    # -- what is left ------------------------------------------------------------------------

    @property
    def node(self) -> str:
        """The id of the first worker's node."""
        return self.places[0].node

    def containers(self) -> list[str]:
        """Names of the first worker's containers, in any phase."""
        return self.places[0].containers()

    def spools(self) -> list[str]:
        """Names in the first worker's directory of attempts."""
        return self.places[0].spools()

    def until_nothing_is_left(self) -> None:
        """Waits until no container and no spool directory is left, wherever a worker runs."""
        until(
            lambda: not any(place.containers() or place.spools() for place in self.places),
            lambda: " ".join(f"{place.containers()} {place.spools()}" for place in self.places),
        )


def _members(status: Answer) -> dict[str, Any]:
    assert status.status == 200, status
    members: dict[str, Any] = status.json
    return members


def until(look: Callable[[], Any], explain: Callable[[], str] = lambda: "") -> Any:
    """Looks until there is something to see, and returns it."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < give_up, f"waited in vain: {explain()}"
        time.sleep(0.02)  # other processes' doings are seen by polling only
    return seen


@cache
def _usher() -> Path:
    """Its binary, compiled once for all houses of this process: each would take a second."""
    folder = tempfile.TemporaryDirectory(prefix="onejob-usher-")
    atexit.register(folder.cleanup)
    return install_usher(Path(folder.name))
