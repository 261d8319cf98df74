"""Waiting for the ends of jobs: one thread of a process asks for all of them at once."""

import logging
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

import redis

from app.ledger.jobs import Jobs

LOOK_SECONDS = 0.1  # between two looks; Redis's own news of changes may be lost
logger = logging.getLogger(__name__)


class Ending(Future[bool]):
    """The end of a job: True once it is over, False once it was waited for long enough.

    Whoever waits no longer cancels it.
    """

    def __init__(self, deployment: str, uid: str, job_id: str, seconds: float) -> None:
        super().__init__()
        self.deployment = deployment  # its name
        self.uid = uid
        self.job_id = job_id
        self._give_up = time.monotonic() + seconds

    @property
    def came(self) -> bool:
        """Whether the job is known to be over."""
        return self.done() and not self.cancelled() and self.result()

    def settle(self, over: bool) -> None:
        """Tells who waits, if the job is over or the time is."""
        if over or time.monotonic() >= self._give_up:
            with suppress(InvalidStateError):  # it was cancelled a moment ago
                self.set_result(over)


class Endings:
    """All the ends that this process waits for. Its thread begins with the first of them."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._awaited: list[Ending] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._told = False  # the log, that Redis is away

    def wait_for(self, deployment: str, uid: str, job_id: str, seconds: float) -> Ending:
        """The end of a job, waited for at most that long. Does not block."""
        ending = Ending(deployment, uid, job_id, seconds)
        with self._changed:
            self._awaited.append(ending)
            self._changed.notify()
            if self._thread is None:  # not earlier: a thread does not live on in a forked process
                self._thread = threading.Thread(target=self._run, name="endings", daemon=True)
                self._thread.start()
        return ending

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._awaited)
                awaited = [ending for ending in self._awaited if not ending.done()]
                self._awaited = awaited[:]
            for ending, over in zip(awaited, self._over(awaited), strict=True):
                ending.settle(over)
            time.sleep(LOOK_SECONDS)  # nothing else tells of an end

    def _over(self, awaited: list[Ending]) -> list[bool]:
        try:
            over = self._jobs.over([(ending.uid, ending.job_id) for ending in awaited])
            self._told = False
            return over
        except redis.RedisError as error:
            if not self._told:
                logger.warning("nobody can say which jobs are over. Redis: %s", error)
            self._told = True
        except Exception:  # this thread must not end: whoever waits would wait for ever
            logger.exception("a fault of ours")
        return [False] * len(awaited)
