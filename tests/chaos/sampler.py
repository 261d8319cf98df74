"""The sampler: which replicas exist, by the kernel alone, every 50 ms.

It reads the control groups below the engine's own, and whose processes are in them. So it works
while the engine is paused or gone. A replica exists while its group has a process. Which job it is
stands in the environment of its processes, once the container's own have begun.

A group that never comes so far is counted as unknown, and has no deadline: an engine that is killed
between making a container's first process and starting it forgets that process (`runc init`, which
waits for ever) when it comes back. None of our code runs in it, and its spool directory is gone.

One that sees nothing would find that all is well. So it is held against the witness: an app that
told that one of its life, for longer than this one ever looked away, must have been seen.
"""

import os
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.witness import Life, most_at_once
from tests.second_engine import CGROUPS

SAMPLE_SECONDS = 0.05
HEARD_SECONDS = 1.0  # in which the witness hears of an end


@dataclass
class Replica:
    """A container with processes in it, from its first sample to its last."""

    first: float  # seconds since the epoch
    last: float
    deployment: str | None = None
    job: str = ""
    attempt: int = 0


class Sampler(threading.Thread):
    """Samples the replicas of one engine."""

    def __init__(self, group: str) -> None:
        super().__init__(name="sampler", daemon=True)
        self._group = group
        self._replicas: dict[str, Replica] = {}  # by the container's id
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._last = 0.0  # the beginning of the last sample
        self._longest_gap = 0.0
        self.samples = 0

    @property
    def longest_gap(self) -> float:
        """Seconds between two samples; also between the last one and now."""
        return max(self._longest_gap, time.monotonic() - self._last)

    def start(self) -> None:
        """Begins."""
        self._last = time.monotonic()
        super().start()

    def stop(self) -> None:
        """Ends it."""
        self._stopped.set()
        self.join()

    def replicas(self) -> list[Replica]:
        """All that were seen so far."""
        with self._lock:
            return list(self._replicas.values())

    def run(self) -> None:
        """Samples until it is stopped."""
        with suppress(OSError):  # as root, before its process's other threads
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        while not self._stopped.wait(max(0.0, self._last + SAMPLE_SECONDS - time.monotonic())):
            now = time.monotonic()
            self._longest_gap = max(self._longest_gap, now - self._last)
            self._last = now
            self._sample()

    def _sample(self) -> None:
        # Before the look, which may be held up: what is seen existed then or after. And all groups
        # are listed before the first is looked into, so none of two came after the other's end.
        now = time.time()
        for folder in self._folders():
            processes = _processes(folder)
            if not processes:
                continue
            with self._lock:
                replica = self._replicas.setdefault(folder.name, Replica(now, now))
                replica.last = now
            if replica.deployment is None:
                _identify(replica, processes)
        self.samples += 1

    def _folders(self) -> list[Path]:
        # Version 2 of control groups has one tree; in version 1 any of the trees will do.
        for top in (CGROUPS / self._group, CGROUPS / "pids" / self._group):
            if top.is_dir():
                return [path for path in top.iterdir() if path.is_dir()]
        return []  # it has had no container yet

    def blindness(self, lives: list[Life]) -> list[str]:
        """What it must have seen and has not. If there is any, nothing else it says counts."""
        seen = {(r.job, r.attempt) for r in self.replicas() if r.deployment}
        if not seen:
            return ["the sampler saw no replica"]
        least, now = self.longest_gap + HEARD_SECONDS, time.time()
        long = [life for life in lives if (life.ended or now) - life.began > least]
        missed = [(life.job, life.attempt) for life in long if (life.job, life.attempt) not in seen]
        return [f"the sampler never saw {job}, attempt {n}" for job, n in missed]

    # -- what must not be --------------------------------------------------------------------

    def most(self, deployment: str) -> int:
        """The most replicas of one deployment that ever existed at once."""
        mine = [r for r in self.replicas() if r.deployment == deployment]
        return most_at_once([(replica.first, replica.last) for replica in mine])

    def unknown(self) -> list[float]:
        """Of the containers that ran nothing of ours, as far as was seen: their seconds."""
        return [r.last - r.first for r in self.replicas() if r.deployment is None]

    def made_twice(self) -> list[str]:
        """Attempts that more than one container was seen of."""
        seen = Counter((r.job, r.attempt) for r in self.replicas() if r.deployment)
        return [f"{job}, attempt {n}: {count}" for (job, n), count in seen.items() if count > 1]

    def overruns(self, lives: list[Life], deadline_seconds: float) -> dict[str, float]:
        """By job, for how many seconds its replica lived on after its deadline.

        The deadline counts from the start of the app's process; of one that never told of it, from
        the container's first sample.
        """
        began = {(life.job, life.attempt): life.began for life in lives}
        found = {}
        for replica in (replica for replica in self.replicas() if replica.deployment):
            start = began.get((replica.job, replica.attempt), replica.first)
            if (over := replica.last - start - deadline_seconds) > 0:
                found[replica.job] = over
        return found


def _processes(group: Path) -> list[str]:
    with suppress(OSError):  # it goes with its last process
        return (group / "cgroup.procs").read_text().split()
    return []


def _identify(replica: Replica, processes: list[str]) -> None:
    for process in processes:
        with suppress(OSError):  # it has just ended
            pairs = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            known = dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs)
            if "JOB_ATTEMPT" in known:
                replica.job, replica.attempt = known["JOB_ID"], int(known["JOB_ATTEMPT"])
                replica.deployment = known["JOB_DEPLOYMENT"]
                return
