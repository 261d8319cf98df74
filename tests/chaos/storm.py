"""One run: the load, the faults one after the other, a look after each, and the count at the end.

    load ─────────────────────────────────────────────► no more, wait for all ends, what is left?
      calm, strike, …, mend, recovered?, look  (again and again)

After each fault the run goes on once a further job has come to its end. A fault is drawn from the
seed, its moment too; what it meets is chance, so a run with the same seed is alike, not the same.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice, takewhile
from pathlib import Path

from app.children import ChildFailed
from app.ledger import connect
from tests.chaos.faults import SIGTERM_SECONDS, Fault, Striker, schedule
from tests.chaos.kinds import DEADLINE_SECONDS
from tests.chaos.leaks import Leaks
from tests.chaos.load import Load
from tests.chaos.report import Figure, Report
from tests.chaos.sampler import SAMPLE_SECONDS, Sampler
from tests.chaos.witness import Witness
from tests.chaos.world import GRACE_SECONDS, WORKERS, World
from tests.second_engine import loaded_engine

CAPS = {"three": 3, "five": 5}
RECOVERY_SECONDS = 60.0
OVERRUN_SECONDS = GRACE_SECONDS + 1.0
GAP_SECONDS = 3.0  # in a longer one a replica could overrun, or be one too many, unseen
Say = Callable[[str], None]
_OURS = re.compile(r"a fault of ours|Traceback \(most recent call last\)")


def storm(
    folder: Path,
    seed: int,
    faults: int | None = None,
    minutes: float | None = None,
    say: Say = print,
) -> Report:
    """So many faults, or as many as fit into the minutes. All logs are in the folder then."""
    until = time.monotonic() + 60 * minutes if minutes else float("inf")
    drawn = takewhile(lambda _: time.monotonic() < until, islice(schedule(seed), faults))
    with loaded_engine() as engine:
        world = World(folder, engine)
        try:
            world.start()
            return Storm(world, seed, say).run(drawn)
        finally:
            world.close()


class Storm:
    """One run over a world that is up."""

    def __init__(self, world: World, seed: int, say: Say) -> None:
        self._world, self._seed, self._say = world, seed, say
        self._load = Load(world, CAPS, seed)
        self._witness = Witness(world.places[0].spool, world.folder / "witness.log")
        self._sampler = Sampler(world.engine.name)
        self._striker = Striker(world)
        self._known: set[str] = set()  # complaints that were said
        self._slowest_recovery = 0.0
        self._began = time.monotonic()

    def run(self, faults: Iterable[Fault]) -> Report:
        """All of it."""
        self._witness.start()
        self._sampler.start()
        self._load.start()
        struck = Counter[str]()
        for number, fault in enumerate(faults, 1):
            struck[str(fault)] += 1
            self._one(number, fault)
        self._load.finish()
        report = self._report(struck)
        self._sampler.stop()
        self._witness.stop()
        return report

    def _one(self, number: int, fault: Fault) -> None:
        time.sleep(fault.calm)  # a moment by chance
        self._tell(f"{number:>4} {fault}, {fault.lasts:.1f} s")
        self._striker.strike(fault)
        time.sleep(fault.lasts)  # that long it is away
        self._striker.mend(fault)
        self._recover()
        self._revive()
        for complaint in self._complaints():
            if complaint not in self._known:
                self._known.add(complaint)
                self._tell(f"     NOT AS PROMISED: {complaint}")

    def _recover(self) -> None:
        """Waits until one more job has ended."""
        began, before = time.monotonic(), len(self._load.finished)
        while len(self._load.finished) == before:
            if time.monotonic() - began > RECOVERY_SECONDS:
                self._load.complain(f"no job came to its end for {RECOVERY_SECONDS:.0f} s")
                return
            time.sleep(0.05)  # clients poll as well
        self._slowest_recovery = max(self._slowest_recovery, time.monotonic() - began)

    def _revive(self) -> None:
        """Nothing may have died by itself."""
        for child in list(self._world.stack.children):
            try:
                child.check()
            except ChildFailed as error:
                self._load.complain(str(error))
                self._world.stack.children.remove(child)
                self._world.begin(child.name)

    def _tell(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:7.1f} s {text}")

    # -- what must not be --------------------------------------------------------------------

    def _complaints(self) -> list[str]:
        """All there is to complain of so far, in sentences."""
        witness, sampler = self._witness, self._sampler
        late = {job: s for job, s in self._overruns().items() if s > OVERRUN_SECONDS}
        crowds = {name: sampler.most(name) for name in CAPS if sampler.most(name) > CAPS[name]}
        return [
            *self._load.complaints,
            *self._striker.complaints,
            *(f"started twice: {what}" for what in witness.started_twice()),
            *(f"delivered twice: {what}" for what in witness.delivered_twice()),
            *(f"{job} outlived its deadline by {s:.2f} s" for job, s in late.items()),
            *(f"{name}: {most} replicas at once" for name, most in crowds.items()),
            *(f"misdelivered: {w}" for w in self._load.misdelivered(witness.requests())),
        ]

    def _overruns(self) -> dict[str, float]:
        return self._sampler.overruns(self._witness.lives(), DEADLINE_SECONDS)

    def _report(self, struck: Counter[str]) -> Report:
        client = connect(self._world.stack.redis_url, timeout_seconds=30)
        leaks = Leaks(self._world, client, list(CAPS))
        left = leaks.settle()
        left |= leaks.delete()
        client.close()
        mortal = left.pop("keys that go by themselves")
        report = Report(self._seed, time.monotonic() - self._began, struck, self._load.ends())
        report.figures = [*self._figures(), *(Figure(f"left: {n}", c, 0) for n, c in left.items())]
        report.notes = [*self._notes(), f"keys that go by themselves: {mortal}"]
        report.complaints = self._complaints() + self._sampler.blindness(self._witness.lives())
        return report

    def _figures(self) -> list[Figure]:
        load, witness, sampler = self._load, self._witness, self._sampler
        worst = max(self._overruns().values(), default=0.0)
        slowest = max(self._striker.slowest_ends.get(name, 0.0) for name in WORKERS)
        return [
            Figure("accepted jobs without a final state", len(load.unfinished()), 0),
            Figure("ends that are not true, other complaints", len(load.complaints), 0),
            Figure("attempts that started twice", len(witness.started_twice()), 0),
            Figure("requests delivered twice", len(witness.delivered_twice()), 0),
            *(Figure(f"replicas of {n} at once, sampled", sampler.most(n), CAPS[n]) for n in CAPS),
            Figure("overrun of a deadline", worst, OVERRUN_SECONDS, " s"),
            Figure("from SIGTERM to a worker's end", slowest, SIGTERM_SECONDS, " s"),
            Figure("longest gap between two samples", sampler.longest_gap, GAP_SECONDS, " s"),
        ]

    def _notes(self) -> list[str]:
        load, witness, sampler = self._load, self._witness, self._sampler
        again = [i for i, status in load.finished.items() if status["Attempt"] > 1]
        slowest = sorted(self._striker.slowest_ends.items())
        ends = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in slowest)
        repeats = ", ".join(f"{what} {count}" for what, count in sorted(load.repeats.items()))
        return [
            f"jobs accepted: {len(load.accepted)}, ended {len(load.finished)}",
            f"results compared byte for byte: {load.compared}",
            f"apps started: {len(witness.lives())}, at once"
            f" {', '.join(f'{witness.most(name)} of {name}' for name in CAPS)};"
            f" jobs with a further attempt: {len(again)}",
            f"containers seen: {len(sampler.replicas())}, attempts with two:"
            f" {len(sampler.made_twice())}",
            f"containers that ran nothing of ours: {len(sampler.unknown())},"
            f" the longest for {max(sampler.unknown(), default=0):.1f} s",
            f"samples: {sampler.samples}, every {1000 * SAMPLE_SECONDS:.0f} ms",
            f"slowest job: {load.slowest:.1f} s; slowest recovery: {self._slowest_recovery:.1f} s",
            f"slowest ends after SIGTERM: {ends or 'none'}",
            f"requests repeated: {repeats or 'none'}",
            f"tracebacks in the logs: {self._tracebacks() or 'none'}",
        ]

    def _tracebacks(self) -> str:
        found = {
            log.name: len(_OURS.findall(log.read_text(errors="replace")))
            for log in self._world.logs()
        }
        return ", ".join(f"{name} {count}" for name, count in found.items() if count)
