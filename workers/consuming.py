"""What this worker takes from the broker: nothing while it is not fit; and whether it still does.

- A worker that is not fit leaves messages to others: it stops consuming the queues of its compute
  resources. Its node's own queue it goes on with: those attempts are here already.
- Consumers have been seen to stall in silence, after a restart of Redis for instance (celery
  #10205, #10302). Where messages wait, there is room, and none has come for a while, the consumer
  has to connect anew; if that does not help, the process begins anew. Its attempts do not notice.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

import redis

from workers.fitness import Fitness

logger = logging.getLogger(__name__)
CONSUMING_SECONDS = 1.0
STALL_SECONDS = 10.0  # in which a message that waits for a worker with room is taken
RESTART_SECONDS = 30.0


class Consumer(Protocol):
    """The part of Celery's consumer that is used here."""

    task_consumer: Any

    def call_soon(self, function: Callable[[], None]) -> Any:
        """Has the consumer's own loop call it: it is not safe for other threads."""
        ...

    def add_task_queue(self, queue: str) -> None:
        """Begins to consume a queue."""
        ...

    def cancel_task_queue(self, queue: str) -> None:
        """Ends it."""
        ...


class Intake:
    """How many messages have come, and whether there is room for more. Threads share it."""

    def __init__(self, concurrency: int, reserved: Callable[[], int]) -> None:
        self.count = 0
        self._concurrency = concurrency
        self._reserved = reserved

    def note(self, **_: Any) -> None:
        """A message came."""
        self.count += 1

    @property
    def room(self) -> bool:
        """Whether a message would be run at once."""
        return self._reserved() < self._concurrency


class Consuming:
    """Looks after one worker's consumer."""

    def __init__(
        self,
        consumer: Consumer,
        fitness: Fitness,
        client: redis.Redis,
        intake: Intake,
        compute_queues: list[str],
        node_queue: str,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._consumer = consumer
        self._fitness = fitness
        self._client = client
        self._intake = intake
        self._compute_queues = compute_queues
        self._node_queue = node_queue
        self._leaving = leaving
        self._last = float("-inf")  # look
        self._asked: float | None = None  # the loop, which has not come to it
        self._seen = -1
        self._waiting_since: float | None = None
        self._reconnected = False

    def step(self, now: float) -> None:
        """One look; `now` is a monotonic clock's. Raises RedisError."""
        gap, self._last = now - self._last, now
        if self._leaving():
            return
        if gap > 5 * CONSUMING_SECONDS:  # Redis was away, or this process: that is no waiting
            self._waiting_since, self._reconnected = None, False
        fit = self._fitness.fit
        self._ask(now)
        if self._waits(fit):
            self._waited(now)
        else:
            self._waiting_since, self._reconnected = None, False

    def _ask(self, now: float) -> None:
        """Has the loop choose, once: one that is stuck keeps all that it is asked.

        And again after a while, since one that connects anew forgets it.
        """
        if self._asked is None or now - self._asked >= STALL_SECONDS:
            self._asked = now
            self._consumer.call_soon(self._choose)

    def _choose(self) -> None:
        """In the consumer's loop. While it is not connected there is nothing to change."""
        self._asked, fit = None, self._fitness.fit
        try:
            for queue in self._compute_queues:
                consuming = self._consumer.task_consumer.consuming_from(queue)
                if fit and not consuming:
                    self._consumer.add_task_queue(queue)
                elif consuming and not fit:
                    self._consumer.cancel_task_queue(queue)
        except Exception as error:
            logger.warning("the queues could not be changed: %s", error)

    def _waits(self, fit: bool) -> bool:
        """Whether messages wait though they could be taken, and none was since the last look."""
        taken, self._seen = self._intake.count != self._seen, self._intake.count
        if taken or not self._intake.room:
            return False
        queues = [self._node_queue, *(self._compute_queues if fit else ())]
        try:
            return any(self._client.llen(queue) for queue in queues)
        except redis.RedisError:
            self._waiting_since, self._reconnected = None, False
            raise

    def _waited(self, now: float) -> None:
        self._waiting_since = now if self._waiting_since is None else self._waiting_since
        waited = now - self._waiting_since
        if waited >= RESTART_SECONDS and self._reconnected:
            logger.error("no message was taken for %.0f s: this process begins anew", waited)
            restart()
        elif waited >= STALL_SECONDS and not self._reconnected:
            logger.error("no message was taken for %.0f s: connecting anew", waited)
            self._reconnected = True
            self._consumer.call_soon(_lose_connection)


def _lose_connection() -> None:
    """In the consumer's loop: it closes what it has, and connects again."""
    raise ConnectionResetError("the consumer seems to have stalled")


def restart() -> None:
    """Becomes a new process under the same id; what it held lapses, or is let go of."""
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
