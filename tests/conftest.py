"""What holds for all tests: what is missing skips a test here, and fails it where CI is set."""

import os
from functools import cache

import docker
import pytest
import requests
from hypothesis import settings

# A busy machine may take any time for one example. All else stays as it is, also where CI is set.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# These take longest. Where several processes share the tests, they are handed out first: the many
# short ones then fill the gaps at the end.
# The first makes the images that most need; from the third on some need none meanwhile.
FIRST = (
    "tests/compose/test_compose.py",
    "tests/chaos/test_chaos.py",
    "tests/test_scripts.py",
    "tests/api/test_connections.py",
    "tests/api/test_fuzz.py",
    "tests/usher/",
    "tests/cli/",
    "tests/e2e/test_lost_machines.py",
    "tests/e2e/test_engine_faults.py",
    "tests/e2e/test_cut_off.py",
    "tests/e2e/test_two_machines.py",
    "tests/e2e/test_up.py",  # not while images are made: its Redis waits for the same disk
    "tests/e2e/",
    "tests/test_second_engine.py",
)


def require(condition: object, reason: str) -> None:
    """Skips the test, or fails it where CI is set, unless the condition holds."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; this may not be missing where CI is set", pytrace=False)
    pytest.skip(reason)


@cache
def engine_answers() -> bool:
    """Whether there is a Docker engine."""
    try:
        client = docker.from_env(timeout=60)  # what it says holds for all tests of this process
        client.close()
    except (docker.errors.DockerException, requests.RequestException):
        return False
    return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker"):
        require(engine_answers(), "no Docker engine answers")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    shared_out = hasattr(config, "workerinput")  # xdist's, in each of its processes
    items.sort(key=_turn if shared_out else _slowness)  # stable


def _slowness(item: pytest.Item) -> tuple[bool, bool]:
    """In one process the fast ones come first."""
    return item.nodeid.startswith(FIRST), item.get_closest_marker("docker") is not None


def _turn(item: pytest.Item) -> int:
    return next((n for n, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST))
