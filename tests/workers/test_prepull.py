"""Images that are pulled ahead of the first job."""

import logging
import threading

import pytest
import redis

from tests.workers.celery_stage import Stage
from tests.workers.rig import Rig
from tests.workers.stand_ins import IMAGE
from workers import prepull
from workers.engine import ImageNotFound
from workers.images import PullNews, Watch


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """Its image has to be pulled."""
    rig.engine.registry[IMAGE] = rig.engine.images.pop(IMAGE)  # type: ignore[assignment]
    return rig


def test_a_deployments_image_is_pulled(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    prepull.pull(rig.site(), rig.uid, 1)
    assert IMAGE in rig.engine.images
    assert f"{IMAGE} is here for deployment {rig.uid}" in caplog.text


@pytest.mark.parametrize(("use_cached", "pulls"), [(True, 1), (False, 2)])
def test_the_registry_is_asked_again_if_the_deployment_says_so(
    rig: Rig, use_cached: bool, pulls: int
) -> None:
    container = {"image": IMAGE, "exposed_port": 8080, "should_use_cached_image": use_cached}
    rig.respec(containers=[container])
    asked: list[str] = []
    rig.engine.on_pull = lambda ref, _watch: asked.append(ref)
    for _ in range(2):
        prepull.pull(rig.site(), rig.uid, 1)
    assert asked == [IMAGE] * pulls


def test_nobody_waits_for_it(rig: Rig) -> None:
    going_on = threading.Event()
    rig.engine.on_pull = lambda *_: assert_set(going_on)
    prepull.begin(rig.site(), rig.uid, 1)
    assert IMAGE not in rig.engine.images
    going_on.set()
    rig.engine.wait_until(lambda: IMAGE in rig.engine.images)


def test_what_fails_is_logged_and_left_to_the_first_job(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.engine.fail("image", ImageNotFound("manifest unknown"))
    prepull.pull(rig.site(), rig.uid, 1)
    assert "failed: manifest unknown" in caplog.text


def test_a_deployment_that_is_gone_needs_no_image(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    prepull.pull(rig.site(), rig.uid, 2)
    assert "nothing is pulled" in caplog.text
    assert "image" not in rig.engine.calls


def test_a_worker_that_stops_does_not_wait_for_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    site = rig.site()

    def pull(_ref: str, watch: Watch) -> None:
        site.roster.stop()
        watch(PullNews(1.0, 0, 0))

    rig.engine.on_pull = pull
    prepull.pull(site, rig.uid, 1)
    assert "left to its first job" in caplog.text
    assert IMAGE not in rig.engine.images


def test_redis_that_is_away_is_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    site = rig.site()

    def fail(*_: object) -> None:
        raise redis.ConnectionError("away")

    site.ledger.deployments.spec = fail  # type: ignore[method-assign,assignment]
    prepull.pull(site, rig.uid, 1)
    assert "failed: away" in caplog.text


def test_a_worker_takes_the_message_from_its_nodes_own_queue(stage: Stage) -> None:
    worker = stage.worker().until_ready()
    stage.publish.pull("dep", stage.rig.uid, 1, [stage.rig.node])
    stage.rig.until(lambda: f"is here for deployment {stage.rig.uid}" in worker.words())


def assert_set(event: threading.Event) -> None:
    assert event.wait(60)
