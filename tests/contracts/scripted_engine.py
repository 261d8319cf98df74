"""An engine in memory: containers are entries, and a test says what happens in them."""

import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from app.domain.log import Piece, Stream
from workers.engine import (
    DEADLINE_LABEL,
    NODE_LABEL,
    ROOM_LABEL,
    Container,
    ContainerSpec,
    EngineError,
    EngineUnavailable,
    Exit,
    Image,
    ImageError,
    ImageGone,
    ImageNotFound,
    NoSuchContainer,
    Phase,
    SpoolMissing,
    StartRefused,
)
from workers.images import Login, PulledImage, PullNews, Watch, unwatched

IMAGE = Image("sha256:scripted", ("python3",), ("app.py",), 15)
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Program:
    """What a container does by itself. Codes; `exits` None: it runs until it is ended.

    `stops_with` None: it ignores the stop signal, and is killed when the grace is over.
    """

    exits: int | None = None
    stops_with: int | None = 0
    output: bytes = b""


@dataclass
class Replica:
    """A container with what the engine remembers of it."""

    id: str
    spec: ContainerSpec
    created_at: datetime
    phase: Phase = Phase.CREATED
    started_at: datetime | None = None
    exit: Exit | None = None
    finished_at: datetime | None = None
    output: list[Piece] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def write(self, output: bytes, stream: Stream = Stream.STDOUT) -> None:
        at = time.time_ns()
        for text in re.findall(rb"[^\n]*\n|[^\n]+", output):
            at += 1  # the clock may not have ticked
            self.output.append(Piece(at, stream, text))

    def listed(self) -> Container:
        deadline = self.spec.labels.get(DEADLINE_LABEL)
        return Container(
            self.id,
            self.spec.name,
            self.phase,
            created_at=self.created_at,
            deadline_seconds=int(deadline) if deadline else None,
            room=self.spec.labels.get(ROOM_LABEL, ""),
        )

    def seen(self) -> Container:
        return Container(
            self.id,
            self.spec.name,
            self.phase,
            self.started_at,
            self.exit,
            self.finished_at,
            self.created_at,
        )


@dataclass(frozen=True)
class Fault:
    error: EngineError
    after: bool


class ScriptedEngine:
    """`workers.engine.Engine` in memory, for any number of threads. No time passes in it.

    - `images`: what `image` and `create` know, by reference; an error as a value is raised.
    - `registry`: what is pulled by reference; `on_pull` is called in the middle of it, in the
      calling thread and without a lock.
    - `filled`: what `fullness` says.
    - `programs`: by argv, what a container does; one that is not listed runs until it is ended.
    - `on_start`, `on_stop`: called with the container's spec, in the calling thread and without
      a lock: here a test plays the usher, and may call `exit`.
    - `available` = False: every verb raises EngineUnavailable.
    - `calls`: the verbs, as they were called; `starts`: how often each name was started;
      `logins`: with what images were asked for.
    """

    def __init__(self, images: Mapping[str, Image | ImageError] | None = None) -> None:
        self.images = dict({"scripted:1": IMAGE} if images is None else images)
        self.registry: dict[str, Image] = {}
        self.on_pull: Callable[[str, Watch], None] | None = None
        self.filled: float | None = None
        self.programs: dict[tuple[str, ...], Program] = {}
        self.on_start: Callable[[ContainerSpec], None] | None = None
        self.on_stop: Callable[[ContainerSpec], None] | None = None
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.available = True
        self.calls: list[str] = []
        self.starts: Counter[str] = Counter()
        self.logins: list[Login | None] = []
        self.networks: set[str] = set()
        self.volumes: set[str] = set()
        self._replicas: dict[str, Replica] = {}  # by name
        self._pulled: dict[str, PulledImage] = {}  # by id
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._numbers = count(1)
        self._changed = threading.Condition(threading.RLock())

    # -- the test's side ---------------------------------------------------------------------

    def fail(self, verb: str, error: EngineError, *, after: bool = False, times: int = 1) -> None:
        """The next calls of a verb raise; with `after` they have done their work all the same."""
        with self._changed:
            self._faults[verb].extend([Fault(error, after)] * times)

    def exit(self, name: str, code: int, *, oom_killed: bool = False) -> None:
        """The container's process 1 ends; nothing happens if it does not run."""
        with self._changed:
            replica = self._replicas.get(name)
            if replica is not None and replica.phase is Phase.RUNNING:
                replica.phase, replica.exit = Phase.EXITED, Exit(code, oom_killed)
                replica.finished_at = self.now()
                self._changed.notify_all()

    def write(self, name: str, output: bytes, stream: Stream = Stream.STDOUT) -> None:
        """The container writes to its log."""
        with self._changed:
            self._replicas[name].write(output, stream)

    def forget_output(self, name: str) -> None:
        """As if the container had written nothing so far."""
        with self._changed:
            self._replicas[name].output.clear()

    def vanish(self, name: str) -> None:
        """The engine loses the container."""
        with self._changed:
            self._forget(self._replicas[name])

    def spec(self, name: str) -> ContainerSpec:
        """What a container was made from. Raises KeyError."""
        with self._changed:
            return self._replicas[name].spec

    def names(self) -> set[str]:
        """The names of all containers."""
        with self._changed:
            return set(self._replicas)

    def wait_until(self, holds: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until it holds, looking after every call and every end; AssertionError if not."""
        with self._changed:
            assert self._changed.wait_for(holds, seconds), f"not within {seconds} s"

    def wait_for_call(self, verb: str, times: int = 1) -> None:
        """Waits until a verb has been called so often."""
        self.wait_until(lambda: self.calls.count(verb) >= times)

    # -- the engine's side -------------------------------------------------------------------

    def image(
        self, ref: str, *, refresh: bool, watch: Watch = unwatched, login: Login | None = None
    ) -> Image:
        with self._verb("image"):
            self.logins.append(login)
            if ref in self.registry and (refresh or ref not in self.images):
                self._pull(ref, watch)
            found = self.images.get(ref)
            if found is None:
                raise ImageNotFound(f"no such image: {ref}")
            if isinstance(found, ImageError):
                raise found
            with self._changed:
                if known := self._pulled.get(found.id):
                    self._pulled[found.id] = replace(known, used_at=self.now())
            return found

    def _pull(self, ref: str, watch: Watch) -> None:
        watch(PullNews(0.0, 0, 0))
        if self.on_pull is not None:
            self.on_pull(ref, watch)
        with self._changed:
            image = self.images[ref] = self.registry[ref]
            self._changed.notify_all()
            self._pulled[image.id] = PulledImage(image.id, (ref,), self.now())
        watch(PullNews(1.5, 2_000_000, 2_000_000, over=True))

    def pulled(self) -> list[PulledImage]:
        with self._verb("pulled"), self._changed:
            return sorted(self._pulled.values(), key=lambda image: image.used_at)

    def discard(self, image: PulledImage) -> bool:
        with self._verb("discard"), self._changed:
            if any(r.spec.image == image.id for r in self._replicas.values()):
                return False
            for ref in image.refs:
                self.images.pop(ref, None)
            self._pulled.pop(image.id, None)
            return True

    def fullness(self) -> float | None:
        with self._verb("fullness"):
            return self.filled

    def create(self, spec: ContainerSpec) -> Container:
        with self._verb("create"), self._changed:
            self._check(spec)
            if spec.name not in self._replicas:
                self._replicas[spec.name] = self._made(spec)
                self._changed.notify_all()
            return replace(self._replicas[spec.name].seen(), created_at=None)

    def start(self, id: str) -> None:
        with self._verb("start"):
            with self._changed:
                replica = self._by_id(id)
                if replica.phase is Phase.RUNNING:
                    return
                _check_sources(replica.spec)
                self._run(replica)
            if self.on_start is not None:
                self.on_start(replica.spec)

    def find(self, name: str) -> Container | None:
        with self._verb("find"), self._changed:
            replica = self._replicas.get(name)
            return replica.seen() if replica else None

    def stop(self, id: str, seconds: float) -> None:
        with self._verb("stop"):
            replica = self._known(id)
            if replica is None or replica.phase is not Phase.RUNNING:
                return
            if self.on_stop is not None:
                self.on_stop(replica.spec)
            code = self._program(replica.spec).stops_with
            self.exit(replica.spec.name, 137 if code is None else code)

    def kill(self, id: str) -> None:
        with self._verb("kill"):
            replica = self._known(id)
            if replica is not None:
                self.exit(replica.spec.name, 137)

    def wait(self, id: str, seconds: float) -> None:
        with self._verb("wait"), self._changed:
            self._changed.wait_for(lambda: not self._runs(id), seconds)

    def remove(self, id: str) -> None:
        with self._verb("remove"), self._changed:
            replica = self._known(id)
            if replica is not None:
                self._forget(replica)

    def owned(self, node: str) -> list[Container]:
        with self._verb("owned"), self._changed:
            replicas = [r for r in self._replicas.values() if r.spec.labels.get(NODE_LABEL) == node]
            # As little as Docker's listing tells.
            return [r.listed() for r in replicas]

    def logs(self, id: str, pieces: int, since: int = 0) -> list[Piece]:
        with self._verb("logs"), self._changed:
            output = [piece for piece in self._by_id(id).output if piece.at >= since]
            return output[max(0, len(output) - pieces) :]

    def weaknesses(self) -> list[str]:
        with self._verb("weaknesses"):
            return []

    def machine(self) -> tuple[float, int]:
        with self._verb("machine"):
            return 64.0, 2**40

    def ensure_network(self, name: str) -> None:
        if name == "host":
            raise ValueError("not a network for replicas: 'host'")
        with self._verb("ensure_network"), self._changed:
            self.networks.add(name)

    def close(self) -> None:
        self.calls.append("close")

    # -- inside ------------------------------------------------------------------------------

    @contextmanager
    def _verb(self, verb: str) -> Iterator[None]:
        with self._changed:
            self.calls.append(verb)
            self._changed.notify_all()
            if not self.available:
                raise EngineUnavailable("scripted: no answer")
            fault = self._faults[verb].popleft() if self._faults[verb] else None
        if fault is not None and not fault.after:
            raise fault.error
        yield
        if fault is not None:
            raise fault.error

    def _check(self, spec: ContainerSpec) -> None:
        if spec.network == "host":
            raise ValueError("not a network for replicas: 'host'")
        images = (i for i in self.images.values() if isinstance(i, Image))
        if spec.image not in {i.id for i in images}:
            raise ImageGone(f"No such image: {spec.image}")
        _check_sources(spec)
        for mount in spec.mounts:
            if not mount.target.startswith("/"):
                raise StartRefused(f"mount path must be absolute: {mount.target!r}")

    def _made(self, spec: ContainerSpec) -> Replica:
        number = next(self._numbers)
        empty = [m for m in spec.mounts if m.type == "volume" and not m.source]
        volumes = [f"volume-{number}-{place}" for place in range(len(empty))]
        self.volumes.update(volumes)
        return Replica(f"{number:064x}", spec, self.now(), volumes=volumes)

    def _run(self, replica: Replica) -> None:
        program = self._program(replica.spec)
        replica.phase, replica.started_at, replica.exit = Phase.RUNNING, self.now(), None
        replica.write(program.output)
        self.starts[replica.spec.name] += 1
        self._changed.notify_all()
        if program.exits is not None:
            self.exit(replica.spec.name, program.exits)

    def _program(self, spec: ContainerSpec) -> Program:
        return self.programs.get(spec.argv, Program())

    def _forget(self, replica: Replica) -> None:
        del self._replicas[replica.spec.name]
        self.volumes.difference_update(replica.volumes)
        self._changed.notify_all()

    def _known(self, id: str) -> Replica | None:
        with self._changed:
            return next((r for r in self._replicas.values() if r.id == id), None)

    def _runs(self, id: str) -> bool:
        replica = self._known(id)
        return replica is not None and replica.phase is Phase.RUNNING

    def _by_id(self, id: str) -> Replica:
        replica = self._known(id)
        if replica is None:
            raise NoSuchContainer(f"No such container: {id}")
        return replica


def _check_sources(spec: ContainerSpec) -> None:
    for mount in spec.mounts:
        if mount.type == "bind" and not Path(mount.source).exists():
            raise SpoolMissing(f"bind source path does not exist: {mount.source}")
