"""Promise 7, one supervisor at a time: Redis goes away, and comes back."""

import logging
import threading
from pathlib import Path

import pytest

from app.domain.job import State
from tests.redis_server import RedisServer
from tests.workers.rig import BODY, HEAD, Rig, runs
from tests.workers.test_foreign_ledger import at
from workers import actions


@pytest.fixture
def shaky(
    own_redis: RedisServer, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Rig, RedisServer]:
    monkeypatch.setattr(actions, "RETRY_SECONDS", 0.05)
    return Rig(own_redis.url, tmp_path / "spool"), own_redis


POINTS = [
    "before payloads.read",
    "before attempts.confirm",
    "before attempts.advance",
    "before payloads.upload",
    "before attempts.finish",
    "before attempts.release",
]


@pytest.mark.parametrize("point", POINTS)
def test_while_redis_is_away_a_supervisor_keeps_its_attempt(
    shaky: tuple[Rig, RedisServer], point: str
) -> None:
    rig, server = shaky
    looks: list[str] = []

    def go_away(passed: str) -> None:
        if passed == point and not looks:
            server.kill()
            looks.append(passed)
        elif passed == "before engine.find":  # after each pause it looks anew
            looks.append(passed)
            if len(looks) == 4:
                server.restart()

    rig.submit()
    done = rig.supervise(site=rig.site(go_away))
    assert done is not None
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.result() == (HEAD, BODY)
    assert (rig.job().attempt, rig.job().fence) == (1, 1)
    assert rig.engine.made == rig.engine.starts == {rig.replica(): 1}
    rig.check_nothing_left()


def test_a_job_runs_and_ends_while_redis_is_away(shaky: tuple[Rig, RedisServer]) -> None:
    rig, server = shaky
    rig.script = lambda usher: usher.start()
    rig.submit()
    task = rig.supervising()
    rig.until(lambda: rig.job().started_at)
    server.kill()
    rig.usher().send()
    rig.usher().finish()  # the outcome waits in the spool
    assert task.is_alive()
    server.restart()
    task.answer()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.job().sent_at is not None
    assert rig.result() == (HEAD, BODY)


def test_who_was_replaced_meanwhile_lets_go_when_redis_is_back(
    shaky: tuple[Rig, RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    rig, server = shaky
    rig.script = runs
    rig.submit()
    first = rig.supervising()
    rig.until_state(State.RUNNING)
    rig.lapse()
    second = rig.supervising()
    rig.until(lambda: rig.job().fence == 2)
    server.kill()
    rig.usher().finish()
    server.restart()
    first.answer()
    second.answer()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.job().fence == 2
    assert caplog.text.count("another supervisor has it") == 1


def test_a_deadline_is_kept_while_redis_is_away(
    shaky: tuple[Rig, RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, server = shaky
    rig.script = lambda usher: usher.start()
    rig.respec(
        scaling={
            "max_replica_count": 1,
            "queue_message_ttl_seconds": 600,
            "deadline_seconds": 1,
        }
    )

    away = threading.Event()

    def go_away() -> None:
        server.kill()
        rig.usher().send()  # which can't be told
        away.set()

    rig.submit()
    started = at("after attempts.advance", 1, go_away)  # however late that is told
    task = rig.supervising(site=rig.site(started))
    assert away.wait(60)
    rig.engine.wait_for_call("kill")  # and its usher does nothing at the deadline
    server.restart()
    task.answer()
    assert rig.fate() == ("timed_out", "deadline")


def test_a_claim_that_fails_ends_the_task_quietly(
    shaky: tuple[Rig, RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    rig, server = shaky
    caplog.set_level(logging.WARNING)
    rig.submit()
    site = rig.site()
    server.kill()
    assert rig.supervise(site=site) is None
    assert "the sweep will hint again" in caplog.text
    server.restart()
    rig.supervise(site=site)
    assert rig.fate() == ("succeeded", "exit_0")


def test_a_stop_is_noticed_while_redis_is_away(shaky: tuple[Rig, RedisServer]) -> None:
    rig, server = shaky
    rig.script = runs
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until_state(State.RUNNING)
    server.kill()
    rig.usher().finish()
    site.roster.stop()
    assert task.answer() is None  # let_go can't be told either
    server.restart()
    rig.lapse()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
