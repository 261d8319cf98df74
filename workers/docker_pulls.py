"""Pulls of images: one at a time for each reference, and what their failure means."""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from workers.engine import EngineUnavailable, ImageError, ImagePullFailed


class Turn:
    """The pulls of one reference, one after the other."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.began_at = -math.inf  # the last one's, by the monotonic clock
        self.failure: ImageError | None = None


class Pulls:
    """The references that are being pulled just now."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._guard = threading.Lock()
        # A turn lasts as long as a thread has it in its hands.
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    @contextmanager
    def turn(self, ref: str) -> Iterator[Turn]:
        """The reference's turn, for this thread alone. Raises EngineUnavailable."""
        with self._guard:
            turn = self._turns.get(ref) or Turn()
            self._turns[ref] = turn
        if not turn.lock.acquire(timeout=self._patience_seconds):
            raise EngineUnavailable(f"another pull of {ref} does not end")
        try:
            yield turn
        finally:
            turn.lock.release()


def will_do(here: Mapping[str, Any] | None, failure: ImageError) -> bool:
    """Whether an image that is here will do although its registry did not give a newer one."""
    if here is None:
        return False
    # Without digests it never was in a registry: it was built or loaded on this machine.
    return isinstance(failure, ImagePullFailed) or not here.get("RepoDigests")
