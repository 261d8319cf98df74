"""What holds for all tests: what is missing skips a test here, and fails it where CI is set."""

import os
from functools import cache

import docker
import pytest
import requests

# These take longest, or disturb most: they come after all others.
LAST = ("tests/e2e/", "tests/compose/test_compose.py", "tests/chaos/")


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
        client = docker.from_env(timeout=10)
        client.close()
    except (docker.errors.DockerException, requests.RequestException):
        return False
    return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker"):
        require(engine_answers(), "no Docker engine answers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_slowness)  # stable: fast ones first


def _slowness(item: pytest.Item) -> tuple[bool, bool]:
    return item.nodeid.startswith(LAST), item.get_closest_marker("docker") is not None
