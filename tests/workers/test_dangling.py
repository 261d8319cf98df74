"""Containers and directories that no attempt needs."""

import os
from datetime import UTC, datetime, timedelta

import pytest
import redis

from app.ledger import Ledger
from tests.workers.rig import Rig, runs
from workers import upkeep
from workers.engine import EngineTrouble, EngineUnavailable
from workers.upkeep import Upkeep


def leave_container(rig: Rig, attempt: int = 1, job_id: str = "j1") -> str:
    """A container with its directory, as a real attempt makes them, under another name."""
    site = rig.site()
    rig.submit("model")
    rig.killed_at("after engine.create", "model")
    spec = rig.engine.spec(rig.replica("model"))
    name = rig.replica(job_id, attempt)
    rig.root.attempt(name).prepare({}, [], [])
    site.engine.create(type(spec)(**{f: getattr(spec, f) for f in spec.__slots__} | {"name": name}))
    return name


def test_what_no_job_needs_is_removed(wide: Rig) -> None:
    name = leave_container(wide, job_id="forgotten")
    wide.upkeep().remove_dangling()
    assert wide.engine.names() == {wide.replica("model")}  # which a record needs
    assert wide.root.replicas() == [wide.replica("model")]
    assert name not in wide.engine.names()


def vanish(rig: Rig, point: str) -> None:
    if point == "before engine.start":
        rig.engine.vanish(rig.replica("j1"))


def test_what_an_earlier_attempt_left_is_removed(wide: Rig) -> None:
    wide.submit("j1")
    wide.supervise("j1", wide.site(lambda point: vanish(wide, point)))
    assert wide.job("j1").attempt == 2
    name = leave_container(wide, attempt=1)
    wide.upkeep().remove_dangling()
    assert name not in wide.engine.names()
    assert name not in wide.root.replicas()


def test_what_a_later_attempt_left_is_kept(wide: Rig) -> None:
    """A record from an older append-only file: a person decides."""
    wide.submit("j1")
    name = leave_container(wide, attempt=5)
    wide.upkeep().remove_dangling()
    assert name in wide.engine.names()
    assert name in wide.root.replicas()


@pytest.mark.parametrize(
    "point",
    [
        "after spool.prepare",
        "after engine.create",
        "after engine.start",
        "after attempts.finish",
        "after engine.remove",
    ],
)
def test_what_an_attempt_needs_is_kept(rig: Rig, point: str) -> None:
    rig.submit()
    rig.killed_at(point)
    before = rig.engine.names(), rig.root.replicas()
    rig.upkeep().remove_dangling()
    assert (rig.engine.names(), rig.root.replicas()) == before


def test_a_directory_outlives_its_container(wide: Rig) -> None:
    name = leave_container(wide, job_id="forgotten")
    wide.engine.fail("remove", EngineTrouble("busy"))
    wide.upkeep().remove_dangling()
    assert name in wide.engine.names()
    assert name in wide.root.replicas()


def test_one_container_that_can_not_be_removed_does_not_hinder_the_others(wide: Rig) -> None:
    leave_container(wide, job_id="one")
    wide.lapse("model")
    second = wide.replica("two")
    spec = wide.engine.spec(wide.replica("one"))
    wide.engine.create(
        type(spec)(**{f: getattr(spec, f) for f in spec.__slots__} | {"name": second})
    )
    wide.engine.fail("remove", EngineTrouble("busy"))
    wide.upkeep().remove_dangling()
    assert len(wide.engine.names() & {wide.replica("one"), second}) == 1


def test_an_engine_that_does_not_answer_is_not_asked_for_each(wide: Rig) -> None:
    leave_container(wide, job_id="one")
    wide.engine.fail("remove", EngineUnavailable("no answer"))
    with pytest.raises(EngineUnavailable):
        wide.upkeep().remove_dangling()
    wide.upkeep().remove_dangling()
    assert wide.engine.names() == {wide.replica("model")}


def test_unknown_names_are_left_alone(rig: Rig) -> None:
    for name in ("mine", "onejob-x", "onejob-x-y-z", "lost+found"):
        (rig.root.attempts / name).mkdir()
    rig.upkeep().remove_dangling()
    assert len(rig.root.replicas()) == 4


def test_old_drafts_are_removed_and_new_ones_are_not(rig: Rig) -> None:
    old, new = (rig.root.attempts / f".onejob-x-1-j.{n}" for n in ("aa", "bb"))
    for path in (old, new):
        path.mkdir()
        (path / "request").touch()
    long_ago = datetime.now(UTC) - timedelta(minutes=11)
    os.utime(old, (long_ago.timestamp(), long_ago.timestamp()))
    rig.upkeep().remove_dangling()
    assert [path.name for path in rig.root.attempts.iterdir()] == [new.name]


def test_what_is_young_is_left_for_a_moment(wide: Rig) -> None:
    name = leave_container(wide, job_id="forgotten")
    Upkeep(wide.site(), grace_seconds=600).remove_dangling()
    assert name in wide.engine.names()
    assert name in wide.root.replicas()


def overdue(rig: Rig, seconds: float) -> None:
    """A replica whose deadline of 60 s passed so many seconds ago, and nobody supervises it."""
    rig.script = runs
    started_at = datetime.now(UTC) - timedelta(seconds=60 + seconds)
    rig.engine.now = lambda: started_at
    rig.submit()
    rig.killed_at("after attempts.advance")
    rig.engine.now = lambda: datetime.now(UTC)


def test_a_replica_past_its_deadline_is_killed_though_nobody_supervises_it(rig: Rig) -> None:
    overdue(rig, 1.5)
    rig.upkeep().kill_overdue()
    assert "kill" in rig.engine.calls
    rig.lapse()
    rig.supervise()
    assert rig.fate() == ("timed_out", "deadline")


def test_a_replica_within_its_grace_is_left_to_its_usher(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert upkeep.OVERDUE_SECONDS >= 1  # the usher and the supervisor come first
    overdue(rig, 300)
    monkeypatch.setattr(upkeep, "OVERDUE_SECONDS", 200.0)  # neither is enough without the other
    rig.upkeep(rig.site(stop_grace_seconds=200)).kill_overdue()
    assert "kill" not in rig.engine.calls


def test_one_that_was_created_long_before_its_start_is_not_overdue(rig: Rig) -> None:
    now = datetime.now(UTC)
    times = iter([now - timedelta(seconds=100), now])
    rig.engine.now = lambda: next(times)
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance")
    rig.upkeep().kill_overdue()
    assert "kill" not in rig.engine.calls


def test_a_deadline_holds_without_redis(rig: Rig) -> None:
    overdue(rig, 1.5)
    site = rig.site()
    client = redis.Redis(unix_socket_path="/nonexistent")
    site.ledger.nodes = Ledger(client).nodes
    with pytest.raises(redis.ConnectionError):
        rig.upkeep(site).step(1000.0)
    assert "kill" in rig.engine.calls
