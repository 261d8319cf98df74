"""A job whose image is not here: what its timeline tells, and what goes before its pull."""

import threading
from itertools import pairwise

import pytest
import redis

from app.domain.job import State
from tests.workers.rig import Rig
from tests.workers.stand_ins import IMAGE
from tests.workers.test_cancel import cancel, heed_cancel
from workers.engine import ImagePullFailed
from workers.images import PullNews, Watch

MEGABYTE = 1_000_000
Told = list[tuple[str, str | None]]


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """Its image has to be pulled."""
    rig.engine.registry[IMAGE] = rig.engine.images.pop(IMAGE)  # type: ignore[assignment]
    return rig


class HeldUp:
    """A pull that goes on until it is let go, and tells its watch all the time."""

    def __init__(self, rig: Rig) -> None:
        self.begun, self.going_on = threading.Event(), threading.Event()
        rig.engine.on_pull = self._pull

    def _pull(self, _ref: str, watch: Watch) -> None:
        self.begun.set()
        while not self.going_on.wait(0.01):
            watch(PullNews(1.0, 0, 0))


def told(rig: Rig, job_id: str = "j1") -> Told:
    timeline = rig.ledger.jobs.view(rig.uid, job_id).timeline
    return [(e.event, e.detail) for e in timeline if e.event.startswith("pull")]


def test_a_pull_is_told_between_the_claim_and_the_start(rig: Rig) -> None:
    rig.submit()
    rig.supervise()
    events = rig.events()
    began = events[events.index("starting") :][:5]
    assert began == ["starting", "pulling", "pulled", "created", "started"]
    assert told(rig) == [("pulling", IMAGE), ("pulled", f"{IMAGE}: 2.0 MB in 1.5 s")]


def test_an_image_that_is_here_costs_the_timeline_nothing(rig: Rig) -> None:
    rig.submit("j1")
    rig.supervise("j1")
    points: list[str] = []
    rig.submit("j2")
    rig.supervise("j2", rig.site(points.append))
    assert rig.fate("j2") == ("succeeded", "exit_0")
    assert told(rig, "j2") == []
    assert "before attempts.note" not in points


@pytest.mark.parametrize(("use_cached", "pulls"), [(True, 1), (False, 2)])
def test_the_registry_is_asked_before_each_job_if_the_deployment_says_so(
    rig: Rig, use_cached: bool, pulls: int
) -> None:
    container = {"image": IMAGE, "exposed_port": 8080, "should_use_cached_image": use_cached}
    rig.respec(containers=[container])
    for job_id in ("j1", "j2"):
        rig.submit(job_id)
        rig.supervise(job_id)
        assert rig.fate(job_id) == ("succeeded", "exit_0")
    found = [entry for job_id in ("j1", "j2") for entry in told(rig, job_id)]
    assert [event for event, _ in found].count("pulled") == pulls


def test_a_long_pull_is_told_ever_more_rarely(rig: Rig) -> None:
    def pull(_ref: str, watch: Watch) -> None:
        for second in range(1800):
            watch(PullNews(float(second), second * MEGABYTE, 2000 * MEGABYTE))

    rig.engine.on_pull = pull
    rig.submit()
    rig.supervise()
    entries = told(rig)
    assert entries[1] == ("pulling", f"{IMAGE}: 10.0 of at least 2000.0 MB so far")
    seconds = [int(float(str(detail).split()[1])) for _, detail in entries[1:-1]]
    assert all(later == 2 * earlier for earlier, later in pairwise(seconds))
    assert len(entries) <= 10


def test_a_pull_by_another_process_is_told_too(rig: Rig) -> None:
    rig.engine.on_pull = lambda _ref, watch: watch(PullNews(11.0, None, 0))
    rig.submit()
    rig.supervise()
    assert told(rig)[1] == ("pulling", f"{IMAGE}: another worker of this machine is at it")


def test_a_pull_that_fails_is_told_as_begun_and_ends_the_job_in_the_registrys_words(
    rig: Rig,
) -> None:
    def pull(_ref: str, _watch: Watch) -> None:
        raise ImagePullFailed("the registry broke")

    rig.engine.on_pull = pull
    rig.submit()
    rig.supervise()
    assert told(rig) == [("pulling", IMAGE)]
    assert (*rig.fate(), rig.job().detail) == (
        "failed",
        "image_pull_failed",
        "the registry broke",
    )
    rig.check_nothing_left()


def test_what_redis_did_not_take_is_told_later_in_its_order(rig: Rig) -> None:
    left = [3]

    def fail(point: str) -> None:
        if point == "before attempts.note" and left[0]:
            left[0] -= 1
            raise redis.ConnectionError("away")

    rig.submit()
    rig.supervise(site=rig.site(fail))
    assert left == [0]
    assert [event for event, _ in told(rig)] == ["pulling", "pulled"]
    assert rig.events().index("pulled") < rig.events().index("started")
    assert rig.fate() == ("succeeded", "exit_0")


# -- what goes before it -------------------------------------------------------------------------


def test_a_cancel_ends_the_wait_for_a_pull(rig: Rig) -> None:
    pull = HeldUp(rig)
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    assert pull.begun.wait(60)
    cancel(rig)
    heed_cancel(rig, site)
    task.answer()
    assert rig.fate() == ("cancelled", "cancelled")
    assert rig.job().detail == "cancelled before it started"
    assert told(rig) == [("pulling", IMAGE)]
    rig.check_nothing_left()


@pytest.mark.parametrize("own_replicas", [False, True])
def test_a_worker_that_stops_lets_go_of_a_job_that_waits_for_its_pull(
    rig: Rig, own_replicas: bool
) -> None:
    pull = HeldUp(rig)
    rig.submit()
    site = rig.site(own_replicas=own_replicas)
    task = rig.supervising(site=site)
    assert pull.begun.wait(60)
    site.roster.stop()
    assert task.answer() is None
    assert rig.job().state is State.STARTING
    assert [h.id for h in rig.ledger.attempts.lapsed(rig.node, "no-queue")] == ["j1"]
    pull.going_on.set()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")


@pytest.mark.parametrize("how", ["told", "noticed"])
def test_who_was_replaced_during_a_pull_lets_go(rig: Rig, how: str) -> None:
    pull = HeldUp(rig)
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    assert pull.begun.wait(60)
    rig.lapse()
    grip = rig.ledger.attempts.claim(rig.uid, "j1", rig.node, 60, rig.offer)
    assert grip.job is not None
    if how == "told":
        site.roster.all()[0].lost = True
    else:
        pull.going_on.set()  # its next note is compared
    assert task.answer() is None
    assert not rig.engine.made


# -- an image that goes again --------------------------------------------------------------------


def test_an_image_that_is_collected_before_the_create_is_pulled_again(rig: Rig) -> None:
    discarded: list[bool] = []

    def collect(point: str) -> None:
        if point == "before engine.create" and not discarded:
            discarded.append(rig.engine.discard(rig.engine.pulled()[0]))

    rig.submit()
    rig.supervise(site=rig.site(collect))
    assert discarded == [True]
    assert [event for event, _ in told(rig)] == ["pulling", "pulled"] * 2
    assert rig.fate() == ("succeeded", "exit_0")
    assert (rig.job().attempt, rig.engine.made[rig.replica()]) == (1, 1)


def test_an_image_that_is_always_gone_again_costs_the_job_no_attempt(rig: Rig) -> None:
    def collect(point: str) -> None:
        if point == "before engine.create":
            rig.engine.discard(rig.engine.pulled()[0])

    rig.submit()
    assert rig.supervise(site=rig.site(collect)) is None
    assert (rig.job().state, rig.job().attempt) == (State.DISPATCHED, 1)
