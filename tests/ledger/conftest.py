"""The ledger on a real Redis, emptied before each test."""

from collections.abc import Iterator

import pytest
import redis

from app.ledger import Ledger
from tests.api.server import SECRETS_KEY
from tests.ledger.scene import HINT_SECONDS, Scene, Stuttering
from tests.redis_server import RedisServer, redis_client, redis_server, redis_url

__all__ = ["redis_client", "redis_server", "redis_url"]


@pytest.fixture
def ledger(redis_client: redis.Redis) -> Ledger:
    return Ledger(redis_client, hint_seconds=HINT_SECONDS, secrets_key=SECRETS_KEY)


@pytest.fixture
def stuttering(redis_server: RedisServer, redis_client: redis.Redis) -> Iterator[Ledger]:
    """The ledger over a client that sends every script twice."""
    client = Stuttering(port=redis_server.port, socket_timeout=30)
    yield Ledger(client, hint_seconds=HINT_SECONDS, secrets_key=SECRETS_KEY)
    client.close()


@pytest.fixture
def scene(ledger: Ledger) -> Scene:
    """A deployment that runs one job at once."""
    return Scene(ledger)
