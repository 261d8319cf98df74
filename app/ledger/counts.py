"""What is counted, and under which names: the fields of one Redis hash.

A counter is a field `<name>` or `<name>|<label>|…`. A histogram is a field for each of its buckets,
`<name>|…|<number>`, and `<name>|…|sum`. The number of a bucket is the place of its bound, counted
from 1; what is above the last bound has the number after it. A value lies in one bucket alone; who
reads adds them up. Bounds that are in use can't change: what was counted would then mean others.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_STARTUP = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_LIFE = (0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400, 604_800)
_SIZES = (0, 1024, 16_384, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864, 268_435_456)
_CALLS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600)
_SECONDS = 1_000_000  # sums are whole numbers: of microseconds
_BYTES = 1


@dataclass(frozen=True, slots=True)
class Buckets:
    """The upper bounds of a histogram, and how many units of its sum make one of them."""

    bounds: tuple[float, ...]
    scale: int


HISTOGRAMS: Final[Mapping[str, Buckets]] = {
    "queue": Buckets((0.1, *_LIFE), _SECONDS),  # accepted to claimed, of first claims
    "prepare": Buckets(_STARTUP, _SECONDS),  # claimed to container started
    "healthy": Buckets(_STARTUP, _SECONDS),  # container started to request sent
    "run": Buckets(_LIFE, _SECONDS),  # request sent to process exited
    "job": Buckets(_LIFE, _SECONDS),  # accepted to over, of jobs whose request was sent
    "result": Buckets(_SIZES, _BYTES),  # bodies of stored responses
    "engine": Buckets(_CALLS, _SECONDS),  # calls of the container engine, by verb
}

# What sweep and upkeep do, as `swept|<kind>`: some counted by scripts, some by workers.
SWEPT: Final = (
    "hint_repeated",  # a message that seemed lost
    "take_over_hinted",  # an attempt that nobody supervised
    "record_forgotten",  # past its retention
    "attempt_lost",  # with its machine
    "stray_freed",  # the slot of a lost machine's replica
    "overdue_killed",  # a replica past its deadline
    "container_removed",  # that no attempt needed
    "spool_removed",
    "secrets_removed",
)


def observation(histogram: str, value: float, *labels: str) -> dict[str, int]:
    """What one value adds to the fields of a histogram."""
    buckets = HISTOGRAMS[histogram]
    number = bisect_left(buckets.bounds, value) + 1
    name = "|".join((histogram, *labels))
    return {f"{name}|{number}": 1, f"{name}|sum": round(value * buckets.scale)}


def lua_bounds() -> str:
    """The same buckets as a Lua function, put before every script; it makes only what is asked for.

    `bounds_of(name)` returns the bounds and the scale.
    """
    branches = [
        f"if name == '{name}' then return {{{', '.join(map(str, b.bounds))}}}, {b.scale} end"
        for name, b in HISTOGRAMS.items()
        if name != "engine"  # no script observes it
    ]
    return "local function bounds_of(name)\n" + "\n".join(branches) + "\nend\n"
