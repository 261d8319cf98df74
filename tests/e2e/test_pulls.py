"""Jobs whose image takes long to come, on the whole product."""

import time
from collections.abc import Callable, Iterator

import docker
import pytest

from tests.conftest import engine_answers, require
from tests.e2e.house import House, until
from tests.images import base_image
from tests.registry import RealRegistry, Stall, real_registry, remove_images, stalling

pytestmark = pytest.mark.docker
NewHouse = Callable[..., House]
LAYER = 500_000
STOPS = 10  # seconds; mostly 2, and where a pull held it up, more than the 12 it has for removals
ANSWER = "c = take_job(); c.sendall(OK)\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry
    remove_images(registry.host)


@pytest.fixture(scope="module")
def pushed(registry: RealRegistry) -> str:
    """The base image with one more layer, which the registry alone has."""
    require(engine_answers(), "no Docker engine answers")
    return registry.push("app", 3 * LAYER, base=base_image())


@pytest.fixture
def stall(registry: RealRegistry) -> Iterator[Stall]:
    with stalling(registry, let_through=LAYER) as stall:
        yield stall
    remove_images(stall.ref(registry.host))


@pytest.fixture
def ref(stall: Stall, pushed: str) -> str:
    """That image behind the stall."""
    return stall.ref(pushed)


def events(house: House, name: str, job_id: str) -> list[str]:
    return [entry["Event"] for entry in house.status(name, job_id)["Timeline"]]


def test_a_job_that_waits_for_its_pull_is_cancelled_and_another_worker_goes_on(
    new_house: NewHouse, stall: Stall, ref: str
) -> None:
    house = new_house()
    scaling = {"max_replica_count": 2}
    house.deploy("slow", ANSWER, container={"image": ref}, scaling=scaling)
    first, second = (house.faces.submit("slow", "/", b"") for _ in range(2))
    assert stall.stalled.wait(60)
    for job_id in (first, second):
        house.until("slow", job_id, lambda s: s["Timeline"][-1]["Event"] == "pulling")

    began = time.monotonic()
    answer = house.faces.control("POST", f"/job-deployments/slow/jobs/{first}/cancel")
    assert (answer.status, house.status("slow", first)["State"]) == (200, "cancelled")
    assert time.monotonic() - began < STOPS

    worker = house.child("worker")
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < STOPS
    assert "leaving without a word" not in worker.tail()
    house.stack.children.remove(worker)

    stall.go_on()
    house.stack.start_worker()
    assert house.finished("slow", second)["State"] == "succeeded"
    told = events(house, "slow", second)
    assert told.count("pulling") == 2
    assert told[told.index("pulled") + 1] == "created"
    house.until_nothing_is_left()


def test_a_bound_ends_a_job(new_house: NewHouse, ref: str) -> None:
    house = new_house(pull_seconds=2)
    house.deploy("slow", ANSWER, container={"image": ref})
    status = house.finished("slow", house.faces.submit("slow", "/", b""))
    assert (status["State"], status["Reason"]) == ("failed", "image_pull_failed")
    assert "not complete after 2 s" in status["Error"]


def test_a_registrys_word_ends_a_job(house: House, registry: RealRegistry) -> None:
    house.deploy("unknown", ANSWER, container={"image": f"{registry.host}/app:2"})
    status = house.finished("unknown", house.faces.submit("unknown", "/", b""))
    assert (status["State"], status["Reason"]) == ("failed", "image_not_found")
    assert "manifest unknown" in status["Error"]
    assert status["Attempt"] == 1


def test_an_image_is_pulled_ahead_and_collected_when_no_job_wants_it(
    new_house: NewHouse, stall: Stall, ref: str
) -> None:
    stall.go_on()
    house = new_house(prepull=True, images_max_age_seconds=0.1)
    house.deploy("soon", ANSWER, container={"image": ref})
    api = docker.APIClient(timeout=30, **docker.utils.kwargs_from_env())
    until(lambda: api.images(ref), lambda: house.child("worker").tail())
    log = house.child("worker").log
    until(lambda: f"{ref} is here" in log.read_text(), log.read_text)
    status, _ = house.run("soon")
    assert status["State"] == "succeeded"
    assert "pulling" not in [entry["Event"] for entry in status["Timeline"]]
    house.until_nothing_is_left()

    house.kill("worker")
    house.stack.start_worker()
    until(lambda: not api.images(ref), lambda: house.child("worker").tail())
    assert api.images(base_image())  # which was never pulled
    api.close()
