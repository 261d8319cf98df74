"""The faults: a seeded schedule of what is struck, how, when, and for how long."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.chaos.world import API, ENGINE, FLOWER, ORDER, REDIS, WORKERS, World

SIGTERM_SECONDS = 5.0  # in which a worker is gone, whatever its jobs are doing
LONGEST_CALM = 1.5  # seconds


@dataclass(frozen=True)
class Fault:
    """One fault."""

    verb: str  # kill (-9), term (SIGTERM), pause (SIGSTOP)
    targets: tuple[str, ...]
    calm: float = 0.0  # seconds before it
    lasts: float = 0.0  # seconds until it is mended

    def __str__(self) -> str:
        return f"{self.verb} {'+'.join(self.targets)}"


# What may happen, with the bounds of how many seconds it lasts. A pause may outlast a worker's
# lease, so that the other one takes its jobs over and the sleeper wakes up late. The engine gets no
# SIGTERM: one that sees nothing run when it stops ends what comes to run a moment later.
_ALL = (REDIS, API, *WORKERS)
DECK: tuple[tuple[str, tuple[str, ...], float, float], ...] = (
    *(("kill", (worker,), 0.0, 2.0) for worker in WORKERS),
    *(("term", (worker,), 0.0, 2.0) for worker in WORKERS),
    *(("pause", (worker,), 0.5, 6.0) for worker in WORKERS),
    ("kill", WORKERS, 0.0, 4.0),
    ("kill", (REDIS,), 0.0, 2.0),
    ("term", (REDIS,), 0.0, 2.0),
    ("pause", (REDIS,), 0.2, 3.0),
    ("kill", (API,), 0.0, 1.0),
    ("term", (API,), 0.0, 1.0),
    ("kill", (FLOWER,), 0.0, 0.5),
    ("term", (FLOWER,), 0.0, 0.5),
    ("pause", (ENGINE,), 0.5, 5.0),
    ("pause", (WORKERS[0], ENGINE), 0.5, 5.0),
    ("kill", (ENGINE,), 0.0, 0.0),
    ("kill", (ENGINE,), 0.0, 3.0),
    ("kill", _ALL, 0.0, 2.0),
)


def schedule(seed: int) -> Iterator[Fault]:
    """Faults without end: the whole deck, shuffled anew each time."""
    random = Random(f"faults {seed}")
    while True:
        for verb, targets, least, most in random.sample(DECK, len(DECK)):
            calm, lasts = random.uniform(0, LONGEST_CALM), random.uniform(least, most)
            yield Fault(verb, targets, calm, lasts)


class Striker:
    """Strikes and mends. `complaints` are what was not as promised about it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.complaints: list[str] = []
        self.slowest_ends: dict[str, float] = {}  # seconds from SIGTERM to the end, by process

    def strike(self, fault: Fault) -> None:
        """Does it, to all its targets one right after the other."""
        for target in fault.targets:
            self._strike(fault.verb, target)

    def mend(self, fault: Fault) -> None:
        """Undoes it. What was killed is started again and waited for."""
        world, engine = self._world, self._world.engine
        for target in sorted(fault.targets, key=(*ORDER, ENGINE).index):
            if target == ENGINE:
                {"pause": engine.resume, "kill": engine.start}[fault.verb]()
            elif fault.verb == "pause":
                world.signal(target, signal.SIGCONT)
            else:
                world.begin(target)

    def _strike(self, verb: str, target: str) -> None:
        world, engine = self._world, self._world.engine
        if target == ENGINE:
            {"pause": engine.pause, "kill": engine.crash}[verb]()
        elif verb == "pause":
            world.signal(target, signal.SIGSTOP)
        elif verb == "term":
            self._terminate(target)
        else:
            world.kill(target)

    def _terminate(self, target: str) -> None:
        took = self._world.terminate(target)
        self.slowest_ends[target] = max(took, self.slowest_ends.get(target, 0.0))
        if target in WORKERS and took > SIGTERM_SECONDS:
            self.complaints.append(f"{target} took {took:.1f} s to end after SIGTERM")
