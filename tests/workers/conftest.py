"""Workers on a real Redis and an engine in memory; the test plays the usher."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, redis_client, redis_server, redis_url
from tests.workers.celery_stage import Stage
from tests.workers.rig import Rig
from workers import supervisor

__all__ = ["redis_client", "redis_server", "redis_url"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are tried again at once."""
    monkeypatch.setattr(supervisor, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0.1)


@pytest.fixture
def rig(redis_url: str, tmp_path: Path, quick: None) -> Iterator[Rig]:
    """One node, and a deployment that runs one job at once."""
    rig = Rig(redis_url, tmp_path / "spool")
    yield rig
    rig.close()


@pytest.fixture
def wide(redis_url: str, tmp_path: Path, quick: None) -> Iterator[Rig]:
    """Ten slots."""
    rig = Rig(redis_url, tmp_path / "wide", cap=10)
    yield rig
    rig.close()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    server = RedisServer.start(tmp_path_factory.mktemp("own-redis"))
    yield server
    server.stop()


@pytest.fixture
def stage(own_redis: RedisServer, tmp_path: Path) -> Iterator[Stage]:
    """A node and a real broker, without a worker yet."""
    stage = Stage(own_redis, tmp_path)
    yield stage
    stage.close()
