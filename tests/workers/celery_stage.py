"""Real worker processes on a real Redis, with an engine in memory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from app.dispatch import Publisher, node_queue
from app.domain.job import Hint
from tests.redis_server import RedisServer
from tests.workers.rig import Rig

CHECKOUT = Path(__file__).parents[2]


class Process:
    """One worker process."""

    def __init__(self, rig: Rig, folder: Path, **environ: str) -> None:
        self.log = folder / f"worker-{time.monotonic_ns()}.log"
        settings = {
            "ONEJOB_REDIS_URL": rig.url,
            "ONEJOB_SPOOL_ROOT": str(rig.root.path),
            "ONEJOB_CONCURRENCY": "20",
            "ONEJOB_HINT_SECONDS": "60",
        }
        argv = [sys.executable, "-m", "celery", "-A", "tests.workers.scripted_worker", "worker"]
        argv += ["--loglevel=INFO", "--without-mingle", "--without-gossip"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=CHECKOUT,
                env=dict(os.environ) | settings | environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it may have to hurry, and not the tests with it
            )
        self._rig = rig

    def until_ready(self) -> "Process":
        """Waits for its sign of life."""
        client = self._rig.ledger.client
        client.delete("onejob:nodes")
        self._rig.until(lambda: self.process.poll() is not None or client.exists("onejob:nodes"))
        assert self.process.poll() is None, self.words()
        return self

    def words(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def tell(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def left_within(self, seconds: float) -> int:
        """Waits for its end; its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it is still there after {seconds} s:\n{self.words()}")

    def kill(self) -> None:
        """Ends it, if it is still there."""
        self.process.kill()
        self.process.wait()


class Task:
    """A task as its result backend shows it, to Flower and to `AsyncResult`."""

    def __init__(self, rig: Rig, job_id: str) -> None:
        self._rig = rig
        self.key = f"celery-task-meta-dep.{job_id}"

    def meta(self) -> dict[str, Any]:
        """What is stored."""
        raw: Any = self._rig.ledger.client.get(self.key)
        return json.loads(raw) if raw else {"status": "PENDING", "result": None}

    def fate(self) -> str:
        """Waits for its end; its result, or what it failed with."""
        self._rig.until(lambda: self.meta()["status"] in ("SUCCESS", "FAILURE"))
        meta = self.meta()
        if meta["status"] == "SUCCESS":
            return str(meta["result"])
        return f"{meta['result']['exc_type']}: {meta['result']['exc_message'][0]}"


class Stage:
    """A node, and worker processes on it."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.rig = Rig(server.url, folder / "spool", cap=20, hint_seconds=5)
        self.publish = patient_publisher(server.url)
        self.celery = Celery(broker=server.url)
        self._processes: list[Process] = []

    def worker(self, **environ: str) -> Process:
        """Starts one."""
        process = Process(self.rig, self.folder, **environ)
        self._processes.append(process)
        return process

    def submit(self, job_id: str) -> Task:
        """Accepts a job, and hints at it."""
        self.rig.submit(job_id)
        self.hint(job_id)
        return self.task(job_id)

    def task(self, job_id: str) -> Task:
        """A job's task."""
        return Task(self.rig, job_id)

    def hint(self, job_id: str) -> None:
        """Publishes a message."""
        self.publish([Hint(self.rig.uid, job_id, "dep", "cpu")])

    def until_none_takes_jobs(self) -> None:
        """Waits until all workers consume their node's own queue alone, as they say themselves."""
        here = [node_queue(self.rig.node)]
        self.rig.until(lambda: self._consumed() == [here] * len(self._processes))

    def _consumed(self) -> list[list[str]]:
        """The queues of each worker."""
        answers = self.celery.control.broadcast(
            "active_queues", reply=True, timeout=10, limit=len(self._processes)
        )
        return [[queue["name"] for queue in queues] for a in answers for queues in a.values()]

    def end(self, job_id: str) -> None:
        """Its app exits with 0."""
        spool = self.rig.root.attempt(self.rig.replica(job_id))
        with spool.events_path.open("a") as file:
            file.write(f"{int(time.time() * 1e6)} exited code=0 oom_kills=0\n")

    def close(self) -> None:
        """Ends all processes."""
        for process in self._processes:
            process.kill()
        self.celery.close()
        self.rig.close()


def patient_publisher(url: str) -> Publisher:
    """One that waits for a Redis that waits for the disk: here no sweep hints again in time."""
    publisher = Publisher(url)
    conf = publisher._celery.conf
    conf.broker_transport_options = conf.broker_transport_options | {"socket_timeout": 30}
    return publisher
