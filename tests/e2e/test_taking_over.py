"""Two worker processes of one node: what one leaves, or sleeps through, the other goes on with."""

import signal
import time
from collections.abc import Callable

import docker
import pytest

from tests.e2e.house import House, until
from tests.e2e.machines import ANSWERS, another_worker, go_on, happened, running, view
from tests.machine import Process
from tests.stopped import stop

pytestmark = pytest.mark.docker

LEASE = 10.0  # the default
LETS_GO = "another supervisor has it"
NewHouse = Callable[..., House]


def fence(house: House, job_id: str) -> int:
    """How often the attempt of a job was claimed."""
    return view(house, "line", job_id).job.fence


def starts(house: House) -> dict[str, str]:
    """When each replica was started, by the id of its container."""
    client = docker.APIClient()
    found = [client.inspect_container(name) for name in house.containers()]
    client.close()
    return {container["Id"]: container["State"]["StartedAt"] for container in found}


@pytest.mark.parametrize("over", [False, True], ids=["while-it-runs", "once-it-is-over"])
def test_one_that_slept_past_its_lease_changes_nothing(new_house: NewHouse, over: bool) -> None:
    house = new_house(lease_seconds=2)
    house.deploy("line", ANSWERS)
    job_id = running(house, "line")
    log = house.child("worker").log
    sleeper = Process(house.child("worker").pid)
    another_worker(house, "other")
    before = starts(house)
    stop(sleeper.pid)
    try:
        until(lambda: fence(house, job_id) == 2)
        if over:
            go_on(house.places[0], job_id)
            house.until("line", job_id, lambda s: happened(s)[-1] == "released")
        told = view(house, "line", job_id)
    finally:
        sleeper.send(signal.SIGCONT)
    until(lambda: LETS_GO in log.read_text())
    assert view(house, "line", job_id) == told
    if not over:
        assert starts(house) == before
        go_on(house.places[0], job_id)
    assert house.finished("line", job_id)["State"] == "succeeded"
    assert house.faces.result("line", job_id).body == b"ok"
    house.until_nothing_is_left()
    assert fence(house, job_id) == 2
    assert log.read_text().count(LETS_GO) == 1
    assert LETS_GO not in house.child("other").log.read_text()


def test_one_that_is_told_to_end_hands_its_jobs_over_at_once(new_house: NewHouse) -> None:
    house = new_house(own_replicas="false")
    house.deploy("line", ANSWERS, scaling={"max_replica_count": 3})
    ids = [running(house, "line", bytes([n])) for n in range(3)]
    before = starts(house)
    assert len(before) == 3
    another_worker(house, "other")
    leaver = Process(house.child("worker").pid)
    began = time.monotonic()
    leaver.send(signal.SIGTERM)
    assert leaver.ended(within=5)
    until(lambda: [fence(house, job_id) for job_id in ids] == [2, 2, 2])
    assert time.monotonic() - began < LEASE - 2  # they did not lapse, they were let go of
    assert starts(house) == before
    for job_id in ids:
        go_on(house.places[0], job_id)
        assert house.finished("line", job_id)["State"] == "succeeded"
    house.until_nothing_is_left()


def test_what_a_killed_one_had_is_taken_over_once_the_lease_has_lapsed(
    new_house: NewHouse,
) -> None:
    house = new_house()
    house.deploy("line", ANSWERS)
    job_id = running(house, "line")
    before = starts(house)
    another_worker(house, "other")
    house.kill("worker")
    began = time.monotonic()
    until(lambda: fence(house, job_id) == 2)
    # It was renewed in the last second, and is looked for every second.
    assert LEASE - 2 < time.monotonic() - began < LEASE + 3
    assert starts(house) == before
    go_on(house.places[0], job_id)
    assert house.finished("line", job_id)["State"] == "succeeded"
    assert house.faces.result("line", job_id).body == b"ok"
    house.until_nothing_is_left()
