"""This machine's room: what it has for replicas, and who waits for it.

A job that finds no room waits in line in the ledger. Whoever frees some has the next ones hinted at
on the node's own queue; the sweep does too, for what others freed.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import redis

from app.dispatch import node_queue
from app.domain.compute import Capacity, Offer
from app.domain.job import Hint
from app.ledger.attempts import Attempts
from app.settings import Settings
from workers.engine import Engine

NVIDIA = Path("/proc/driver/nvidia/gpus")
NO_GPUS = "none"
MIB = 2**20
ToNode = Callable[[Iterable[Hint], str], None]


class Room:
    """The room of one node, as one worker process knows it."""

    def __init__(self, attempts: Attempts, node: str, offer: Offer, to_node: ToNode) -> None:
        self.offer = offer
        self._attempts = attempts
        self._node = node
        self._to_node = to_node
        self._waited_for = False

    def lacking(self) -> None:
        """A job of ours waits for it."""
        self._waited_for = True

    def freed(self) -> None:
        """A replica of ours is gone."""
        if self._waited_for:
            with suppress(redis.RedisError):  # the sweep will do it
                self.fill()

    def fill(self) -> None:
        """Hints at the jobs that there is room for now. Raises redis's errors."""
        queue = node_queue(self._node)
        self._waited_for, hints = self._attempts.fill_room(self._node, queue, self.offer)
        self._to_node(hints, self._node)


def capacity(settings: Settings, engine: Engine, nvidia: Path = NVIDIA) -> Capacity:
    """What the settings say that this machine has; else what it has. Raises EngineError."""
    cpus, memory = engine.machine()
    return Capacity(
        settings.node_cpus or cpus,
        settings.node_memory_mb or memory // MIB,
        _named(settings.node_gpus) if settings.node_gpus else _found(nvidia),
    )


def shortages(offer: Offer) -> list[str]:
    """What a compute file asks of this machine that it can't give, in words for an operator."""
    return [f"this machine is too small for compute {name!r}" for name in offer.too_small_for()]


def _named(text: str) -> tuple[str, ...]:
    names = (name.strip() for name in text.split(","))
    return () if text.strip() == NO_GPUS else tuple(dict.fromkeys(filter(None, names)))


def _found(nvidia: Path) -> tuple[str, ...]:
    """The devices that NVIDIA's driver shows, by their UUID."""
    if not nvidia.is_dir():
        return ()
    texts = [(gpu / "information").read_text() for gpu in sorted(nvidia.iterdir())]
    lines = (line.partition(":") for text in texts for line in text.splitlines())
    return tuple(value.strip() for name, _, value in lines if name.strip() == "GPU UUID")
