"""Many jobs that fail at the same moment for the same reason are one sign, not many."""

from tests.unit.test_fitness import Clock, failing
from workers.fitness import FAILURES, FIRST_PAUSE_SECONDS, Fitness


def test_a_hundred_failures_at_once_are_one_pause() -> None:
    clock = Clock()
    fitness = Fitness(clock)
    failing(fitness, 100)
    assert f"{FAILURES} failures" in fitness.problems()[0]
    clock.now += FIRST_PAUSE_SECONDS
    assert fitness.fit


def test_those_after_the_pause_make_a_longer_one() -> None:
    clock = Clock()
    fitness = Fitness(clock)
    failing(fitness, 100)
    clock.now += FIRST_PAUSE_SECONDS
    failing(fitness, 100)
    clock.now += FIRST_PAUSE_SECONDS
    assert not fitness.fit
    clock.now += FIRST_PAUSE_SECONDS
    assert fitness.fit
