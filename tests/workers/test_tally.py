"""What workers count by themselves reaches the ledger once, whatever is repeated or killed."""

import inspect
import time
from dataclasses import replace
from typing import Any

import pytest
import redis

from app.ledger.metrics import Counts
from tests.workers.rig import BODY, Rig, Usher
from tests.workers.test_dangling import leave_container, overdue
from workers.engine import LIVE_RESTORE_OFF, Engine, EngineTrouble, EngineUnavailable, ImageNotFound
from workers.heartbeat import ANNOUNCE_SECONDS, Heartbeat
from workers.measured_engine import MeasuredEngine
from workers.site import Site
from workers.tally import Tally


def counts(rig: Rig) -> Counts:
    return rig.ledger.metrics.read(0).counts


def count_of(rig: Rig, histogram: str, *labels: str) -> int:
    return counts(rig).histogram(histogram, *labels).buckets[-1][1]


def measured(rig: Rig) -> Site:
    """A worker process, with its engine as `make_site` puts it together."""
    tally = Tally()
    return replace(rig.site(), engine=MeasuredEngine(rig.engine, tally), tally=tally)


class Unanswered:
    """Metrics whose answer to the first addition is lost; or it never arrived."""

    def __init__(self, rig: Rig, arrives: bool) -> None:
        self._metrics = rig.ledger.metrics
        self._first_arrives = arrives
        self._lost = False

    def add(self, *arguments: Any) -> None:
        if self._lost or self._first_arrives:
            self._metrics.add(*arguments)
        if not self._lost:
            self._lost = True
            raise redis.TimeoutError("no answer")


def long_ago(usher: Usher) -> None:
    """It happened a while ago: the request was sent 100 s ago, and the app ended 90 s ago."""
    (usher.spool / "started").touch()
    now = time.time()
    told = ((100, "started pid=2"), (100, "sent"), (90, "exited code=0 oom_kills=0"))
    lines = (f"{int((now - ago) * 1e6)} {event}\n" for ago, event in told)
    (usher.spool / "events").write_text("".join(lines))
    usher.engine.exit(usher.name, 0)


def test_a_job_is_measured_from_its_claim_to_its_end(rig: Rig) -> None:
    site = measured(rig)
    rig.submit()
    rig.supervise(site=site)
    Heartbeat(site).beat(0)
    known = counts(rig)
    assert known.labelled("ended") == {("succeeded", "exit_0"): 1}
    for histogram in ("queue", "prepare", "healthy", "run", "job", "result"):
        assert count_of(rig, histogram) == 1, histogram
    assert known.histogram("result").sum == len(BODY)
    for verb in ("image", "create", "start", "logs", "remove"):
        assert count_of(rig, "engine", verb) == 1, verb


def test_the_time_that_an_app_ran_ends_with_its_exit_not_with_its_collection(rig: Rig) -> None:
    rig.script = long_ago
    rig.submit()
    rig.killed_at("after engine.start")
    rig.ledger.client.hset(f"onejob:job:{rig.uid}:j1", "created_at", "1000000000.0")
    rig.lapse()
    rig.supervise()
    ran = counts(rig).histogram("run")
    assert ran.buckets[-1][1] == 1
    assert 9 < ran.sum < 11


def test_engine_failures_are_counted_by_verb_and_kind(rig: Rig) -> None:
    tally = Tally()
    engine = MeasuredEngine(rig.engine, tally)
    rig.engine.fail("owned", EngineUnavailable("silence"), times=2)
    rig.engine.fail("find", EngineTrouble("no room"))
    for call in (lambda: engine.owned("n"), lambda: engine.owned("n"), lambda: engine.find("a")):
        with pytest.raises((EngineUnavailable, EngineTrouble)):
            call()
    with pytest.raises(ImageNotFound):
        engine.image("nobody/knows:1", refresh=False)
    engine.find("a")
    tally.tell(rig.ledger.metrics)
    assert counts(rig).labelled("engine_error") == {
        ("owned", "unavailable"): 2,
        ("find", "trouble"): 1,
        ("image", "image_not_found"): 1,
    }
    assert count_of(rig, "engine", "owned") == count_of(rig, "engine", "find") == 2


def test_every_verb_is_passed_on_as_it_is() -> None:
    verbs = [name for name, _ in inspect.getmembers(Engine, inspect.isfunction) if name[0] != "_"]
    assert len(verbs) > 10
    for name in verbs:
        wanted = inspect.signature(getattr(Engine, name))
        assert inspect.signature(getattr(MeasuredEngine, name)) == wanted, name


# -- told once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arrives", [True, False])
def test_what_was_not_answered_is_told_again_and_counted_once(rig: Rig, arrives: bool) -> None:
    tally, metrics = Tally(), Unanswered(rig, arrives)
    tally.count("swept", "spool_removed")
    with pytest.raises(redis.TimeoutError):
        tally.tell(metrics)  # type: ignore[arg-type]
    tally.count("swept", "spool_removed")  # meanwhile
    for _ in range(3):
        tally.tell(metrics)  # type: ignore[arg-type]
    assert counts(rig).labelled("swept") == {("spool_removed",): 2}


def test_processes_add_up_and_a_killed_one_takes_nothing_away(rig: Rig) -> None:
    for _ in range(3):  # each begins with number 1
        tally = Tally()
        tally.count("swept", "spool_removed", by=2)
        tally.tell(rig.ledger.metrics)
    assert counts(rig).labelled("swept") == {("spool_removed",): 6}


def test_nothing_new_costs_no_call(rig: Rig) -> None:
    tally = Tally()
    tally.count("swept", "take_over_hinted", by=0)
    tally.tell(None)  # type: ignore[arg-type]
    assert counts(rig).labelled("swept") == {}


def test_the_heartbeat_tells_it_now_and_then(rig: Rig) -> None:
    site = rig.site()
    heartbeat = Heartbeat(site)
    for second in (0.0, ANNOUNCE_SECONDS / 2, ANNOUNCE_SECONDS):
        site.tally.count("swept", "spool_removed")
        heartbeat.beat(1000 + second)
        expected = 1 if second < ANNOUNCE_SECONDS else 3
        assert counts(rig).labelled("swept") == {("spool_removed",): expected}


def test_the_announcement_says_whether_live_restore_is_on(rig: Rig) -> None:
    for notes, restores in (((), True), ((LIVE_RESTORE_OFF,), False)):
        Heartbeat(replace(rig.site(), notes=notes)).beat(0)
        assert rig.ledger.nodes.all()[0].info["live_restore"] is restores


# -- sweep and upkeep --------------------------------------------------------------------------


def test_what_the_upkeep_removes_is_counted(wide: Rig) -> None:
    site = wide.site()
    leave_container(wide, job_id="forgotten")
    wide.upkeep(site).remove_dangling()
    site.tally.tell(wide.ledger.metrics)
    swept = counts(wide).labelled("swept")
    assert swept == {("container_removed",): 1, ("spool_removed",): 1}


def test_a_container_that_could_not_be_removed_is_not_counted(wide: Rig) -> None:
    site = wide.site()
    leave_container(wide, job_id="forgotten")
    wide.engine.fail("remove", EngineTrouble("busy"))
    wide.upkeep(site).remove_dangling()
    site.tally.tell(wide.ledger.metrics)
    assert ("container_removed",) not in counts(wide).labelled("swept")


def test_a_replica_that_was_killed_at_its_deadline_is_counted(rig: Rig) -> None:
    overdue(rig, 1.5)
    site = rig.site()
    rig.upkeep(site).kill_overdue()
    site.tally.tell(rig.ledger.metrics)
    assert counts(rig).labelled("swept") == {("overdue_killed",): 1}


def test_hints_for_attempts_that_nobody_supervises_are_counted(rig: Rig) -> None:
    rig.submit()
    rig.killed_at("after attempts.claim")
    site = rig.site()
    sweep = rig.sweep(site)
    sweep.take_over()
    rig.lapse()
    sweep.take_over()
    site.tally.tell(rig.ledger.metrics)
    assert counts(rig).labelled("swept") == {("take_over_hinted",): 1}
