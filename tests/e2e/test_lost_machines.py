"""A machine is gone: its job ends in time, and its slot is taken for as long as it must be."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.ledger.nodes import SILENT_SECONDS
from tests.e2e.house import House, until
from tests.e2e.machines import (
    ANSWERS,
    GRACE,
    NODE_TIMEOUT,
    SLACK,
    NewPair,
    Pair,
    at,
    await_exit,
    go_on,
    happened,
    is_there,
    missing,
    view,
)

pytestmark = [pytest.mark.docker, pytest.mark.root]

ROOT = Path(__file__).parents[2]
DEADLINE = 15  # usually the machine counts as lost by then


def onejob(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as an operator uses it."""
    argv = [sys.executable, "-c", "from app.cli import main; main()", *words]
    return subprocess.run(
        argv, env=house.stack.environ(), cwd=ROOT, capture_output=True, text=True, check=False
    )


def listed(house: House, node: str) -> dict[str, Any] | None:
    """What `onejob node list` says of a machine."""
    nodes = json.loads(onejob(house, "node", "list", "-o", "json").stdout)
    return next((entry for entry in nodes if entry["id"] == node), None)


def state(pair: Pair, job_id: str) -> str:
    """Where a job of `die` stands."""
    return str(pair.house.status("line", job_id)["State"])


def die(pair: Pair, **scaling: int) -> tuple[str, str]:
    """The far machine dies, and its job ends in time. That job, and one that waits for its slot."""
    pair.house.deploy("line", ANSWERS, scaling={"max_replica_count": 1} | scaling)
    lost = pair.run_far("line")
    waiting = pair.house.faces.submit("line", "/", b"waits")
    began = time.time()
    pair.engine.kill()
    pair.free_near()
    status = pair.house.finished("line", lost)
    assert (status["State"], status["Reason"]) == ("failed", "node_lost")
    assert "silent for" in status["Error"]
    assert at(pair.house, "line", lost, "failed") < began + NODE_TIMEOUT + SLACK
    return lost, waiting


def let_in(pair: Pair, waiting: str) -> float:
    """Waits until the job that waits gets its slot; when that was, by Redis's clock."""
    pair.house.until("line", waiting, lambda s: s["State"] != "queued")
    return at(pair.house, "line", waiting, "dispatched")


def test_its_slot_is_free_once_deadline_and_grace_of_the_replica_have_passed(
    new_pair: NewPair,
) -> None:
    pair = new_pair()
    lost, waiting = die(pair, deadline_seconds=DEADLINE)
    started_at = view(pair.house, "line", lost).job.started_at
    assert started_at is not None
    freed = let_in(pair, waiting) - started_at.timestamp()
    assert DEADLINE + GRACE <= freed < DEADLINE + GRACE + SLACK
    assert pair.ends_well("line", waiting) is pair.near


def test_its_slot_is_free_once_it_is_back_and_has_removed_the_replica(new_pair: NewPair) -> None:
    pair = new_pair()
    lost, waiting = die(pair)
    assert state(pair, waiting) == "queued"
    pair.engine.start()
    assert is_there(pair.far, lost)
    pair.start_far()
    freed = let_in(pair, waiting)
    assert not is_there(pair.far, lost)
    assert happened(pair.house.status("line", lost))[-2:] == ["failed", "late"]
    assert freed >= at(pair.house, "line", lost, "late")
    pair.ends_well("line", waiting)
    pair.house.until_nothing_is_left()


def test_its_slot_is_free_once_its_operator_has_it_forgotten(new_pair: NewPair) -> None:
    pair = new_pair()
    node = pair.far.node
    refused = onejob(pair.house, "node", "forget", node)
    assert (refused.returncode, "stop its workers first" in refused.stderr) == (1, True)
    _, waiting = die(pair)
    until(lambda: f"node {node} is silent" in missing(pair.house), lambda: missing(pair.house))
    assert missing(pair.house).endswith(": 1 slots wait")
    known = listed(pair.house, node)
    assert known is not None
    assert (known["attempts"], known["strays"]) == (0, 1)
    assert known["silent_seconds"] > SILENT_SECONDS
    assert state(pair, waiting) == "queued"
    said = onejob(pair.house, "node", "forget", node)
    assert (said.returncode, said.stdout) == (0, f"node {node} is forgotten\n")
    assert pair.ends_well("line", waiting) is pair.near
    assert listed(pair.house, node) is None
    assert missing(pair.house) == ""


def test_an_operator_need_not_wait_for_the_node_timeout(new_pair: NewPair) -> None:
    pair = new_pair(node_timeout_seconds=300)
    pair.house.deploy("line", ANSWERS)
    lost = pair.run_far("line")
    waiting = pair.house.faces.submit("line", "/", b"waits")
    pair.engine.kill()
    pair.free_near()
    until(lambda: "is silent" in missing(pair.house))
    assert [state(pair, job_id) for job_id in (lost, waiting)] == ["running", "queued"]
    assert onejob(pair.house, "node", "forget", pair.far.node).returncode == 0
    assert pair.house.finished("line", lost)["Reason"] == "node_lost"
    assert pair.ends_well("line", waiting) is pair.near


def test_its_slot_is_free_at_the_node_timeout_where_a_setting_says_so(new_pair: NewPair) -> None:
    pair = new_pair(free_lost_slots="true")
    lost, waiting = die(pair)
    # One script does both.
    assert abs(let_in(pair, waiting) - at(pair.house, "line", lost, "failed")) < 0.1
    assert pair.ends_well("line", waiting) is pair.near


def test_redis_is_away_for_longer_than_the_node_timeout_and_no_machine_is_lost(
    new_pair: NewPair,
) -> None:
    pair = new_pair()
    pair.deploy_far()
    ends_meanwhile, runs_on = pair.run_far("line"), pair.house.faces.submit("line", "/", b"2")
    pair.house.kill("redis")
    go_on(pair.far, ends_meanwhile)
    await_exit(pair.far, ends_meanwhile)
    time.sleep(NODE_TIMEOUT + 2)  # nothing but this time without Redis is what is tested
    pair.house.stack.start_redis()
    assert pair.house.finished("line", ends_meanwhile)["State"] == "succeeded"
    pair.free_near()
    assert pair.ends_well("line", runs_on) is pair.far
    for worker in ("worker", "worker-2"):
        assert "is lost" not in pair.house.child(worker).log.read_text()
    pair.house.until_nothing_is_left()
