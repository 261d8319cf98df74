"""The container engine's verbs, as the supervisor and the sweep use them.

Each verb can be repeated: what it asks for may have come about before, by an earlier try that was
never answered, and then it is a success. All may be called from many threads at once, and none
blocks without a bound.

EngineError
|-- EngineUnavailable    does not answer in time: what it did is unknown, its containers never dead
|-- EngineTrouble        it answered with a failure of its own: never the app's fault
|   `-- ImageGone        the image was removed after it was looked up
|-- StartRefused         what was asked for can't be made or started: the deployment's fault
|-- SpoolMissing         the source of a bind mount is gone
|-- NoSuchContainer      there is no container of this id
`-- ImageError           there is no image to run
    |-- ImageNotFound    its registry does not know it
    |-- ImageDenied      its registry does not give it to us
    `-- ImagePullFailed  anything else; the text is the registry's
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Literal, Protocol

from app.domain.log import Piece
from workers.images import Login, PulledImage, Watch, unwatched

ROOM_LABEL = "onejob.room"  # what it has of its machine: `app.domain.compute.reservation`
NODE_LABEL = "onejob.node"  # what `Engine.owned` goes by
DEADLINE_LABEL = "onejob.deadline_seconds"  # of a replica's life, from its start


class EngineError(Exception):
    """What the engine was asked for did not happen, or may not have; the text is the engine's."""


class EngineUnavailable(EngineError):
    """No answer in time. What was asked for may have happened all the same: look again."""


class EngineTrouble(EngineError):
    """The engine failed by itself: disk full, no network, an internal error."""


class ImageGone(EngineTrouble):
    """There is no image of this id any more: look up its reference again."""


class StartRefused(EngineError):
    """The engine can't make or start such a container, now or later: a bad mount, a bad value."""


class SpoolMissing(EngineError):
    """The source of a bind mount is gone: whoever removed it ended this attempt."""


class NoSuchContainer(EngineError):
    """There is no container of this id."""


class ImageError(EngineError):
    """There is no image to run."""


class ImageNotFound(ImageError):
    """The registry knows no such image."""


class ImageDenied(ImageError):
    """The registry does not give the image to us; some say so of images that do not exist."""


class ImagePullFailed(ImageError):
    """The image did not come, for another reason."""


LIVE_RESTORE_OFF = "live-restore is off: a restart of the engine ends its jobs"  # a weakness


class Phase(Enum):
    """How far a container is in its one life."""

    CREATED = auto()  # never ran, whether or not a start was tried
    RUNNING = auto()
    EXITED = auto()


@dataclass(frozen=True, slots=True)
class Image:
    """An image that lies on the engine; `id` names its content, not its tag."""

    id: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    stop_signal: int  # 15 where the image names none


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file in a container.

    A `bind` shows an absolute path of the engine's host, which has to exist. A `volume` with the
    source "" is a new empty one, or a copy of what the image has there; it goes when the
    container is removed.
    """

    type: Literal["bind", "volume"]
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use. No swap; `gpus` are whole devices, as the engine knows them."""

    cpus: float
    memory_bytes: int
    pids: int  # processes and threads
    gpus: tuple[str, ...]
    shm_bytes: int


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to create. `argv` runs instead of the image's own entrypoint and command.

    `image` is an `Image.id`, `env` stands on top of the image's. `network` is the name of a
    network, or "none". `runtime` is one that the engine knows, None its default. `stop_signal` and
    `stop_grace_seconds` are for those who stop it from outside (`docker stop`); the verb `stop` is
    told its grace.
    """

    name: str
    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)  # it may have secrets
    labels: Mapping[str, str]
    mounts: tuple[Mount, ...]
    limits: Limits
    network: str
    stop_signal: int
    stop_grace_seconds: int
    runtime: str | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container's process 1 ended: its code, or 128 + the number of its signal.

    `oom_killed` says that some process met the memory limit, not that it was process 1.
    """

    code: int
    oom_killed: bool


@dataclass(frozen=True, slots=True)
class Container:
    """A container, as the engine told it just now.

    Instants are aware. `started_at`, `exit` and `finished_at` are known from `find`,
    `deadline_seconds` from `owned`, `created_at` from both; other verbs may leave them out. Before
    it is started there are none of the first, and before it ended none of the others.
    """

    id: str
    name: str
    phase: Phase
    started_at: datetime | None = None
    exit: Exit | None = None
    finished_at: datetime | None = None
    created_at: datetime | None = None
    deadline_seconds: int | None = None  # of its label
    room: str = ""  # of its label; from `owned` alone


class Engine(Protocol):
    """The verbs. Every one may raise EngineUnavailable and EngineTrouble."""

    def image(
        self, ref: str, *, refresh: bool, watch: Watch = unwatched, login: Login | None = None
    ) -> Image:
        """The image of a reference, pulled if it is not here: once, whoever else asks for it.

        With `refresh` the registry is asked in any case, be it by a pull that began before; if it
        can't be reached, what is here will do. `watch` hears of a pull when it begins, at least
        every second while it lasts, and when it ended well; what it raises ends the wait. Who pulls
        with a `login` shares a pull only with the same. Raises ImageNotFound, ImageDenied,
        ImagePullFailed.
        """
        ...

    def pulled(self) -> list[PulledImage]:
        """The images that pulls of ours brought, the least recently used first."""
        ...

    def discard(self, image: PulledImage) -> bool:
        """Removes an image that no container uses; whether it is gone. Never by force."""
        ...

    def fullness(self) -> float | None:
        """Percent of the disk that holds the images, as `df` counts; None if it can't be seen."""
        ...

    def create(self, spec: ContainerSpec) -> Container:
        """Creates the container, or finds the one that already has its name, in any phase.

        Raises StartRefused, SpoolMissing, ImageGone.
        """
        ...

    def start(self, id: str) -> None:
        """Starts a container; one that runs already stays as it is.

        One that has exited would **run a second time**: the caller starts only what never ran.
        Raises StartRefused, SpoolMissing, NoSuchContainer.
        """
        ...

    def find(self, name: str) -> Container | None:
        """The container of this exact name with all that is known of it, else None."""
        ...

    def stop(self, id: str, seconds: float) -> None:
        """Sends the container its stop signal, and kills it if it still runs `seconds` later.

        Returns once it does not run any more, or does not exist.
        """
        ...

    def kill(self, id: str) -> None:
        """Kills all of a container's processes, if it runs or exists at all.

        Returns when the engine has sent the signal; that it is over, `find` tells.
        """
        ...

    def wait(self, id: str, seconds: float) -> None:
        """Waits until the container does not run, or does not exist; at most that long.

        Once it does not run, all that it wrote to its output is in `logs`.
        """
        ...

    def remove(self, id: str) -> None:
        """Removes a container, running or not, with its anonymous volumes.

        Returns once there is no such container.
        """
        ...

    def owned(self, node: str) -> list[Container]:
        """All containers with the label `onejob.node` = node, in one cheap call.

        What the call does not tell is None: `started_at` always, `exit` mostly.
        """
        ...

    def logs(self, id: str, pieces: int, since: int = 0) -> list[Piece]:
        """The last pieces of what the container wrote to its output, at most so many.

        Both streams as they came; of those from an instant on (nanoseconds since the epoch) if one
        is given. Raises NoSuchContainer.
        """
        ...

    def weaknesses(self) -> list[str]:
        """What of its settings may cost jobs, in words for an operator."""
        ...

    def machine(self) -> tuple[float, int]:
        """The processors and the memory, in bytes, of the machine that it runs on."""
        ...

    def ensure_network(self, name: str) -> None:
        """Makes the network of this name if there is none: no traffic between its containers.

        "none" and "bridge" are the engine's own and left alone. Raises ValueError for "host".
        """
        ...

    def close(self) -> None:
        """Closes the connections; no verb can be used after it."""
        ...
