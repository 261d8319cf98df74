"""One house for all tests of a process, and houses of their own for tests that break them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import engine_answers, require
from tests.e2e.house import House
from tests.e2e.machines import engine, new_pair

__all__ = ["engine", "new_pair"]  # fixtures


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house that stays up."""
    require(engine_answers(), "no Docker engine answers")
    house = House(tmp_path_factory.mktemp("house"), stop_grace_seconds=2)
    try:
        house.start()
        yield house
        house.until_nothing_is_left()
    finally:
        house.stop()


@pytest.fixture
def new_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Makes houses for one test, and stops what is still up at its end."""
    made: list[House] = []

    def make(**settings: object) -> House:
        made.append(House(tmp_path / str(len(made)), **({"stop_grace_seconds": 2} | settings)))
        made[-1].start()
        return made[-1]

    yield make
    for house in made:
        house.stop()
