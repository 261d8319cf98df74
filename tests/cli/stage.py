"""What tests of the command line share: a worker beside it, and the command as a process."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.domain.errors import NotFound
from app.domain.job import State
from app.ledger import Ledger
from tests.api.server import ROOT
from tests.api.worker import PlayedWorker

POLL_SECONDS = 0.02
ONEJOB = Path(sys.executable).parent / "onejob"


class Player:
    """Plays the worker of one deployment in a thread, until it is stopped."""

    def __init__(self, ledger: Ledger, worker: PlayedWorker) -> None:
        self._ledger = ledger
        self._worker = worker
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.error: BaseException | None = None

    def respond(self, name: str, **answer: Any) -> None:
        """Answers every job of a deployment; `answer` is that of PlayedWorker.respond."""
        self.do(name, lambda job_id: self._worker.respond(name, job_id, **answer))

    def do(self, name: str, act: Callable[[str], object]) -> None:
        """Calls that with the id of every job of a deployment that gets a slot."""
        thread = threading.Thread(target=self._play, args=(name, act))
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """Ends it; raises what went wrong in it."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self.error:
            raise self.error

    def _play(self, name: str, act: Callable[[str], object]) -> None:
        try:
            while not self._stopping.wait(POLL_SECONDS):  # a ledger is polled; it calls nobody
                for job_id in self._waiting(name):
                    act(job_id)
        except BaseException as error:
            self.error = error

    def _waiting(self, name: str) -> list[str]:
        try:
            uid = self._ledger.deployments.get(name).uid
            page = self._ledger.jobs.page(uid, 100, None, [State.DISPATCHED])
        except NotFound:  # not yet made, or deleted
            return []
        return [job.id for job in page.jobs]


def start(*words: str, **more: Any) -> "subprocess.Popen[bytes]":
    """Starts the command as a process, from this tree."""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([str(ONEJOB), *words], env=environ, **more)
