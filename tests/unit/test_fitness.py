"""When a worker stops taking jobs, and when it goes on."""

from workers.fitness import FAILURES, LONGEST_PAUSE_SECONDS, Fitness


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def failing(fitness: Fitness, times: int) -> None:
    for _ in range(times):
        fitness.failed("disk full")


def test_a_few_failures_are_nothing() -> None:
    fitness = Fitness()
    failing(fitness, FAILURES - 1)
    assert fitness.fit


def test_several_in_a_row_are_a_pause_that_names_the_cause() -> None:
    clock = Clock()
    fitness = Fitness(clock)
    failing(fitness, FAILURES)
    assert not fitness.fit
    assert "3 failures" in fitness.problems()[0]
    assert "disk full" in fitness.problems()[0]
    clock.now += 5.1
    assert fitness.fit


def test_each_further_failure_doubles_the_pause_up_to_a_bound() -> None:
    clock = Clock()
    fitness = Fitness(clock)
    failing(fitness, FAILURES)
    pauses = []
    for _ in range(9):
        start = clock.now
        while not fitness.fit:
            clock.now += 1
        pauses.append(clock.now - start)
        failing(fitness, 1)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert max(pauses) == LONGEST_PAUSE_SECONDS


def test_a_start_that_works_ends_it() -> None:
    fitness = Fitness()
    failing(fitness, FAILURES)
    fitness.worked()
    assert fitness.fit
    failing(fitness, FAILURES - 1)
    assert fitness.fit


def test_standing_problems_last_until_they_are_gone() -> None:
    fitness = Fitness()
    fitness.stands("engine", "the engine does not answer")
    fitness.stands("ledger", "another ledger")
    assert fitness.problems() == ["the engine does not answer", "another ledger"]
    fitness.stands("engine", None)
    fitness.worked()
    assert fitness.problems() == ["another ledger"]
    fitness.stands("ledger", None)
    assert fitness.fit
