"""Publishing: ids only, to the right queue, and never a hindrance."""

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from app import dispatch
from app.dispatch import Publisher, compute_queue, node_queue, task_id
from app.domain.job import Hint
from tests.redis_server import RedisServer
from tests.stopped import stop
from tests.workers.celery_stage import patient_publisher

HINT = Hint(uid="abc123", id="job-1", deployment="hello", compute="Tesla V100")


@pytest.fixture
def stopped(own_redis: RedisServer) -> Iterator[RedisServer]:
    """It accepts connections, and answers nothing."""
    assert own_redis.pid is not None
    stop(own_redis.pid)
    yield own_redis
    if own_redis.pid is not None:
        os.kill(own_redis.pid, signal.SIGCONT)


def messages(client: redis.Redis, queue: str) -> list[dict[str, Any]]:
    raw: Any = client.lrange(queue, 0, -1)
    return [json.loads(message) for message in raw]


def test_names() -> None:
    assert compute_queue("cpu") == "compute.cpu"
    assert node_queue("n1") == "node.n1"
    assert task_id(HINT) == "hello.job-1"


def test_a_message_has_ids_only(redis_client: redis.Redis, redis_url: str) -> None:
    Publisher(redis_url)([HINT])
    [message] = messages(redis_client, "compute.Tesla V100")
    assert json.loads(base64.b64decode(message["body"]))[:2] == [["abc123", "job-1"], {}]
    assert message["headers"]["id"] == "hello.job-1"
    assert message["headers"]["task"] == "onejob.run"
    assert not message["headers"]["ignore_result"]  # or the worker would store none
    assert len(json.dumps(message)) < 2000


def test_a_take_over_goes_to_the_nodes_own_queue_under_the_same_id(
    redis_client: redis.Redis, redis_url: str
) -> None:
    Publisher(redis_url).to_node([HINT], "n1")
    [message] = messages(redis_client, "node.n1")
    assert message["headers"]["id"] == "hello.job-1"
    assert messages(redis_client, "compute.Tesla V100") == []


def timed(publisher: Publisher, hints: int) -> float:
    begun = time.monotonic()
    publisher([HINT] * hints)
    return time.monotonic() - begun


@pytest.mark.parametrize("known", [False, True])
def test_a_dead_broker_costs_next_to_nothing(own_redis: RedisServer, known: bool) -> None:
    def costs() -> float:
        client, publisher = own_redis.connect(), patient_publisher(own_redis.url)
        client.flushall()
        if known:
            publisher([HINT])
        own_redis.kill()
        longer = max(timed(publisher, 50), timed(publisher, 50))
        own_redis.restart()
        publisher([HINT])
        assert len(messages(own_redis.connect(), "compute.Tesla V100")) == 1 + known
        return longer

    assert any(costs() < 2 for _ in range(3))  # this process may stand still meanwhile


@pytest.mark.parametrize("known", [False, True])
def test_a_broker_that_hangs_costs_one_timeout_for_all(
    own_redis: RedisServer, known: bool, request: pytest.FixtureRequest
) -> None:
    publisher = Publisher(own_redis.url)
    if known:
        publisher([HINT])
    request.getfixturevalue("stopped")
    assert dispatch._TRANSPORT["socket_timeout"] <= 2
    assert timed(publisher, 50) < 30  # one takes as long, which a busy machine can make longer


def test_a_pull_ahead_goes_to_each_nodes_own_queue(
    redis_client: redis.Redis, redis_url: str
) -> None:
    Publisher(redis_url).pull("hello", "abc123", 2, ["n1", "n2"])
    for node in ("n1", "n2"):
        [message] = messages(redis_client, node_queue(node))
        assert json.loads(base64.b64decode(message["body"]))[:2] == [["abc123", 2], {}]
        assert message["headers"]["task"] == "onejob.pull"
        assert message["headers"]["expires"]  # a node that is gone by then pulls nothing later


def test_a_pull_ahead_without_a_broker_fails_nobody(own_redis: RedisServer) -> None:
    own_redis.kill()
    Publisher(own_redis.url).pull("hello", "abc123", 2, ["n1", "n2"])
