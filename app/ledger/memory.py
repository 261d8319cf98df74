"""How full Redis is. Above a soft limit no new work is taken: the rest is for the work that was.

Outcomes, leases and messages have to be written even then. They may use what lies between the soft
limit and `maxmemory`, and the scripts that move work on are allowed beyond it.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from app.domain.errors import ServiceUnavailable

SHARE = 0.8  # of maxmemory
LOOK_SECONDS = 0.5
RETRY_SECONDS = 10


class Memory:
    """Redis's memory as one process last saw it; its threads share the look."""

    def __init__(
        self,
        client: redis.Redis,
        limit_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._limit = limit_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._refusal: str | None = None

    def check_room(self) -> None:
        """Raises ServiceUnavailable where no new work may be taken; redis's errors, too."""
        if self._clock() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._next_look = self._clock() + LOOK_SECONDS
                self._refusal = self._look()
            finally:
                self._lock.release()
        if self._refusal is not None:
            raise ServiceUnavailable(self._refusal, RETRY_SECONDS)

    def _look(self) -> str | None:
        info: Any = self._client.info("memory")
        used, most = int(info["used_memory"]), int(info["maxmemory"])
        limit = soft_limit(self._limit, most)
        if limit is None or used <= limit:
            return None
        return (
            f"the storage is full: {used} bytes are used, new work is taken below {limit};"
            " results go when their retention is over"
        )


def soft_limit(limit_bytes: int | None, most_bytes: int) -> int | None:
    """The used memory above which no new work is taken, of a setting and of `maxmemory`."""
    return min((limit for limit in (limit_bytes, int(SHARE * most_bytes)) if limit), default=None)
