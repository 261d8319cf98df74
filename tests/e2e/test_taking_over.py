"""Two worker processes of one node: what one leaves, or sleeps through, the other goes on with."""

import signal
from collections.abc import Callable
from typing import Any

import docker
import pytest

from app.ledger import keys
from tests.e2e.house import House, until
from tests.e2e.machines import (
    ANSWERS,
    another_worker,
    go_on,
    happened,
    ledger,
    running,
    view,
)
from tests.machine import Process
from tests.stopped import stop

pytestmark = pytest.mark.docker

SHORT_LEASE = 8  # no worker sleeps through it unless it is stopped, busy as the machine may be
LEASE = 15  # time enough to look at it
LONG_LEASE = 90  # it lapses after all that a test waits for
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
    house = new_house(lease_seconds=SHORT_LEASE)
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
    house = new_house(own_replicas="false", lease_seconds=LONG_LEASE)
    house.deploy("line", ANSWERS, scaling={"max_replica_count": 3})
    ids = [running(house, "line", bytes([n])) for n in range(3)]
    before = starts(house)
    assert len(before) == 3
    another_worker(house, "other")
    leaver = Process(house.child("worker").pid)
    leaver.hurry()
    leaver.send(signal.SIGTERM)
    assert leaver.ended(within=5)
    # Their leases did not lapse, they were let go of.
    until(lambda: [fence(house, job_id) for job_id in ids] == [2, 2, 2])
    assert starts(house) == before
    for job_id in ids:
        go_on(house.places[0], job_id)
        assert house.finished("line", job_id)["State"] == "succeeded"
    house.until_nothing_is_left()


def test_what_a_killed_one_had_is_taken_over_once_the_lease_has_lapsed(
    new_house: NewHouse,
) -> None:
    house = new_house(lease_seconds=LEASE)
    house.deploy("line", ANSWERS)
    job_id = running(house, "line")
    before = starts(house)
    another_worker(house, "other")
    with ledger(house) as books:

        def clock() -> float:
            """Redis's, by which leases lapse."""
            seconds, microseconds = books.client.time()
            return float(seconds + microseconds / 1e6)

        house.kill("worker")
        killed_at = clock()
        (ref,) = books.attempts.held(house.node)
        lapses_at: Any = books.client.zscore(keys.leases(house.node), ref)
        assert fence(house, job_id) == 1  # that was the killed one's lease
        assert lapses_at <= killed_at + LEASE
        until(lambda: fence(house, job_id) == 2)
        # It is looked for every second, and later on a busy machine.
        assert lapses_at <= clock() < lapses_at + 20
    assert starts(house) == before
    go_on(house.places[0], job_id)
    assert house.finished("line", job_id)["State"] == "succeeded"
    assert house.faces.result("line", job_id).body == b"ok"
    house.until_nothing_is_left()
