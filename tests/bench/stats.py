"""Medians, ratios and how sure they are."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 4000
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians with its bootstrap interval."""

    value: float
    low: float
    high: float


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Of the medians; the interval resamples whole rounds, as both were measured in each."""
    rounds = list(zip(ours, theirs, strict=True))
    chance = random.Random(0)  # the same samples give the same interval
    found = sorted(_of_medians(chance.choices(rounds, k=len(rounds))) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return Ratio(_of_medians(rounds), quantile(found, tail), quantile(found, 1 - tail))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of values in order; the nearest one that was measured."""
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def spread(values: Sequence[float]) -> float:
    """Largest over smallest: bimodal figures show in it."""
    return max(values) / min(values)


def _of_medians(rounds: Sequence[tuple[float, float]]) -> float:
    return median(ours for ours, _ in rounds) / median(theirs for _, theirs in rounds)
