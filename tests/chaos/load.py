"""The load: clients that submit jobs of mixed kinds, follow each to its end, and judge it.

A client repeats whatever is not answered, under the same id. A job counts as accepted once a 202
came. There are more clients than slots, so that jobs wait as long as the load goes on.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from random import Random
from typing import Any

from tests.api.faces import Faces
from tests.api.wire import Answer
from tests.chaos.kinds import DEADLINE_SECONDS, KINDS, LINES, Kind
from tests.e2e.house import House

MORE_CLIENTS = 2  # than slots
POLL_SECONDS = 0.5
REPEAT_SECONDS = 0.2
STUCK_SECONDS = 150.0  # from the acceptance to the end, whatever is struck meanwhile
GIVE_UP_SECONDS = 180.0
CANCEL_WITHIN_SECONDS = 4.0  # of the acceptance: in the queue, at the start, or at work
BUSY = (429, 503)  # "later", and no harm was done


class Gone(Exception):
    """An answer never came, or one that can't be."""


class Load:
    """All clients of some deployments, and what they saw. Threads share it."""

    def __init__(self, house: House, caps: Mapping[str, int], seed: int) -> None:
        """`caps`: deployment → max_replica_count."""
        self.house = house
        self.caps = caps
        self.enough = threading.Event()
        self.complaints: list[str] = []
        self.accepted: dict[str, Kind] = {}  # by job id
        self.finished: dict[str, dict[str, Any]] = {}  # by job id: its last status
        self.digests: dict[str, str] = {}  # by job id: of the request's body
        self.compared = 0  # results whose bytes were compared
        self.repeats = Counter[str]()  # requests that had to be repeated, by what came instead
        self.slowest = 0.0  # seconds from an acceptance to the end
        self.lock = threading.Lock()
        self._clients = [
            Client(self, name, Random(f"{seed} {name} {n}"), f"{seed}-{name}-{n}")
            for name, cap in caps.items()
            for n in range(cap + MORE_CLIENTS)
        ]

    @property
    def faces(self) -> Faces:
        """What its clients ask by. They repeat by themselves, and count it."""
        return self.house.faces.impatient

    def start(self) -> None:
        """Makes the deployments, and begins."""
        for name, cap in self.caps.items():
            scaling = {"max_replica_count": cap, "deadline_seconds": DEADLINE_SECONDS}
            self.house.deploy(name, LINES, scaling=scaling | {"queue_message_ttl_seconds": 3600})
        for client in self._clients:
            client.start()

    def finish(self) -> None:
        """Submits no more, and waits for the end of what was accepted."""
        self.enough.set()
        give_up = time.monotonic() + GIVE_UP_SECONDS
        for client in self._clients:
            client.join(max(0.0, give_up - time.monotonic()))

    def complain(self, text: str) -> None:
        """Notes what must not be."""
        with self.lock:
            self.complaints.append(text)

    def unfinished(self) -> list[str]:
        """Accepted jobs whose end has not been seen."""
        with self.lock:
            return sorted(self.accepted.keys() - self.finished.keys())

    def ends(self) -> Counter[tuple[str, str, str]]:
        """How often jobs ended how: (kind, state, reason)."""
        with self.lock:
            done = list(self.finished.items())
        return Counter((self.accepted[i].name, s["State"], s["Reason"]) for i, s in done)

    def misdelivered(self, requests: Mapping[str, list[str]]) -> list[str]:
        """Jobs that ended well though their app did not get the request's exact bytes, once."""
        with self.lock:
            done = [i for i in self.finished if self.accepted[i].answers]
        return [f"{i}: {requests.get(i)}" for i in done if requests.get(i) != [self.digests[i]]]

    def insist(self, ask: Callable[[], Answer]) -> Answer:
        """Asks until there is an answer: while something is down there is none, or a 503."""
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < give_up:
            try:
                answer = ask()
                if answer.status not in BUSY:
                    return answer
                came = str(answer.status)
            except (OSError, EOFError, ValueError, HTTPException) as error:
                came = type(error).__name__  # also an answer that broke off
            with self.lock:
                self.repeats[came] += 1
            time.sleep(REPEAT_SECONDS)  # what is down gives no sign when it is back
        raise Gone(f"no answer in {GIVE_UP_SECONDS:.0f} s, {came} at last")


class Client(threading.Thread):
    """One client: a job at a time."""

    def __init__(self, load: Load, deployment: str, random: Random, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._load = load
        self._deployment = deployment
        self._random = random
        self._count = 0

    def run(self) -> None:
        """Jobs, until it is enough."""
        while not self._load.enough.is_set():
            self._count += 1
            (kind,) = self._random.choices(KINDS, [kind.weight for kind in KINDS])
            job_id = f"{self.name}-{self._count}.{kind.name}"
            try:
                self._job(job_id, kind, kind.body(self._random))
            except Exception as error:  # whatever it is: a client must not vanish in silence
                self._load.complain(f"{job_id}: {type(error).__name__}: {error}")

    def _job(self, job_id: str, kind: Kind, body: bytes) -> None:
        load = self._load
        patience = self._random.uniform(0, CANCEL_WITHIN_SECONDS)
        self._submit(job_id, body)
        began = time.monotonic()
        with load.lock:
            load.accepted[job_id] = kind
            load.digests[job_id] = hashlib.sha256(body).hexdigest()
        if kind.name == "cancelled":
            time.sleep(patience)  # a moment by chance
            self._cancel(job_id)
        status = self._follow(job_id, began)
        for wrong in self._judge(job_id, kind, body, status):
            load.complain(f"{job_id}: {wrong}; {status}; it printed {self._log(job_id)!r}")
        with load.lock:
            load.finished[job_id] = status
            load.slowest = max(load.slowest, time.monotonic() - began)

    def _submit(self, job_id: str, body: bytes) -> None:
        headers = [("X-Inference-Id", job_id)]
        answer = self._load.insist(
            lambda: self._load.faces.data("POST", f"/{self._deployment}/job", headers, body)
        )
        if answer.status != 202:
            raise Gone(f"a submit was answered {answer}")

    def _cancel(self, job_id: str) -> None:
        # It need not wait until the container is gone: the status tells.
        path = f"/job-deployments/{self._deployment}/jobs/{job_id}/cancel?timeout=0"
        answer = self._load.insist(lambda: self._load.faces.control("POST", path))
        if answer.status not in (200, 202):
            raise Gone(f"a cancel was answered {answer}")

    def _follow(self, job_id: str, began: float) -> dict[str, Any]:
        """Waits for the end; the status then."""
        told = False
        while True:
            answer = self._load.insist(lambda: self._load.faces.status(self._deployment, job_id))
            if answer.status != 200:
                raise Gone(f"it was accepted, and its status is {answer}")
            status: dict[str, Any] = answer.json
            if status["Status"] == "Completed":
                return status
            if not told and time.monotonic() - began > STUCK_SECONDS:
                told = True
                self._load.complain(f"{job_id}: no end after {STUCK_SECONDS:.0f} s: {status}")
            time.sleep(POLL_SECONDS)  # as clients do

    def _judge(self, job_id: str, kind: Kind, body: bytes, status: dict[str, Any]) -> Iterator[str]:
        """What is wrong with an end."""
        end = kind.end(status)
        if end is None:
            yield f"{status['State']}/{status['Reason']} is no true end of it"
            return
        if status["ExitCode"] not in end.exit_codes:
            yield f"its exit code was not {status['ExitCode']}"
        result = self._load.insist(lambda: self._load.faces.result(self._deployment, job_id))
        if result.status != end.http:
            yield f"its result is answered {result.status}, not {end.http}"
        elif kind.answers:
            with self._load.lock:
                self._load.compared += 1
            if _digest(result.body) != _digest(kind.answer(body)):
                yield f"its result has other bytes: {len(result.body)} of them"

    def _log(self, job_id: str) -> bytes:
        path = f"/job-deployments/{self._deployment}/jobs/{job_id}/logs"
        return self._load.insist(lambda: self._load.faces.control("GET", path)).body


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
