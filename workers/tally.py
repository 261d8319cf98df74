"""What a worker process counts by itself, and tells the ledger with its heartbeat.

It is told in parts. Each part has a number, and is repeated under it until the ledger has answered,
which adds a number once: so nothing is counted twice. What a killed process has not told is lost.
"""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.ledger.counts import observation
from app.ledger.metrics import Metrics
from workers.engine import (
    EngineError,
    EngineTrouble,
    EngineUnavailable,
    ImageDenied,
    ImageNotFound,
    ImagePullFailed,
    NoSuchContainer,
    SpoolMissing,
    StartRefused,
)

_KINDS: dict[type[EngineError], str] = {
    EngineUnavailable: "unavailable",
    EngineTrouble: "trouble",
    StartRefused: "start_refused",
    SpoolMissing: "spool_missing",
    NoSuchContainer: "no_such_container",
    ImageNotFound: "image_not_found",
    ImageDenied: "image_denied",
    ImagePullFailed: "image_pull_failed",
}


class Tally:
    """The counts of one process, by the names of app/ledger/counts.py; its threads share it."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._new = Counter[str]()
        self._part: dict[str, int] = {}  # told, or about to be, and not answered yet
        self._number = 0  # of that part

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Counts something that happened."""
        if by:
            with self._lock:
                self._new["|".join((name, *labels))] += by

    @contextmanager
    def timed(self, verb: str) -> Iterator[None]:
        """Counts a call of the engine, how long it took, and how it failed."""
        began = time.monotonic()
        try:
            yield
        except EngineError as error:
            self.count("engine_error", verb, _KINDS.get(type(error), "other"))
            raise
        finally:
            seen = observation("engine", time.monotonic() - began, verb)
            with self._lock:
                self._new.update(seen)

    def tell(self, metrics: Metrics) -> None:
        """Adds to the ledger what it has not been told. Raises redis's errors: then tell again.

        One thread alone tells.
        """
        if not self._part:
            with self._lock:
                self._part, self._new = dict(self._new), Counter()
            self._number += 1
        if self._part:
            metrics.add(self._process, self._number, self._part)
            self._part = {}
