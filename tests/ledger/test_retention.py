"""What is kept, for how long: the payload, and longer than it the record."""

from datetime import UTC, datetime

import pytest

from app.domain.errors import NotFound
from app.domain.job import State
from app.ledger import Ledger
from tests.ledger.scene import DAY, PAST, Scene, check_places, keys_with


def _outlive(scene: Scene, *names: str) -> None:
    """Moves the end of the records' retention into the past."""
    scene.redis.zadd("onejob:due:retention", {scene.ref(name): PAST for name in names}, xx=True)


def _respond(scene: Scene, job_id: str, body: bytes = b"answer") -> str:
    """Runs a job that has a response. Returns the response's token."""
    grip = scene.started(job_id)
    upload = scene.ledger.payloads.upload(b"HTTP/1.1 200 OK\r\n\r\n", f"r-{job_id}-1-1")
    upload.write(body)
    upload.finish()
    scene.finish(grip, response=upload.token, response_status=200, response_size=len(body))
    scene.ledger.attempts.release(grip)
    return upload.token


def test_request_and_response_end_with_the_result_the_record_later(scene: Scene) -> None:
    token = _respond(scene, "a")
    job = scene.job("a")
    assert job.result_expires_at is not None
    assert job.finished_at is not None
    for payload in (job.payload, token):
        left = scene.redis.ttl(f"onejob:payload:{payload}")
        assert 7 * DAY - 60 < left <= 7 * DAY + 1
    kept = scene.redis.zscore("onejob:due:retention", scene.ref("a"))
    assert kept is not None
    assert kept == pytest.approx(job.finished_at.timestamp() + 30 * DAY, abs=0.01)


def test_the_status_outlives_the_payload(scene: Scene) -> None:
    token = _respond(scene, "a")
    scene.redis.pexpire(f"onejob:payload:{token}", 1)
    while scene.redis.exists(f"onejob:payload:{token}"):
        pass
    assert scene.state("a") is State.SUCCEEDED
    assert (scene.job("a").response, scene.job("a").response_status) == (token, 200)
    with pytest.raises(NotFound, match="retention is over"):
        scene.ledger.payloads.read(token)


def test_short_retentions_end_by_redis_own_clock(scene: Scene) -> None:
    scene.submit("a", record_retention_seconds=1, result_retention_seconds=1)
    scene.end(scene.grip("a"))
    finished, gone = scene.job("a").finished_at, None
    while gone is None:
        scene.ledger.jobs.forget_due()
        if not scene.raw("a"):
            gone = datetime.now(UTC)
    assert finished is not None
    assert 1 <= (gone - finished).total_seconds() < 60
    assert keys_with(scene.redis, scene.ref("a")) == scene.redis.keys("onejob:job:*") == []


def test_a_record_that_is_forgotten_takes_everything_with_it(scene: Scene) -> None:
    _respond(scene, "a", b"x" * (1024 * 1024 + 1))
    scene.submit("b")
    _outlive(scene, "a")
    assert scene.ledger.jobs.forget_due() is False
    with pytest.raises(NotFound):
        scene.job("a")
    assert scene.redis.keys("onejob:job:*:a*") == []
    assert len(scene.redis.keys("onejob:payload:*")) == 1  # the other job's
    check_places(scene)
    assert not scene.submit("a", digest="d2").repeated  # its id may be used again


def test_records_are_kept_until_their_time(scene: Scene) -> None:
    _respond(scene, "a")
    scene.ledger.jobs.forget_due()
    assert scene.state("a") is State.SUCCEEDED


def test_a_job_in_teardown_is_kept_until_its_release(scene: Scene) -> None:
    grip = scene.started("a")
    scene.finish(grip)
    _outlive(scene, "a")
    assert scene.ledger.jobs.forget_due() is False
    assert scene.slots() == {"a"}
    check_places(scene)
    scene.ledger.attempts.release(grip)
    _outlive(scene, "a")
    scene.ledger.jobs.forget_due()
    assert scene.raw("a") == {}
    check_places(scene)


def test_forgetting_goes_in_bounded_steps(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=5)
    grips = [scene.started(f"j{n}") for n in range(5)]
    for grip in grips[:4]:
        scene.end(grip)
    scene.finish(grips[4])
    _outlive(scene, *(f"j{n}" for n in range(5)))
    steps = 1
    while ledger.jobs.forget_due(limit=2):
        steps += 1
    assert steps == 3
    assert [bool(scene.raw(f"j{n}")) for n in range(5)] == [False] * 4 + [True]
