"""Images that no job wants go, if that is wished for; others never."""

import fcntl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.workers.rig import Rig
from workers.collection import Collection
from workers.engine import EngineTrouble, Image
from workers.site import Site

DAY = 24 * 3600.0


def pulled(rig: Rig, **days: float) -> None:
    """Pulls images, so many days ago each."""
    for name, ago in days.items():
        rig.engine.registry[f"{name}:1"] = Image(f"sha256:{name}", (), (), 15)
        rig.engine.now = lambda ago=ago: datetime.now(UTC) - timedelta(days=ago)  # type: ignore[misc]
        rig.engine.image(f"{name}:1", refresh=False)


def left(rig: Rig) -> set[str]:
    return {ref for image in rig.engine.pulled() for ref in image.refs}


def collect(site: Site) -> None:
    Collection(site).step(0.0)


def test_nothing_is_removed_unless_it_is_wished_for(rig: Rig) -> None:
    pulled(rig, old=1000)
    rig.engine.filled = 99.9
    collect(rig.site())
    assert left(rig) == {"old:1"}
    assert not (rig.root.path / "collecting").exists()


def test_what_no_job_has_wanted_for_long_goes(rig: Rig) -> None:
    pulled(rig, old=8, used=8, young=6)
    rig.engine.now = lambda: datetime.now(UTC) - timedelta(days=1)
    rig.engine.image("used:1", refresh=False)
    collect(rig.site(images_max_age_seconds=7 * DAY))
    assert left(rig) == {"used:1", "young:1"}
    assert "old:1" not in rig.engine.images


def test_a_disk_that_is_too_full_is_cleared_from_the_least_recently_used_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled(rig, b=3, a=4, d=1, c=2)
    full = [95.0, 91.0, 89.0]  # each removal makes room
    monkeypatch.setattr(rig.engine, "fullness", lambda: full.pop(0))
    collect(rig.site(images_disk_percent=90))
    assert left(rig) == {"c:1", "d:1"}
    assert full == []


def test_what_a_job_wanted_just_now_stays_however_full_the_disk_is(rig: Rig) -> None:
    pulled(rig, old=1, fresh=0)
    rig.engine.filled = 99.0
    collect(rig.site(images_disk_percent=90))
    assert left(rig) == {"fresh:1"}


def test_a_disk_that_can_not_be_seen_costs_no_image(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    pulled(rig, old=1)
    collection = Collection(rig.site(images_disk_percent=90))
    collection.step(0.0)
    collection.step(0.0)
    assert left(rig) == {"old:1"}
    assert caplog.text.count("can't be seen") == 1


def test_one_image_that_can_not_go_keeps_no_other(rig: Rig) -> None:
    pulled(rig, stuck=9, old=8)
    rig.engine.fail("discard", EngineTrouble("input/output error"))
    collect(rig.site(images_max_age_seconds=DAY))
    assert left(rig) == {"stuck:1"}


def test_one_process_of_a_node_does_it(rig: Rig, tmp_path: Path) -> None:
    pulled(rig, old=8)
    site = rig.site(images_max_age_seconds=DAY)
    with (rig.root.path / "collecting").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        collect(site)
        assert left(rig) == {"old:1"}
    collect(site)
    assert left(rig) == set()


def test_an_image_of_a_running_job_stays(rig: Rig) -> None:
    pulled(rig, old=8)
    rig.respec(containers=[{"image": "old:1", "exposed_port": 8080}])
    rig.script = lambda usher: usher.start()
    rig.submit()
    task = rig.supervising()
    rig.until(lambda: rig.job().started_at)
    rig.engine.now = lambda: datetime.now(UTC)
    collect(rig.site(images_max_age_seconds=1e-6))
    assert left(rig) == {"old:1"}
    rig.usher().finish()
    task.answer()
    collect(rig.site(images_max_age_seconds=1e-6))
    assert left(rig) == set()
