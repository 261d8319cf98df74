"""How many requests this server answered, how, and how fast.

Its processes come and go, and any of them may be asked. So each counts in a place of its own, in
memory that they share from before they are forked, and whoever is asked adds all places up. A place
outlives its process, and all of them begin anew with the server.
"""

import mmap
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

PLACES = 128  # see app/fair.py: as processes are replaced they go round
STATUSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
# What is at these first parts of a path; whatever else is there is a deployment.
_ROUTES: Final = {
    "": "other",
    "status": "status",
    "result": "result",
    "v1": "control",
    "health": "probe",
    "ready": "probe",
    "metrics": "metrics",
}
ROUTES: Final = ("submit", *dict.fromkeys(_ROUTES.values()))
_SUM = len(STATUSES) + len(BOUNDS) + 1  # after the statuses and the buckets
_WIDTH = _SUM + 1

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """The requests of one kind: how many had an answer of which class, and when it began."""

    route: str
    statuses: dict[str, int]
    buckets: list[tuple[float, int]]  # upper bound and count of all up to it; the last is infinite
    sum_seconds: float


class Traffic:
    """The requests that the processes of one server answered."""

    def __init__(self) -> None:
        self.place = 0  # of this process
        self._lock = threading.Lock()  # of its threads
        self._values = memoryview(mmap.mmap(-1, 8 * PLACES * len(ROUTES) * _WIDTH)).cast("d")

    def note(self, route: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        row = (self.place % PLACES * len(ROUTES) + ROUTES.index(route)) * _WIDTH
        bucket = row + len(STATUSES) + bisect_left(BOUNDS, seconds)
        with self._lock:
            self._values[row + status // 100 - 1] += 1
            self._values[bucket] += 1
            self._values[row + _SUM] += seconds

    def answered(self) -> Iterator[Answered]:
        """All that was answered so far, by all processes."""
        for number, route in enumerate(ROUTES):
            values = [self._total(number * _WIDTH + column) for column in range(_WIDTH)]
            rising, total = list[tuple[float, int]](), 0
            for bound, count in zip((*BOUNDS, float("inf")), values[len(STATUSES) :], strict=False):
                total += int(count)
                rising.append((bound, total))
            statuses = {name: int(v) for name, v in zip(STATUSES, values, strict=False)}
            yield Answered(route, statuses, rising, values[_SUM])

    def _total(self, index: int) -> float:
        return sum(self._values[index :: len(ROUTES) * _WIDTH])


TRAFFIC = Traffic()


def counted(app: Wsgi, traffic: Traffic) -> Wsgi:
    """An application whose answers are counted, with the seconds until each began."""

    def count(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        began, status = time.perf_counter(), 500

        def start(line: str, *rest: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, *rest)

        try:
            return app(environ, start)
        finally:
            traffic.note(route_of(environ["PATH_INFO"]), status, time.perf_counter() - began)

    return count


def route_of(path: str) -> str:
    """The kind of request that a path is."""
    return _ROUTES.get(path[1:].partition("/")[0], "submit")
