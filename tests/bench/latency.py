"""One job at a time: POST → response, → its end is known, → its container is gone.

Ours, by the machine's one clock:
  response   the usher's event `responded`: the whole response lies in the spool
  ended      /status said Completed and /result was read, on one kept connection. Polled every
             2 ms, but only once the usher noted the app's exit, which is waited for by inotify:
             polling would take the processor from the job
  gone       the ledger's event `released`: container and spool directory were removed before it
The bare loop: the response was read; `wait` returned; `remove` returned.
The Celery task: the response was read; the result came, which is after the removal.
"""

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from app.ledger import Ledger
from tests.bench import setting
from tests.bench.bare import Times
from tests.bench.plan import LATENCY_LIMIT, Plan
from tests.bench.product import Client, Product
from tests.bench.report import Row, Section, middle
from tests.bench.stats import ratio
from workers.events import Events, parse
from workers.watch import Watcher

NAME = "latency"
STEPS = {
    "response": "POST → response",
    "ended": "POST → Completed, result served",
    "gone": "POST → container gone",
}
TARGET = "/job?duration=0"
BODY = b'{"x": 1}'
LOOK_SECONDS = 0.002
BREAK_SECONDS = 0.5  # the kernel goes on removing a container's network for a while
REST_SECONDS = 0.02  # where the instant itself comes from elsewhere
PATIENCE_SECONDS = 60.0


def measure(plan: Plan, folder: Path) -> Section:
    """Interleaved, in a new random order each round."""
    section = Section(NAME)
    with setting.place(folder, peers=(1,)) as place:
        ours = Ours(place.product)
        does: dict[str, Callable[[], Times]] = {
            "ours": ours.run,
            "bare": lambda: place.bare.run(TARGET, BODY),
            "peer": lambda: place.peers.run(1, TARGET, BODY),
        }
        chance = random.Random(1)
        for number in range(-plan.latency_warm_ups, plan.latency_samples):
            for who in chance.sample(sorted(does), len(does)):
                time.sleep(BREAK_SECONDS)  # what the last one left is not this one's to clean up
                times = does[who]()
                if number >= 0:
                    _keep(section, who, times.milliseconds())
        ours.close()
    section.samples["trace"] = ours.traces[plan.latency_warm_ups :]
    section.rows = [_row(section, step, what) for step, what in STEPS.items()]
    return section


class Ours:
    """Runs one job after the other, and keeps what became of each."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._uid = product.deploy(NAME, 1)
        self._client = Client(product)
        self._watcher = Watcher()
        self.traces: list[dict[str, float]] = []  # milliseconds since the POST

    def run(self) -> Times:
        """One job to its very end."""
        began = time.time()
        job_id = self._client.submit(NAME, TARGET, BODY)
        accepted = time.time()
        with self._events(job_id) as events:
            self._until_exited(events)
            until(lambda: self._client.status(NAME, job_id)["Status"] == "Completed")
            self._client.result(NAME, job_id)
            ended = time.time()
            usher = parse(_all(events))
        look = partial(released, self._product.ledger, self._uid, job_id)
        trace = until(look, REST_SECONDS)
        self._keep(began, {"accepted": accepted, "served": ended} | trace, usher)
        return Times(began, usher.by_name["responded"].at.timestamp(), ended, trace["released"])

    def close(self) -> None:
        """Closes the client's connection."""
        self._client.close()

    def _events(self, job_id: str) -> IO[str]:
        """The attempt's event file; an open one outlives its directory."""
        replica = f"onejob-{self._uid}-1-{job_id}"
        path = self._product.layout.spool / "attempts" / replica / "events"
        until(path.exists, REST_SECONDS)
        return path.open(errors="replace")

    def _until_exited(self, events: IO[str]) -> None:
        grown = threading.Event()
        with self._watcher.watching(Path(events.name), grown.set):
            while not parse(_all(events)).exited:
                assert grown.wait(PATIENCE_SECONDS), "waited in vain"
                grown.clear()

    def _keep(self, began: float, seen: dict[str, float], usher: Events) -> None:
        usher_seen = {f"usher {e.name}": e.at.timestamp() for e in usher.by_name.values()}
        in_order = sorted((seen | usher_seen).items(), key=lambda item: item[1])
        self.traces.append({name: (at - began) * 1000 for name, at in in_order})


def released(ledger: Ledger, uid: str, job_id: str) -> dict[str, float] | None:
    """The instants of a job's timeline, None as long as its slot is taken."""
    entries = {e.event: e.at.timestamp() for e in ledger.jobs.view(uid, job_id).timeline}
    return entries if "released" in entries else None


def until(look: Callable[[], Any], seconds: float = LOOK_SECONDS) -> Any:
    """Looks every so many seconds until there is something to see, and returns it."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(seconds)  # a polling client
    return seen


def _all(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _keep(section: Section, who: str, steps: dict[str, float]) -> None:
    for step, value in steps.items():
        section.samples.setdefault(step, {}).setdefault(who, []).append(value)


def _row(section: Section, step: str, what: str) -> Row:
    samples = section.samples[step]
    return Row(
        what,
        "ms",
        middle(samples, "ours") or 0.0,
        middle(samples, "bare"),
        middle(samples, "peer"),
        ratio(samples["ours"], samples["bare"]),
        at_most=LATENCY_LIMIT,
    )
