"""Whether this worker may take jobs.

An engine that fails at every start would burn a whole queue. So failures of the engine never count
as a job's attempt; several in a row stop the worker from taking jobs, for a pause that grows with
every further failure. Standing problems stop it for as long as they last, and so
does an operator who drains the machine. What it has taken already it goes on with.
"""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)
FAILURES = 3  # in a row before the first pause
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0


class Fitness:
    """The problems of one worker; its threads share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._standing: dict[str, str] = {}
        self._failures = 0  # in a row
        self._last_failure = ""
        self._paused_until = 0.0
        self._draining = False

    def failed(self, why: str) -> None:
        """The engine failed to start a replica, and not because of the replica."""
        with self._lock:
            if self._clock() < self._paused_until:
                return  # begun before the pause: many at once are one sign
            self._failures += 1
            self._last_failure = why
            further = self._failures - FAILURES
            if further < 0:
                return
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(further, 10))
            self._paused_until = self._clock() + pause
        logger.error("taking no jobs for %.0f s: %s", pause, why)

    def worked(self) -> None:
        """The engine started a replica."""
        with self._lock:
            self._failures = 0
            self._paused_until = 0.0

    def stands(self, name: str, problem: str | None) -> None:
        """Whether a problem of that name is there, and in which words."""
        with self._lock:
            before = self._standing.get(name)
            if problem is None:
                self._standing.pop(name, None)
            else:
                self._standing[name] = problem
        if problem is not None and before is None:
            logger.error("taking no jobs: %s", problem)
        elif problem is None and before is not None:
            logger.warning("taking jobs again; there was: %s", before)

    def drains(self, draining: bool) -> None:
        """Whether an operator has this machine take no new jobs. That is no problem."""
        with self._lock:
            changed, self._draining = draining != self._draining, draining
        if changed:
            logger.warning("this machine takes %s", "no new jobs" if draining else "jobs again")

    def problems(self) -> list[str]:
        """Why no jobs are taken now, in words for an operator; empty if they are."""
        with self._lock:
            standing = list(self._standing.values())
            left = self._paused_until - self._clock()
        if left > 0:
            standing.append(
                f"{self._failures} failures of the engine in a row, the next try is in"
                f" {left:.0f} s: {self._last_failure}"
            )
        return standing

    def has(self, name: str) -> bool:
        """Whether a standing problem of that name is there."""
        with self._lock:
            return name in self._standing

    @property
    def fit(self) -> bool:
        """Whether jobs may be taken now."""
        return not self._draining and not self.problems()
