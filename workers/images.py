"""What an engine tells of its images: how far a pull is, and which ones it brought."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PullNews:
    """How far a pull is. `known_bytes` counts the layers that have begun, so it grows.

    `done_bytes` is None where another process of this machine pulls: it does not say how far it is.
    """

    seconds: float  # since it began
    done_bytes: int | None
    known_bytes: int
    over: bool = False  # well: a pull that fails is raised


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in to an image's registry. Two of the same `id` are the same.

    `ask` gives user name and password; it may have to ask for them, and raise an EngineError.
    """

    id: str
    ask: Callable[[], tuple[str, str]] = field(compare=False, repr=False)


Watch = Callable[[PullNews], None]


def unwatched(_news: PullNews) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class PulledImage:
    """An image that came here by a pull of ours, and when a job last wanted it (aware)."""

    id: str
    refs: tuple[str, ...]
    used_at: datetime
