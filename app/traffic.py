"""How many requests this server answered, how, and how fast.

Its processes come and go, and any of them may be asked. So each counts in a place of its own, in
memory that they share from before they are forked, and whoever is asked adds all places up. A place
outlives its process, and all of them begin anew with the server.

An answer that tells what became of a job may have any status, an app's own 503 too. It has the
origin "job", so that it is not taken for a failure of the API.
"""

import mmap
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

PLACES = 128  # see app/fair.py: as processes are replaced they go round
STATUSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),  # seconds;
    *(60.0, 300.0),  # who waits for a job's end may do so for minutes
)
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
JOB, API = "job", "api"  # whose answer it is
# A submit tells a job's outcome if its client waits for that.
KINDS: Final = (*((route, API) for route in ROUTES), ("submit", JOB), ("result", JOB))
_SUM = len(STATUSES) + len(BOUNDS) + 1  # after the statuses and the buckets
_WIDTH = _SUM + 1

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]
Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answered:
    """The requests of one kind: how many had an answer of which class, and when it began."""

    route: str
    origin: str
    statuses: dict[str, int]
    buckets: list[tuple[float, int]]  # upper bound and count of all up to it; the last is infinite
    sum_seconds: float


class Traffic:
    """The requests that the processes of one server answered."""

    def __init__(self) -> None:
        self.place = 0  # of this process
        self._lock = threading.Lock()  # of its threads
        self._values = memoryview(mmap.mmap(-1, 8 * PLACES * len(KINDS) * _WIDTH)).cast("d")

    def note(self, route: str, status: int, seconds: float, origin: str = API) -> None:
        """Counts one answer."""
        row = (self.place % PLACES * len(KINDS) + KINDS.index((route, origin))) * _WIDTH
        bucket = row + len(STATUSES) + bisect_left(BOUNDS, seconds)
        with self._lock:
            # An app may say 600 to 999; to a client that is a 5xx (RFC 9110, section 15).
            self._values[row + min(status // 100, len(STATUSES)) - 1] += 1
            self._values[bucket] += 1
            self._values[row + _SUM] += seconds

    def answered(self) -> Iterator[Answered]:
        """All that was answered so far, by all processes."""
        for number, (route, origin) in enumerate(KINDS):
            values = [self._total(number * _WIDTH + column) for column in range(_WIDTH)]
            rising, total = list[tuple[float, int]](), 0
            for bound, count in zip((*BOUNDS, float("inf")), values[len(STATUSES) :], strict=False):
                total += int(count)
                rising.append((bound, total))
            statuses = {name: int(v) for name, v in zip(STATUSES, values, strict=False)}
            yield Answered(route, origin, statuses, rising, values[_SUM])

    def _total(self, index: int) -> float:
        return sum(self._values[index :: len(KINDS) * _WIDTH])


TRAFFIC = Traffic()


def counted(app: Wsgi, traffic: Traffic) -> Wsgi:
    """An application whose answers are counted, with the seconds from the head until each began.

    An answer that may be held is counted by who sends it: see `WireBody.answered`.
    """

    def count(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        body: Any = environ.get("wsgi.input")
        route = route_of(environ["PATH_INFO"])
        began = getattr(body, "began", None) or time.perf_counter()
        status, origin = 500, API

        def start(line: str, headers: Headers, *rest: Any) -> Any:
            nonlocal status, origin
            status, origin = int(line[:3]), origin_of(route, headers)
            return start_response(line, headers, *rest)

        def answered() -> None:
            traffic.note(route, status, time.perf_counter() - began, origin)

        try:
            answer = app(environ, start)
        except BaseException:
            answered()
            raise
        if _may_be_held(body):
            body.answered = answered
        else:
            answered()
        return answer

    return count


def route_of(path: str) -> str:
    """The kind of request that a path is."""
    return _ROUTES.get(path[1:].partition("/")[0], "submit")


def origin_of(route: str, headers: Headers) -> str:
    """Whose answer this is: a job's if it tells what became of one, by the header that says so."""
    tells = any(name.lower() == "x-job-state" for name, _ in headers)
    return JOB if tells and (route, JOB) in KINDS else API


def _may_be_held(body: Any) -> bool:
    return getattr(body, "held", None) is not None and not body.resumed
