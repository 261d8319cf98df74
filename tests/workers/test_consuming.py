"""What a worker takes from the broker, and what is done where it takes nothing any more."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from app.dispatch import compute_queue
from app.domain.job import State
from tests.workers.celery_stage import Stage
from workers import consuming
from workers.consuming import RESTART_SECONDS, STALL_SECONDS, Consuming, Intake
from workers.fitness import Fitness


class Consumer:
    """Celery's, with a loop that the test turns."""

    def __init__(self) -> None:
        self.queues = {"compute.cpu", "node.n1"}
        self.soon: list[Callable[[], None]] = []
        self.task_consumer: Any = self

    def consuming_from(self, queue: str) -> bool:
        return queue in self.queues

    def call_soon(self, function: Callable[[], None]) -> None:
        self.soon.append(function)

    def add_task_queue(self, queue: str) -> None:
        self.queues.add(queue)

    def cancel_task_queue(self, queue: str) -> None:
        self.queues.discard(queue)

    def turn(self) -> None:
        """What its loop does. A connection error ends it, and it connects again."""
        due, self.soon = self.soon, []
        for function in due:
            function()


class Desk:
    """A consumer that is looked after."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.consumer, self.fitness = Consumer(), Fitness()
        self.reserved = 0
        self.intake = Intake(2, lambda: self.reserved)
        self.consuming = Consuming(
            self.consumer, self.fitness, client, self.intake, ["compute.cpu"], "node.n1"
        )
        self.now = 1000.0

    def pass_seconds(self, seconds: float) -> int:
        """Looks every second; returns how often the consumer had to connect anew."""
        resets = 0
        for _ in range(int(seconds)):
            self.now += 1
            self.consuming.step(self.now)
            try:
                self.consumer.turn()
            except ConnectionResetError:
                resets += 1
        return resets


@pytest.fixture
def desk(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Desk:
    def restarted() -> None:
        raise SystemExit

    monkeypatch.setattr(consuming, "restart", restarted)
    return Desk(redis_client)


def test_who_is_not_fit_leaves_the_messages_to_others(desk: Desk) -> None:
    desk.fitness.stands("engine", "trouble")
    desk.pass_seconds(1)
    assert desk.consumer.queues == {"node.n1"}
    desk.client.lpush("compute.cpu", "for others")
    assert desk.pass_seconds(100) == 0
    desk.fitness.stands("engine", None)
    desk.pass_seconds(1)
    assert desk.consumer.queues == {"compute.cpu", "node.n1"}


def test_a_consumer_that_takes_nothing_connects_anew_and_then_begins_anew(desk: Desk) -> None:
    desk.client.lpush("compute.cpu", "waits")
    assert desk.pass_seconds(STALL_SECONDS) == 0
    assert desk.pass_seconds(RESTART_SECONDS - STALL_SECONDS) == 1
    with pytest.raises(SystemExit):
        desk.pass_seconds(2)


def test_one_that_connects_anew_and_takes_it_is_well(desk: Desk) -> None:
    desk.client.lpush("compute.cpu", "waits")
    assert desk.pass_seconds(STALL_SECONDS + 2) == 1
    desk.client.delete("compute.cpu")
    desk.intake.note()
    assert desk.pass_seconds(100) == 0


def test_one_that_takes_others_or_has_no_room_has_not_stalled(desk: Desk) -> None:
    desk.client.lpush("node.n1", "waits")
    for _ in range(100):
        desk.intake.note()
        assert desk.pass_seconds(1) == 0
    desk.reserved = 2
    assert desk.pass_seconds(100) == 0


def test_a_loop_that_is_stuck_is_not_asked_again_and_again(desk: Desk) -> None:
    for _ in range(int(STALL_SECONDS)):
        desk.now += 1
        desk.consuming.step(desk.now)
    assert len(desk.consumer.soon) == 1
    desk.consumer.soon.clear()  # it connects anew, and forgets it
    desk.fitness.stands("engine", "trouble")
    desk.pass_seconds(STALL_SECONDS)
    assert desk.consumer.queues == {"node.n1"}


def test_a_loop_without_a_connection_is_left_alone(desk: Desk) -> None:
    desk.consumer.task_consumer = None
    desk.fitness.stands("engine", "trouble")
    assert desk.pass_seconds(3) == 0


def test_a_time_without_a_look_is_no_waiting(desk: Desk) -> None:
    """Redis was away, or this process was stopped."""
    desk.client.lpush("compute.cpu", "waits")
    assert desk.pass_seconds(STALL_SECONDS - 2) == 0
    desk.now += 100
    assert desk.pass_seconds(STALL_SECONDS) == 0
    assert desk.pass_seconds(2) == 1


# -- with the real Celery ----------------------------------------------------------------------


def test_a_worker_without_an_engine_takes_no_messages_until_it_is_back(stage: Stage) -> None:
    flag = stage.folder / "away"
    flag.touch()
    stage.worker(TEST_AWAY=str(flag)).until_ready()
    client = stage.rig.ledger.client
    nodes = stage.rig.ledger.nodes
    stage.rig.until(lambda: any(node.info.get("problems") for node in nodes.all()))
    stage.until_none_takes_jobs()
    task = stage.submit("works-1")
    stage.rig.until(lambda: client.llen(compute_queue("cpu")) == 1 or task.meta()["result"])
    assert stage.rig.job("works-1").state is State.DISPATCHED
    flag.unlink()
    assert task.fate() == "succeeded"


def test_a_stalled_consumer_takes_messages_again(stage: Stage) -> None:
    """Its loop no longer hears of the broker: as if the connection had died in silence."""
    worker = stage.worker(TEST_STALLS="1").until_ready()
    task = stage.submit("works-1")
    stage.rig.until(lambda: "connecting anew" in worker.words())
    stage.rig.until(lambda: task.meta()["status"] == "SUCCESS")
    assert worker.process.poll() is None
