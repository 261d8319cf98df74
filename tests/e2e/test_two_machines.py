"""Two workers, each with an engine, a network and a spool root of its own."""

from collections.abc import Callable

import pytest

from app.children import ChildFailed
from tests.e2e.house import House, Place
from tests.e2e.machines import ANSWERS, freshen
from tests.second_engine import SecondEngine

pytestmark = [pytest.mark.docker, pytest.mark.root]


@pytest.fixture
def house(engine: SecondEngine, new_house: Callable[..., House]) -> House:
    """A house whose workers take one job each; its second one is on the second engine."""
    freshen(engine)
    house = new_house(concurrency=1, lease_seconds=2, node_timeout_seconds=300)
    house.start_second_worker(engine)
    return house


def submit_to_both(house: House) -> dict[str, Place]:
    """Two jobs that run, one on each machine, by id with their places."""
    house.deploy("both", ANSWERS, scaling={"max_replica_count": 2})
    ids = [house.faces.submit("both", "/", bytes([n])) for n in range(2)]
    for job_id in ids:
        house.until("both", job_id, lambda s: s["State"] == "running")
    return {job_id: _place_of(house, job_id) for job_id in ids}


def _place_of(house: House, job_id: str) -> Place:
    (place,) = (p for p in house.places if any(job_id in name for name in p.containers()))
    return place


def go_on(place: Place) -> None:
    """Lets the only job there go on."""
    (name,) = place.spools()
    (place.spool / "attempts" / name / "go").touch()


def test_both_machines_run_jobs_of_one_queue(house: House) -> None:
    first, second = house.places
    places = submit_to_both(house)
    assert first.node != second.node
    assert set(places.values()) == {first, second}
    assert [len(place.containers()) for place in house.places] == [1, 1]
    for job_id, place in places.items():
        go_on(place)
        assert house.finished("both", job_id)["State"] == "succeeded"
        assert house.faces.result("both", job_id).body == b"ok"
    house.until_nothing_is_left()


def test_the_second_one_shields_its_own_network(house: House, engine: SecondEngine) -> None:
    submit_to_both(house)
    client = engine.client()
    (network,) = client.networks.list(names=["onejob"])
    bridge = network.attrs["Options"]["com.docker.network.bridge.name"]
    assert f"-A INPUT -i {bridge} -p tcp" in engine.machine.run(["iptables", "-w", "-S", "INPUT"])
    assert "can reach services" not in house.child("worker-2").log.read_text()


@pytest.mark.parametrize("silently", [False, True], ids=["link-down", "packets-lost"])
def test_a_job_on_a_machine_that_was_cut_off_is_collected_afterwards(
    house: House, engine: SecondEngine, silently: bool
) -> None:
    near, far = sorted(submit_to_both(house).items(), key=lambda i: house.places.index(i[1]))
    replica = engine.client().containers.get(*far[1].containers())
    engine.machine.cut(silently=silently)
    for _, place in (near, far):
        go_on(place)
    assert house.finished("both", near[0])["State"] == "succeeded"
    replica.wait(timeout=60)
    assert house.status("both", far[0])["State"] == "running"
    engine.machine.mend()
    assert house.finished("both", far[0])["State"] == "succeeded"
    house.until_nothing_is_left()


def test_a_machine_dies_with_its_worker_and_its_replica_and_the_other_goes_on(
    house: House, engine: SecondEngine
) -> None:
    near, far = sorted(submit_to_both(house).items(), key=lambda i: house.places.index(i[1]))
    engine.kill()
    with pytest.raises(ChildFailed):
        house.child("worker-2").check()
    go_on(near[1])
    assert house.finished("both", near[0])["State"] == "succeeded"
    engine.start()
    assert house.start_second_worker(engine).node == far[1].node
    status = house.finished("both", far[0])
    assert (status["State"], status["Reason"]) == ("failed", "engine_lost")
    house.until_nothing_is_left()
