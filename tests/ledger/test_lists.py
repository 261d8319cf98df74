"""Lists of a deployment's jobs: pages, the newest first, all or those in some states."""

import dataclasses

from app.domain.job import JobSummary, State
from app.ledger import Ledger
from app.ledger.jobs import PAGE_STEP
from tests.ledger.scene import Scene


def pages(scene: Scene, limit: int, *states: State) -> list[list[str]]:
    """The ids of all pages."""
    found, place = list[list[str]](), None
    while True:
        page = scene.ledger.jobs.page(scene.uid, limit, place, states)
        found.append([job.id for job in page.jobs])
        if (place := page.place) is None:
            return found


def test_pages_hold_every_job_once_the_newest_first(scene: Scene) -> None:
    assert pages(scene, 3) == [[]]
    for name in "abcdefg":
        scene.submit(name)
    assert pages(scene, 3) == [["g", "f", "e"], ["d", "c", "b"], ["a"]]
    assert pages(scene, 7) == [list("gfedcba")]


def test_a_long_page_is_read_in_steps(scene: Scene) -> None:
    names = [f"j{n:03}" for n in range(2 * PAGE_STEP + 50)]
    for name in names:
        scene.submit(name)
    newest = names[::-1]
    for limit in (PAGE_STEP, PAGE_STEP + 1, 2 * PAGE_STEP, 1000):
        found = [name for page in pages(scene, limit, *State) for name in page]
        assert found == newest
    whole = scene.ledger.jobs.page(scene.uid, len(names))
    assert ([job.id for job in whole.jobs], whole.place) == (newest, None)


def test_a_summary_says_what_the_record_says(scene: Scene) -> None:
    grip = scene.started("a")
    scene.run(grip)
    scene.finish(grip, exit_code=0, response_status=200, response_size=7, oom_killed=1)
    (summary,) = scene.ledger.jobs.page(scene.uid, 1).jobs
    job = scene.job("a")
    for field in dataclasses.fields(JobSummary):
        assert getattr(summary, field.name) == getattr(job, field.name), field.name
    assert (summary.exit_code, summary.oom_killed) == (0, True)


def test_jobs_are_found_by_state_wherever_they_are(ledger: Ledger) -> None:
    scene = Scene(ledger, cap=4)
    scene.end(scene.started("succeeded"))
    scene.run(scene.started("running"))
    scene.started("starting")
    scene.submit("cancelled")
    scene.cancel("cancelled")
    scene.submit("expired")
    scene.outlive_ttl("expired")
    ledger.jobs.expire_due()
    for name in ("dispatched", "dispatched2", "queued", "queued2"):
        scene.submit(name)
    for state in State:
        listed = {name for page in pages(scene, 1, state) for name in page}
        assert listed == {name for name in _all(scene) if scene.state(name) is state}
        assert {name.rstrip("2") for name in listed} <= {state}
    some = (State.QUEUED, State.RUNNING, State.CANCELLED)
    assert pages(scene, 2, *some, *some) == [["queued2", "queued"], ["cancelled", "running"]]
    assert pages(scene, 3, *State) == pages(scene, 3)


def _all(scene: Scene) -> list[str]:
    return [name for page in pages(scene, 1000) for name in page]


def test_a_place_stays_good_whatever_comes_and_goes(scene: Scene) -> None:
    for name in "abcdef":
        scene.submit(name)
    first = scene.ledger.jobs.page(scene.uid, 2)
    scene.submit("g")
    for name in "ed":  # the one it stands at, and the one behind
        scene.cancel(name)
        scene.redis.zadd("onejob:due:retention", {scene.ref(name): 1})
    scene.ledger.jobs.forget_due()
    second = scene.ledger.jobs.page(scene.uid, 2, first.place)
    assert [job.id for job in second.jobs] == ["c", "b"]


def test_what_is_forgotten_is_in_no_list(scene: Scene) -> None:
    scene.end(scene.started("a"))
    scene.redis.zadd("onejob:due:retention", {scene.ref("a"): 1})
    scene.ledger.jobs.forget_due()
    assert pages(scene, 5) == pages(scene, 5, State.SUCCEEDED) == [[]]
    assert not scene.redis.keys(f"onejob:deployment:{scene.uid}:state:*")


def test_a_page_is_one_round_trip_that_leaves_long_members_out(scene: Scene) -> None:
    scene.submit("a", target="/" + "x" * 200_000)
    scene.redis.config_resetstat()
    scene.ledger.jobs.page(scene.uid, 50)
    stats = scene.redis.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1  # type: ignore[index]
    assert "cmdstat_hgetall" not in stats  # type: ignore[operator]
