"""The engines that the contract holds for."""

from collections.abc import Callable, Iterator

import pytest

from tests.contracts.worlds import DockerWorld, ScriptedWorld, World


@pytest.fixture(
    params=[
        pytest.param(ScriptedWorld, id="scripted"),
        pytest.param(DockerWorld, id="docker", marks=pytest.mark.docker),
    ]
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: Callable[[], World] = request.param
    world = made()
    yield world
    world.close()
