"""The connection to the broker, where it goes away at the worst moment."""

from collections.abc import Iterator

import pytest
from kombu import Connection, Producer, Queue

from workers import celery


@pytest.fixture
def connection(redis_url: str) -> Iterator[Connection]:
    """As the workers' consumer has one."""
    connection = celery.app.connection_for_read(redis_url)
    yield connection
    connection.release()


def unacknowledged(connection: Connection) -> Queue:
    """A queue whose only message was taken, and not acknowledged."""
    channel = connection.default_channel
    queue = Queue("waiting")(channel)
    queue.declare()
    Producer(channel).publish("look", routing_key="waiting")
    assert queue.get().payload == "look"
    return queue


def test_a_message_that_was_not_acknowledged_is_put_back(
    connection: Connection, redis_url: str
) -> None:
    unacknowledged(connection)
    connection.default_channel.close()
    with celery.app.connection_for_read(redis_url) as other:
        assert Queue("waiting")(other.default_channel).get().payload == "look"


def test_where_the_connection_is_lost_it_is_left_to_the_sweep(connection: Connection) -> None:
    unacknowledged(connection)
    channel = connection.default_channel
    connection.transport.client = None  # as kombu leaves it behind when it collects a lost one
    channel.close()
    assert channel.closed
