"""A machine is cut off from the others and works on: whatever it does, each job has one fate."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.house import House, until
from tests.e2e.machines import (
    ANSWERS,
    NewPair,
    Pair,
    at,
    await_exit,
    creations,
    go_on,
    happened,
    is_there,
    ledger,
    view,
)
from tests.second_engine import SecondEngine

pytestmark = [pytest.mark.docker, pytest.mark.root]

AGAIN = {"max_attempts": 2, "on": ["node_lost"]}


@pytest.fixture
def created(new_pair: NewPair, engine: SecondEngine) -> Iterator[Counter[str]]:
    """The number of containers that were created, on both machines, by job."""
    with creations(None, engine.url) as created:
        yield created


def fate(house: House, job_id: str) -> dict[str, Any]:
    """What became of a job, but for what its timeline says."""
    status = house.status("line", job_id)
    return {name: value for name, value in status.items() if name != "Timeline"}


def silence(pair: Pair) -> float:
    """For how long the far machine has not been heard of."""
    with ledger(pair.house) as books:
        (node,) = (n for n in books.nodes.all() if n.id == pair.far.node)
    return node.silent_seconds


@pytest.mark.parametrize("silently", [False, True], ids=["link-down", "packets-lost"])
def test_for_less_than_the_node_timeout_its_outcome_is_true_and_final(
    new_pair: NewPair, created: Counter[str], silently: bool
) -> None:
    # Longer than any machine stands still. That it is looked at: see workers/test_lost_nodes.
    pair = new_pair(node_timeout_seconds=300)
    pair.deploy_far()
    job_id = pair.run_far("line")
    pair.engine.machine.cut(silently=silently)
    go_on(pair.far, job_id)
    await_exit(pair.far, job_id)
    until(lambda: silence(pair) > 6)  # its lease, which is renewed every second, has lapsed
    assert pair.house.status("line", job_id)["State"] == "running"
    pair.engine.machine.mend()
    assert pair.house.finished("line", job_id)["State"] == "succeeded"
    before = fate(pair.house, job_id)
    pair.free_near()
    pair.house.until_nothing_is_left()
    assert fate(pair.house, job_id) == before
    assert pair.house.faces.result("line", job_id).body == b"ok"
    assert not {"node_lost", "failed", "late"} & {*happened(pair.house.status("line", job_id))}
    assert created[job_id] == 1


@pytest.mark.parametrize(
    ("silently", "ends"),
    [(False, False), (True, True)],
    ids=["link-down-and-it-runs-on", "packets-lost-and-it-ends"],
)
def test_for_longer_its_job_is_lost_and_stays_so(
    new_pair: NewPair, created: Counter[str], silently: bool, ends: bool
) -> None:
    pair = new_pair()
    house = pair.house
    house.deploy("line", ANSWERS)
    job_id = pair.run_far("line")
    waiting = house.faces.submit("line", "/", b"waits")
    pair.engine.machine.cut(silently=silently)
    if ends:
        go_on(pair.far, job_id)
        await_exit(pair.far, job_id)
    status = house.finished("line", job_id)
    assert (status["State"], status["Reason"]) == ("failed", "node_lost")
    pair.free_near()
    assert house.status("line", waiting)["State"] == "queued"
    assert is_there(pair.far, job_id)
    before = fate(house, job_id)
    pair.engine.machine.mend()
    house.until("line", job_id, lambda s: happened(s)[-1] == "late")
    assert not is_there(pair.far, job_id)
    pair.ends_well("line", waiting)
    assert at(house, "line", waiting, "dispatched") >= at(house, "line", job_id, "late")
    house.until_nothing_is_left()
    assert fate(house, job_id) == before
    result = house.faces.result("line", job_id)
    assert (result.status, result.json["code"]) == (502, "job_failed")
    told = view(house, "line", job_id).timeline[-1].detail or ""
    assert ("exited code=0" in told) is ends
    assert (created[job_id], created[waiting]) == (1, 1)


def test_with_a_retry_policy_another_attempt_runs_while_the_lost_one_has_its_slot(
    new_pair: NewPair, created: Counter[str]
) -> None:
    pair = new_pair()
    house = pair.house
    house.deploy("line", ANSWERS, scaling={"max_replica_count": 2}, retry_policy=AGAIN)
    job_id = pair.run_far("line")
    pair.engine.machine.cut()
    pair.free_near()
    status = house.until("line", job_id, lambda s: (s["Attempt"], s["State"]) == (2, "running"))
    assert status["Node"] == pair.near.node
    assert all(is_there(place, job_id) for place in house.places)
    waiting = house.faces.submit("line", "/", b"waits")
    assert house.status("line", waiting)["State"] == "queued"  # two slots are taken
    pair.engine.machine.mend()
    house.until("line", waiting, lambda s: s["State"] != "queued")
    assert "late" in happened(house.status("line", job_id))
    assert not is_there(pair.far, job_id)
    assert pair.ends_well("line", job_id) is pair.near
    pair.ends_well("line", waiting)
    (earlier,) = view(house, "line", job_id).earlier
    assert (earlier.node, earlier.reason) == (pair.far.node, "node_lost")
    assert house.faces.result("line", job_id).body == b"ok"
    house.until_nothing_is_left()
    assert (created[job_id], created[waiting]) == (2, 1)
