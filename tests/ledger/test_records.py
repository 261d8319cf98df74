"""Records on their way into Redis and back."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.job import Job, Reason, State
from app.ledger import records
from tests.ledger.scene import Scene

INSTANT = datetime(2026, 9, 1, 12, 0, 0, 123456, UTC)
FULL = Job(
    id="a",
    deployment="dep",
    uid="u1",
    state=State.FAILED,
    attempt=3,
    fence=2,
    method="POST",
    target="/?q=\xff",
    digest="d1",
    payload="p1",
    payload_size=2**40,
    prefer="respond-async-proxy",
    compute="Tesla V100 ü",
    version=7,
    created_at=INSTANT,
    expires_at=INSTANT + timedelta(days=3650),
    dispatched_at=INSTANT + timedelta(microseconds=1),
    claimed_at=INSTANT + timedelta(seconds=1),
    started_at=INSTANT + timedelta(seconds=2),
    sent_at=INSTANT + timedelta(seconds=3),
    finished_at=INSTANT + timedelta(seconds=4),
    deadline_at=INSTANT + timedelta(seconds=5),
    result_expires_at=INSTANT + timedelta(seconds=6),
    node="n1",
    replica="onejob-u1-3-a",
    gpus=("0", "GPU-5f"),
    teardown="n1",
    cancel=Reason.CANCELLED,
    reason=Reason.OOM_KILLED,
    detail="out of memory: \u2028 \x00 \x7f \U0001f600",
    exit_code=137,
    oom_killed=True,
    response="r1",
    response_status=599,
    response_size=0,
)
UNSENDABLE = os.fsdecode(b"exec \xff\xfe failed")


def _raw(job: Job) -> dict[bytes, bytes]:
    values = {name: getattr(job, name) for name in Job.__slots__}
    return {name.encode(): _stored(v).encode() for name, v in values.items() if v is not None}


def _stored(value: object) -> str:
    if isinstance(value, datetime):
        return records.seconds(value)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def test_a_record_comes_back_whole() -> None:
    assert records.job(_raw(FULL)) == FULL


@given(st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1), timezones=st.just(UTC)))
def test_an_instant_comes_back_to_the_microsecond(at: datetime) -> None:
    assert records.instant(records.seconds(at)) == at


def test_what_is_not_utf8_is_replaced() -> None:
    job = records.job(_raw(FULL) | {b"detail": b"last line: \xff\xfe", b"target": b"/\xff"})
    assert job.detail == "last line: \ufffd\ufffd"
    assert job.target == "/\ufffd"


def test_a_timeline_with_what_is_not_utf8_can_be_read() -> None:
    (entry,) = records.timeline([b'{"event":"failed","at":"1.5","detail":"\xff\\u0000\\/"}'])
    assert (entry.event, entry.at.timestamp(), entry.detail) == ("failed", 1.5, "\ufffd\0/")


@pytest.mark.parametrize("detail", ["plain", 'q" \\ / \n \0 \x7f ü \U0001f600', UNSENDABLE])
def test_a_detail_reaches_record_and_timeline(scene: Scene, detail: str) -> None:
    grip = scene.started("a")
    scene.ledger.attempts.finish(grip, State.FAILED, Reason.START_FAILED, detail, {})
    expected = detail.encode("utf-8", "replace").decode()
    view = scene.ledger.jobs.view(scene.uid, "a")
    assert view.job.detail == expected
    assert view.timeline[-1].detail == expected


def test_a_target_with_every_byte_comes_back(scene: Scene) -> None:
    target = "/" + bytes(range(1, 256)).decode("latin-1")
    scene.submit("a", target=target)
    assert scene.job("a").target == target


def test_hints_come_in_groups() -> None:
    (hint,) = records.hints([b"u", b"a", b"cpu", b"dep"])
    assert (hint.uid, hint.id, hint.compute, hint.deployment) == ("u", "a", "cpu", "dep")
    assert records.admitted("u", [b"a", b"cpu", b"dep"]) == [hint]
    with pytest.raises(ValueError, match="shorter"):
        records.hints([b"u", b"a", b"cpu"])


def test_of_many_jobs_it_is_told_which_are_over(scene: Scene) -> None:
    for name in ("ended", "cancelled", "running", "queued"):
        scene.submit(name)
        if name == "ended":
            scene.end(scene.started(name))
        elif name == "cancelled":
            scene.cancel(name)
        elif name == "running":
            scene.run(scene.started(name))
    asked = ["running", "ended", "unknown", "cancelled", "queued"]
    jobs = [(scene.uid, name) for name in asked]
    assert scene.ledger.jobs.over(jobs) == [False, True, True, True, False]
    assert scene.ledger.jobs.over([("elsewhere", "running")]) == [True]
    assert scene.ledger.jobs.over([]) == []
