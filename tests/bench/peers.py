"""Workers of the peer, each with its own queue and concurrency; and calls of its task."""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

# The task is called by name and its worker gets the URL in its environment, so that this process
# may talk to a Redis that is chosen after the import.
from celery import Celery

from app.children import Child
from tests.bench.bare import Times

ROOT = Path(__file__).parents[2]
TASK = "tests.bench.peer.run_container"
READY_SECONDS = 60
RESULT_SECONDS = 300
STOP_SECONDS = 30


class Peers:
    """A context manager; `concurrencies` name the workers."""

    def __init__(
        self, folder: Path, redis_url: str, image: str, network: str, concurrencies: tuple[int, ...]
    ) -> None:
        self._folder = folder
        self._url = f"{redis_url.rpartition('/')[0]}/1"  # beside our database, in the same Redis
        self._arguments = image, network
        self._concurrencies = concurrencies
        self._app = Celery("peer", broker=self._url, backend=self._url)
        self.workers: dict[int, Child] = {}

    def __enter__(self) -> "Peers":
        try:
            for concurrency in self._concurrencies:
                self.workers[concurrency] = self._start(concurrency)
            for concurrency, child in self.workers.items():
                child.until(partial(self._answers, _name(concurrency)), READY_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops the workers."""
        for child in self.workers.values():
            child.stop()
        self._app.close()

    def send(self, concurrency: int, target: str, body: bytes) -> Any:
        """Calls the task of one worker; the pending result."""
        arguments = (*self._arguments, target, body.decode())
        return self._app.send_task(TASK, arguments, queue=_queue(concurrency))

    def run(self, concurrency: int, target: str, body: bytes) -> Times:
        """One job, waited for. Its end is known when its result is: after its removal."""
        began = time.time()
        result = self.send(concurrency, target, body).get(timeout=RESULT_SECONDS)
        return Times(began, result["response_at"], time.time(), result["gone_at"])

    def _start(self, concurrency: int) -> Child:
        argv = [str(Path(sys.executable).parent / "celery"), "-A", "tests.bench.peer", "worker"]
        argv += [f"--concurrency={concurrency}", f"--queues={_queue(concurrency)}"]
        argv += [f"--hostname={_name(concurrency)}", "--loglevel=WARNING"]
        environ = dict(os.environ) | {"BENCH_REDIS_URL": self._url, "PYTHONPATH": str(ROOT)}
        log = self._folder / f"peer-{concurrency}.log"
        return Child("peer", argv, log, environ, STOP_SECONDS)

    def _answers(self, name: str) -> bool:
        return bool(self._app.control.ping([name], timeout=1))


def _queue(concurrency: int) -> str:
    return f"bench.{concurrency}"


def _name(concurrency: int) -> str:
    return f"peer{concurrency}@bench"
