"""A machine with room for one replica of two units, and jobs for more."""

from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from app.ledger import connect
from tests.e2e.house import House, until
from tests.e2e.machines import ANSWERS, go_on, running

pytestmark = pytest.mark.docker

COMPUTE = """
[half]
cpus = 0.5
memory_mb = 64
runtime = "runc"
labels = { team = "vision" }
"""


def in_line(house: House, size: int) -> int:
    """How many jobs of that size wait for room."""
    client = connect(house.stack.redis_url)
    count: int = client.zcard(f"onejob:no_room:half:{size}")  # type: ignore[assignment]
    client.close()
    return count


def test_jobs_wait_for_room_in_their_order_and_get_it_at_once(
    new_house: Callable[..., House], tmp_path: Path
) -> None:
    (tmp_path / "compute.toml").write_text(COMPUTE)
    house = new_house(node_cpus=1, compute_file=tmp_path / "compute.toml")
    scaling = {"max_replica_count": 5}
    house.deploy("small", ANSWERS, compute={"name": "half", "size": 1}, scaling=scaling)
    house.deploy("big", ANSWERS, compute={"name": "half", "size": 2}, scaling=scaling)
    place, first, second = house.places[0], running(house, "small"), running(house, "small")
    client = docker.APIClient()
    container = client.inspect_container(house.containers()[0])
    client.close()
    assert container["Config"]["Labels"]["team"] == "vision"
    assert container["HostConfig"]["Runtime"] == "runc"

    big = house.faces.submit("big")
    until(lambda: in_line(house, 2) == 1)
    third = house.faces.submit("small")
    until(lambda: in_line(house, 1) == 1)
    go_on(place, first)
    house.until("small", first, lambda s: s["Timeline"][-1]["Event"] == "released")
    assert house.status("big", big)["State"] == "dispatched"
    assert house.status("small", third)["State"] == "dispatched", "the room is kept"
    go_on(place, second)
    house.until("big", big, lambda s: s["State"] == "running")
    assert house.status("small", third)["State"] == "dispatched"
    go_on(place, big)
    house.until("small", third, lambda s: s["State"] == "running")
    go_on(place, third)
    assert house.finished("small", third)["State"] == "succeeded"
    house.until_nothing_is_left()
