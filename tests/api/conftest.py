"""The API over a real Redis, empty before each test; both faces' clients; a worker to play."""

from collections.abc import Iterator

import pytest
import redis

from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.sdk import inference, jobs, verda
from tests.api.server import ApiServer
from tests.api.worker import PlayedWorker
from tests.redis_server import RedisServer, redis_client, redis_server

__all__ = ["inference", "jobs", "redis_client", "redis_server", "verda"]  # fixtures


@pytest.fixture(scope="session")
def server(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """One API for all tests of this process."""
    folder = tmp_path_factory.mktemp("api")
    volumes = folder / "volumes.toml"
    volumes.write_text('[datasets]\npath = "/srv/datasets"\nread_only = true\n')
    patient = {"log_wait_seconds": 60}  # what a played worker has to tell, this machine may hold up
    started = ApiServer.start(folder, redis_server.url, volumes_file=volumes, **patient)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def impatient_server(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """One that hardly waits for what replicas printed."""
    folder = tmp_path_factory.mktemp("impatient-api")
    started = ApiServer.start(folder, redis_server.url, log_wait_seconds=0.05)
    yield started
    started.stop()


@pytest.fixture
def ledger(redis_client: redis.Redis) -> Ledger:
    """The ledger behind the API, empty."""
    return Ledger(redis_client)


@pytest.fixture
def api(server: ApiServer, ledger: Ledger) -> Faces:
    """Both faces of the API, with a key and a token; no deployment yet."""
    return Faces.of(server.port, ledger)


@pytest.fixture
def impatient(impatient_server: ApiServer, ledger: Ledger) -> Faces:
    """Both faces of an API that hardly waits for what replicas printed."""
    return Faces.of(impatient_server.port, ledger)


@pytest.fixture
def hello(api: Faces) -> str:
    """The name of a deployment that runs one job at a time."""
    return api.deploy("hello")


@pytest.fixture
def worker(ledger: Ledger) -> PlayedWorker:
    """Plays the worker of all jobs."""
    return PlayedWorker(ledger)
