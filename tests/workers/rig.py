"""One node without Docker: a real ledger, an engine in memory, and an usher that the test plays."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.domain.compute import Capacity, Offer
from app.domain.deployment import Deployment
from app.domain.job import Hint, Job, State
from app.domain.shared import SharedVolume
from app.domain.transport import RequestHead
from app.ledger import Ledger, connect
from app.settings import Settings
from tests.ledger.scene import submission
from tests.workers.stand_ins import (
    BODY,
    HEAD,
    IMAGE,
    PATIENCE_SECONDS,
    Background,
    Engine,
    Gate,
    Hook,
    Hooked,
    HookedSecretRoot,
    HookedSpoolRoot,
    Killed,
    Refused,
    Usher,
    kill_at,
    runs,
    works,
)
from workers import supervisor
from workers.engine import ContainerSpec
from workers.fitness import Fitness
from workers.room import Room
from workers.roster import Roster
from workers.secret_files import SecretRoot
from workers.site import Site
from workers.spool import SpoolRoot, remove_tree
from workers.sweep import Sweep
from workers.upkeep import Upkeep
from workers.watch import Watcher

__all__ = [
    "BODY",
    "HEAD",
    "Background",
    "Engine",
    "Gate",
    "Hooked",
    "Killed",
    "Rig",
    "Usher",
    "kill_at",
    "runs",
    "spec",
    "works",
]

REQUEST = b"\0request\xff"
PAST = 1_000_000_000.0
# For a Redis that waits for the disk: what the client repeats is done twice, and not all that tests
# do can bear that.
CALL_SECONDS = 30.0
WATCHER = Watcher()


class Rig:
    """A node, a deployment, and short words for what happens to its jobs."""

    def __init__(self, url: str, spool_root: Path, cap: int = 1, **settings: Any) -> None:
        self.url = url
        # No lease lapses and no hint is due only because the machine stood still for a while.
        members: dict[str, Any] = {"lease_seconds": 60, "hint_seconds": 600}
        members |= {"stop_grace_seconds": 0.1, "redis_url": url}
        self.settings = Settings(spool_root=spool_root, **(members | settings))
        self.ledger = Ledger(
            connect(url, CALL_SECONDS), self.settings.hint_seconds, self.settings.secrets_key
        )
        self.engine = Engine()
        self.engine.on_start = self._started
        self.root = SpoolRoot(spool_root)
        self.node = self.root.make()
        # In memory, as it has to be; made by the first that needs it.
        self.secret_root = SecretRoot(Path(f"/dev/shm/onejob-test-{self.node}") / self.node)
        self.offer = Offer(Capacity(64, 2**20))
        self.volumes: dict[str, SharedVolume] = {}
        self.published: list[Hint] = []
        self.to_node_published: list[Hint] = []
        self.deployment = self.ledger.deployments.create(spec(cap=cap), "me")
        self.uid = self.deployment.uid
        self.script: Callable[[Usher], None] = works
        self.ushers: dict[str, Usher] = {}
        self.threads: list[threading.Thread] = []

    def close(self) -> None:
        """Waits for the threads that were started."""
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "a supervisor never came to its end"
        self.ledger.client.close()
        remove_tree(self.secret_root.path.parent)

    # -- worker processes --------------------------------------------------------------------

    def site(self, hook: Hook = lambda _: None, **settings: Any) -> Site:
        """Another worker process of the node."""
        given = self.settings.model_copy(update=settings)
        ledger = Ledger(connect(self.url, CALL_SECONDS), given.hint_seconds, given.secrets_key)
        for name in ("attempts", "payloads"):
            setattr(ledger, name, Hooked(getattr(ledger, name), name, hook))
        return Site(
            settings=given,
            ledger=ledger,
            engine=Hooked(self.engine, "engine", hook),  # type: ignore[arg-type]
            spool_root=HookedSpoolRoot(self.root.path, hook),
            secret_root=HookedSecretRoot(self.secret_root.path, hook),
            node=self.node,
            notes=(),
            identity="this machine",
            usher=self.root.path / "node",  # any file that is there
            room=Room(ledger.attempts, self.node, self.offer, self.to_node),
            publish=self.published.extend,
            roster=Roster(),
            fitness=Fitness(),
            watcher=WATCHER,
            volumes=self.volumes,
        )

    def supervise(
        self,
        job_id: str = "j1",
        site: Site | None = None,
        note_started: Callable[[], None] = lambda: None,
    ) -> Job | None:
        """Runs the task, to its end."""
        return supervisor.supervise(site or self.site(), self.uid, job_id, note_started)

    def killed_at(self, point: str, job_id: str = "j1", time: int = 1) -> None:
        """Runs the task, and kills it there."""
        with pytest.raises(Killed):
            self.supervise(job_id, self.site(kill_at(point, time)))

    def supervising(self, job_id: str = "j1", site: Site | None = None) -> "Background":
        """Runs the task in a thread."""
        background = Background(lambda: self.supervise(job_id, site))
        self.threads.append(background)
        background.start()
        return background

    def sweep(self, site: Site | None = None) -> Sweep:
        """A sweep whose messages the test sees."""
        return Sweep(site or self.site(), self)  # type: ignore[arg-type]

    def upkeep(self, site: Site | None = None) -> Upkeep:
        """The upkeep, which does not wait for a grace."""
        return Upkeep(site or self.site(), grace_seconds=0)

    def __call__(self, hints: Iterable[Hint]) -> None:
        """The publisher."""
        self.published.extend(hints)

    def to_node(self, hints: Iterable[Hint], node: str) -> None:
        """The publisher, for the node's own queue."""
        assert node == self.node
        self.to_node_published.extend(hints)

    def _started(self, spec: ContainerSpec) -> None:
        usher = self.ushers[spec.name] = Usher(self.engine, spec)
        with suppress(Refused):
            self.script(usher)

    # -- jobs --------------------------------------------------------------------------------

    def submit(self, job_id: str = "j1", **changes: Any) -> None:
        """Accepts a job."""
        head = RequestHead("POST", "/", (("Content-Type", "text/plain"),)).to_bytes()
        upload = self.ledger.payloads.upload(head)
        upload.write(REQUEST)
        self.ledger.jobs.accept(self.deployment, job_id, submission(**changes), upload)

    def lapse(self, job_id: str = "j1") -> None:
        """Moves the end of a job's lease into the past."""
        leases = f"onejob:node:{self.node}:leases"
        self.ledger.client.zadd(leases, {f"{self.uid}/{job_id}": PAST}, xx=True)

    def respec(self, **changes: Any) -> None:
        """Changes the stored spec: `containers` and others, as a client would write them."""
        changed = Deployment.model_validate(spec().model_dump() | changes)
        self.ledger.client.hset(
            f"onejob:deployment:{self.uid}:specs", "1", changed.model_dump_json()
        )

    def job(self, job_id: str = "j1") -> Job:
        """A job's record."""
        return self.ledger.jobs.get(self.uid, job_id)

    def fate(self, job_id: str = "j1") -> tuple[str, str | None]:
        """State and reason."""
        job = self.job(job_id)
        return str(job.state), job.reason and str(job.reason)

    def events(self, job_id: str = "j1") -> list[str]:
        """The events of a job's timeline."""
        return [entry.event for entry in self.ledger.jobs.view(self.uid, job_id).timeline]

    def replica(self, job_id: str = "j1", attempt: int = 1) -> str:
        """A container's name."""
        return f"onejob-{self.uid}-{attempt}-{job_id}"

    def usher(self, job_id: str = "j1", attempt: int = 1) -> Usher:
        """The usher of a started replica."""
        return self.ushers[self.replica(job_id, attempt)]

    def result(self, job_id: str = "j1") -> tuple[bytes, bytes] | None:
        """Head and body of the stored response."""
        token = self.job(job_id).response
        if token is None:
            return None
        head, body = self.ledger.payloads.read(token)
        return head, b"".join(body)

    def slots(self) -> set[bytes]:
        """The jobs that hold a slot."""
        found: Any = self.ledger.client.smembers(f"onejob:deployment:{self.uid}:slots")
        return set(found)

    def check_nothing_left(self) -> None:
        """No container, no directory, no lease, no slot. Drafts are the sweep's, in time."""
        assert self.engine.names() == set()
        assert self.root.replicas() == []
        assert self.secret_root.replicas() == []
        assert self.ledger.attempts.held(self.node) == []
        assert self.slots() == set()

    def until(self, holds: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
        """Waits for something that Redis alone tells."""
        give_up = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < give_up, f"not within {seconds} s"
            time.sleep(0.002)

    def until_state(self, state: State, job_id: str = "j1") -> None:
        """Waits until a job stands there."""
        self.until(lambda: self.job(job_id).state is state)


def spec(cap: int = 1) -> Deployment:
    """What a client says about the deployment."""
    return Deployment.model_validate(
        {
            "name": "dep",
            "containers": [{"image": IMAGE, "exposed_port": 8080}],
            "compute": {"name": "cpu"},
            "scaling": {
                "max_replica_count": cap,
                "queue_message_ttl_seconds": 600,
                "deadline_seconds": 60,
            },
        }
    )
