"""When new work is refused because Redis is full."""

import threading
from typing import Any

import pytest
import redis

from app.domain.errors import ServiceUnavailable
from app.ledger.memory import LOOK_SECONDS, RETRY_SECONDS, Memory


class Redis:
    """Says how full it is."""

    def __init__(self, used: int, most: int = 0) -> None:
        self.used, self.most = used, most
        self.error: redis.RedisError | None = None
        self.looks = 0

    def info(self, section: str) -> dict[str, int]:
        assert section == "memory"
        self.looks += 1
        if self.error is not None:
            raise self.error
        return {"used_memory": self.used, "maxmemory": self.most}


class Clock:
    """A monotonic clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def memory(client: Any, clock: Clock, limit: int | None = None) -> Memory:
    return Memory(client, limit, clock)


def refused(memory: Memory) -> bool:
    try:
        memory.check_room()
    except ServiceUnavailable:
        return True
    return False


def wait_for_a_look(clock: Clock) -> None:
    """So much later that it looks anew."""
    clock.now += LOOK_SECONDS


def test_new_work_is_refused_above_four_fifths_of_what_redis_may_use(clock: Clock) -> None:
    client = Redis(800, 1000)
    checked = memory(client, clock)
    assert not refused(checked)
    client.used = 801
    wait_for_a_look(clock)
    with pytest.raises(ServiceUnavailable, match=r"801 bytes .* below 800") as told:
        checked.check_room()
    assert told.value.retry_after_seconds == RETRY_SECONDS
    client.used = 800
    wait_for_a_look(clock)
    assert not refused(checked)


def test_without_a_limit_nothing_is_ever_refused(clock: Clock) -> None:
    assert not refused(memory(Redis(10**15), clock))


@pytest.mark.parametrize(
    ("used", "most", "limit", "is_refused"),
    [
        (501, 0, 500, True),  # Redis itself has no limit
        (500, 0, 500, False),
        (501, 1000, 500, True),  # the lower one counts
        (801, 1000, 900, True),
        (800, 1000, 900, False),
    ],
)
def test_a_limit_may_be_set(
    clock: Clock, used: int, most: int, limit: int, is_refused: bool
) -> None:
    assert refused(memory(Redis(used, most), clock, limit)) is is_refused


@pytest.mark.parametrize("used", [1, 999])
def test_it_looks_at_most_twice_a_second(clock: Clock, used: int) -> None:
    client = Redis(used, 1000)
    checked = memory(client, clock)
    start = clock.now
    for step in range(1000):
        clock.now = start + step * 0.01
        assert refused(checked) is (used == 999)
    assert client.looks <= 10 / LOOK_SECONDS


def test_an_error_of_redis_passes_and_the_next_look_is_a_look_later(clock: Clock) -> None:
    client = Redis(1, 1000)
    client.error = redis.ConnectionError("away")
    checked = memory(client, clock)
    with pytest.raises(redis.ConnectionError):
        checked.check_room()
    assert not refused(checked)
    assert client.looks == 1
    wait_for_a_look(clock)
    with pytest.raises(redis.ConnectionError):
        checked.check_room()
    client.error = None
    wait_for_a_look(clock)
    assert not refused(checked)


def test_after_an_error_the_last_word_counts(clock: Clock) -> None:
    client = Redis(999, 1000)
    checked = memory(client, clock)
    assert refused(checked)
    client.error = redis.TimeoutError("slow")
    wait_for_a_look(clock)
    with pytest.raises(redis.TimeoutError):
        checked.check_room()
    assert refused(checked)


def test_while_one_thread_looks_the_others_do_not_wait(clock: Clock) -> None:
    looking, go_on = threading.Event(), threading.Event()

    class Slow(Redis):
        def info(self, section: str) -> dict[str, int]:
            looking.set()
            assert go_on.wait(60)
            return super().info(section)

    client = Slow(999, 1000)
    checked = memory(client, clock)
    first = threading.Thread(target=refused, args=(checked,))
    first.start()
    assert looking.wait(60)
    assert not refused(checked)  # as it was before
    go_on.set()
    first.join(60)
    assert refused(checked)
    assert client.looks == 1
