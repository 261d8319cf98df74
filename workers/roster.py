"""The attempts that this process supervises, and what each of them should look up for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.job import Reason
from app.ledger.attempts import Grip


class Attention:
    """One supervised attempt: a bell, and what rang it."""

    def __init__(self, grip: Grip, replica: str) -> None:
        self.grip = grip
        self.replica = replica
        self.bell = threading.Event()
        self.lost = False  # somebody else holds the attempt
        self.cancel: Reason | None = None  # asked for through the ledger
        self.stopping = False  # this worker is going away
        self.following = False  # its container was seen running
        self.followed_until = 0.0  # somebody wants its output, by the monotonic clock,
        self.wished_bytes = 0  # and how much of it: the last
        self.container: str | None = None  # its id, once it runs
        self.container_gone = False  # the engine says that it does not run any more

    @contextmanager
    def following_container(self, container: str) -> Iterator[None]:
        """In the block the container of this id runs, as far as its supervisor knows."""
        self.following, self.container = True, container
        try:
            yield
        finally:
            self.following = False

    def ring(self) -> None:
        """Wakes the supervisor of this attempt."""
        self.bell.set()

    def wait(self, seconds: float) -> None:
        """Waits for the bell, at most that long."""
        self.bell.wait(seconds)
        self.bell.clear()


class Roster:
    """All supervised attempts of this process; threads of the worker share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Attention] = {}
        self._stopping = False

    @contextmanager
    def enter(self, grip: Grip, replica: str) -> Iterator[Attention]:
        """Puts an attempt on the roster for the time of the block.

        Of two that have the same attempt here, the one with the lower fence has lost it: the
        heartbeat goes by the roster, and would never tell it so.
        """
        attention = Attention(grip, replica)
        with self._lock:
            attention.stopping = self._stopping
            other = self._entries.get(grip.ref)
            loser = attention if other is not None and _later(other.grip, grip) else other
            if loser is not attention:
                self._entries[grip.ref] = attention
        if loser is not None:
            loser.lost = True
            loser.ring()
        try:
            yield attention
        finally:
            with self._lock:
                if self._entries.get(grip.ref) is attention:
                    del self._entries[grip.ref]

    def all(self) -> list[Attention]:
        """A copy of what is on the roster now."""
        with self._lock:
            return list(self._entries.values())

    @property
    def stopping(self) -> bool:
        """Whether this worker is going away."""
        return self._stopping

    def stop(self) -> None:
        """Tells every supervisor, and those that come, that this worker goes away."""
        with self._lock:
            self._stopping = True
            entries = list(self._entries.values())
        for attention in entries:
            attention.stopping = True
            attention.ring()


def _later(one: Grip, other: Grip) -> bool:
    return (one.attempt, one.fence) > (other.attempt, other.fence)
