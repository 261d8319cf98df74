"""What a replica prints, while it runs and after its worker was killed."""

from collections.abc import Callable

import pytest

from tests.api.events import Events
from tests.e2e.house import House, until
from tests.e2e.machines import WAITS, another_worker, go_on, happened, running

pytestmark = pytest.mark.docker

PRINTS = (
    "print('begins', flush=True); print('aside', file=sys.stderr, flush=True)\n"
    + WAITS
    + "print('goes on', flush=True); c.sendall(OK)\n"
)
NewHouse = Callable[..., House]


def test_two_follow_a_job_while_it_runs_and_one_hangs_up(house: House) -> None:
    house.deploy("prints", PRINTS)
    job_id = running(house, "prints")
    with Events(house.faces, "prints", job_id) as first:
        with Events(house.faces, "prints", job_id) as second:
            for events in (first, second):
                lines = {(data["stream"], data["message"]) for _, data in two(events)}
                assert lines == {("stdout", "begins"), ("stderr", "aside")}
        # It has not ended: it waits for this.
        assert house.status("prints", job_id)["State"] == "running"
        go_on(house.places[0], job_id)
        assert first.message() == "goes on"
        name, end = first.event()
        assert (name, end["state"], end["exit_code"]) == ("end", "succeeded", 0)


def two(events: Events) -> list[tuple[str, dict[str, object]]]:
    return [events.event(), events.event()]


def test_a_running_job_tells_what_it_printed_so_far(house: House) -> None:
    house.deploy("so-far", PRINTS)
    job_id = running(house, "so-far")
    path = f"/job-deployments/so-far/jobs/{job_id}/logs"
    answer = until(lambda: a if (a := house.faces.control("GET", path)).status == 200 else None)
    assert set(answer.body.decode().split()) == {"begins", "aside"}
    assert answer["X-Log-Complete"] == "false"
    go_on(house.places[0], job_id)
    house.finished("so-far", job_id)


def test_all_replicas_of_a_deployment_are_read_the_ended_and_the_running(house: House) -> None:
    def lines(wanted: int) -> list[tuple[str, str, str]]:
        path = "/job-deployments/all/logs?order=asc"
        answer = house.faces.control("GET", path)
        found = [(line["replica"], line["stream"], line["message"]) for line in answer.json]
        instants = [line["timestamp"] for line in answer.json]
        assert instants == sorted(instants)
        return found if len(found) >= wanted else []

    house.deploy("all", PRINTS, scaling={"max_replica_count": 2})
    ids = [running(house, "all") for _ in range(2)]
    ended, goes_on = (str(house.status("all", job_id)["Replica"]) for job_id in ids)
    begun = until(lambda: lines(4))
    assert {line for line in begun if line[0] == goes_on} == {
        (goes_on, "stdout", "begins"),
        (goes_on, "stderr", "aside"),
    }
    go_on(house.places[0], ids[0])
    house.finished("all", ids[0])
    then = until(lambda: lines(5))
    assert house.status("all", ids[1])["State"] == "running"
    assert sorted(then) == sorted([*begun, (ended, "stdout", "goes on")])
    go_on(house.places[0], ids[1])
    house.finished("all", ids[1])
    assert sorted(until(lambda: lines(6))) == sorted([*then, (goes_on, "stdout", "goes on")])


def test_a_job_whose_worker_was_killed_loses_nothing_that_it_printed(new_house: NewHouse) -> None:
    house = new_house(lease_seconds=2)
    house.deploy("prints", PRINTS)
    job_id = running(house, "prints")
    with Events(house.faces, "prints", job_id) as events:
        assert len(two(events)) == 2
        house.kill("worker")
        go_on(house.places[0], job_id)
        another_worker(house, "other")
        assert events.message() == "goes on"
        assert events.event()[0] == "end"
    house.until("prints", job_id, lambda s: happened(s)[-1] == "released")
    path = f"/job-deployments/prints/jobs/{job_id}/logs?format=json"
    lines = house.faces.control("GET", path).json
    assert sorted(line["message"] for line in lines) == ["aside", "begins", "goes on"]
    asked = house.faces.control("GET", "/job-deployments/prints/system-logs?order=asc").json
    told = [entry["reason"] for entry in asked]
    assert told == [
        *("queued", "dispatched", "starting", "created", "started", "healthy", "sent"),
        *("responded", "exited", "exit_0", "released"),
    ]
    house.until_nothing_is_left()
