"""What survives when processes die, and when everything is stopped and started again."""

import os
from collections.abc import Callable

import pytest

from tests.e2e.house import WAITS, House

pytestmark = pytest.mark.docker

NewHouse = Callable[..., House]
OPEN = {"scaling": {"max_replica_count": 2}}


def go_on(house: House, job_id: str) -> None:
    """Lets the app of a job go on."""
    name = next(name for name in house.spools() if job_id in name)
    (house.stack.layout.spool / "attempts" / name / "go").touch()


def test_a_killed_worker_disturbs_no_job_and_its_result_is_collected(new_house: NewHouse) -> None:
    house = new_house(lease_seconds=2)
    house.deploy(
        "steady",
        WAITS + "c.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' + os.urandom(10)[:0] + b'x' * 100000)\n",
    )
    job_id = house.faces.submit("steady", "/", os.urandom(100))
    house.until("steady", job_id, lambda s: s["State"] == "running")
    before = house.containers()
    house.kill("worker")
    go_on(house, job_id)
    house.stack.start_worker()
    assert house.finished("steady", job_id)["State"] == "succeeded"
    assert house.faces.result("steady", job_id).body == b"x" * 100000
    assert len(before) == 1
    status = house.status("steady", job_id)
    assert (status["Attempt"], [e["Event"] for e in status["Timeline"]].count("started")) == (1, 1)
    house.until_nothing_is_left()


def test_a_killed_redis_forgets_nothing(new_house: NewHouse) -> None:
    house = new_house(lease_seconds=2)
    house.deploy("kept", WAITS + "c.sendall(OK)\n")
    ids = [house.faces.submit("kept", "/", bytes([n])) for n in range(3)]
    house.until("kept", ids[0], lambda s: s["State"] == "running")
    house.kill("redis")
    house.stack.start_redis()
    for job_id in ids:
        house.until("kept", job_id, lambda s: s["State"] == "running")
        go_on(house, job_id)
        assert house.finished("kept", job_id)["State"] == "succeeded"
    house.until_nothing_is_left()


def test_everything_is_found_again_on_the_same_data_directory(new_house: NewHouse) -> None:
    house = new_house()
    house.deploy("done", "c = take_job(); c.sendall(OK)\n")
    house.deploy("busy", WAITS + "c.sendall(OK)\n")
    finished = house.faces.submit("done")
    assert house.finished("done", finished)["State"] == "succeeded"
    running, waiting = house.faces.submit("busy"), house.faces.submit("busy", "/", b"2")
    house.until("busy", running, lambda s: s["State"] == "running")
    key = house.faces.key
    house.stop()
    assert house.containers() == []
    house.start()
    assert house.faces.key == key
    assert house.faces.result("done", finished).body == b"ok"
    status = house.finished("busy", running)
    assert (status["State"], status["Reason"]) == ("cancelled", "cancelled")
    assert "stopped" in status["Error"]
    house.until("busy", waiting, lambda s: s["State"] == "running")
    go_on(house, waiting)
    assert house.finished("busy", waiting)["State"] == "succeeded"
    house.until_nothing_is_left()


def test_after_a_kill_of_everything_each_job_goes_on_or_ends_for_a_true_reason(
    new_house: NewHouse,
) -> None:
    house = new_house(lease_seconds=2)
    house.deploy("busy", WAITS + "c.sendall(OK)\n", **OPEN)
    house.deploy("slow-start", "time.sleep(3); c = take_job(); c.sendall(OK)\n")
    running = [house.faces.submit("busy", "/", bytes([n])) for n in range(3)]
    starting = house.faces.submit("slow-start")
    for job_id in running[:2]:
        house.until("busy", job_id, lambda s: s["State"] == "running")
    house.until("slow-start", starting, lambda s: s["StartedAt"])
    for name in ("worker", "api", "redis"):
        house.kill(name)
    go_on(house, running[0])  # ends while nobody is there
    house.start()
    assert house.finished("busy", running[0])["State"] == "succeeded"
    assert house.finished("slow-start", starting)["State"] == "succeeded"
    for job_id in running[1:]:
        house.until("busy", job_id, lambda s: s["State"] == "running")
        go_on(house, job_id)
        assert house.finished("busy", job_id)["State"] == "succeeded"
    house.until_nothing_is_left()
