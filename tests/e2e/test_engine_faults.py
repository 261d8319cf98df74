"""A machine's engine is killed, stopped or hangs: its jobs go on, or end for a true reason."""

import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.e2e.house import WAITS, House, until
from tests.e2e.machines import (
    ANSWERS,
    GRACE,
    NewPair,
    Pair,
    await_exit,
    go_on,
    happened,
    missing,
    running,
    spool_of,
    view,
)
from tests.machine import Process
from tests.second_engine import control_groups
from workers.events import parse

pytestmark = [pytest.mark.docker, pytest.mark.root]

DEADLINE = 12  # time to look at what runs
STUBBORN = "c = take_job(); on(signal.SIGTERM, signal.SIG_IGN); forever()\n"
FAILS = WAITS + "sys.exit(3)\n"
LISTENS_LATE = "while not os.path.exists('/.onejob/spool/up'): time.sleep(0.01)\n"


@pytest.fixture
def new_pair(new_pair: NewPair) -> NewPair:
    """Makes a house on two machines that are not lost, whose workers take more than one job."""
    return partial(new_pair, concurrency=4, node_timeout_seconds=300)


def processes(pair: Pair, job_id: str) -> list[Process]:
    """Those of the far replica of a job."""
    (name,) = (name for name in pair.far.containers() if job_id in name)
    container = pair.engine.client().containers.get(name).id
    parents = control_groups(pair.engine.name)
    groups = [group for top in parents for group in top.glob(f"{container}/cgroup.procs")]
    return [Process(int(pid)) for pid in {p for g in groups for p in g.read_text().split()}]


def available(house: House) -> dict[str, bool]:
    """Which compute resources the control plane says can be had now."""
    answer = house.faces.control("GET", "/serverless-compute-resources").json
    return {entry["name"]: entry["is_available"] for entry in answer}


# -- it is killed or stopped -----------------------------------------------------------------------


def test_a_killed_engine_with_live_restore_ends_no_job(new_pair: NewPair) -> None:
    pair = new_pair()
    pair.deploy_far()
    job_id = running(pair.house, "line")
    before = processes(pair, job_id)
    pair.engine.restart()
    assert len(before) > 1
    assert not [process for process in before if process.ended()]
    pair.ends_well("line", job_id)
    status = pair.house.status("line", job_id)
    assert (status["Attempt"], happened(status).count("started")) == (1, 1)
    assert pair.house.faces.result("line", job_id).body == b"ok"
    pair.house.until_nothing_is_left()


def test_what_ends_while_the_engine_is_away_is_told_and_cleared_once_it_is_back(
    new_pair: NewPair,
) -> None:
    pair = new_pair()
    pair.deploy_far()
    job_id = running(pair.house, "line")
    waiting = pair.house.faces.submit("line", "/", b"waits")
    pair.engine.stop()
    go_on(pair.far, job_id)
    await_exit(pair.far, job_id)
    assert pair.house.finished("line", job_id)["State"] == "succeeded"
    assert pair.house.faces.result("line", job_id).body == b"ok"
    assert pair.house.status("line", waiting)["State"] == "queued"  # its container is still there
    pair.engine.start()
    pair.ends_well("line", waiting)
    pair.house.until_nothing_is_left()


def restarts(pair: Pair) -> None:
    """The far engine is killed and comes back, and takes its containers along."""
    pair.engine.live_restore = False
    pair.engine.restart()


def reboots(pair: Pair) -> None:
    """The far machine dies with all that runs there, and is back before it counts as lost."""
    pair.engine.kill()
    pair.engine.start()
    pair.start_far()


ENDS = [
    pytest.param(restarts, "signalled", "from outside by SIGTERM", id="its-engine-restarts"),
    pytest.param(reboots, "engine_lost", "how it ended is not known", id="it-reboots"),
]


@pytest.mark.parametrize(("happens", "reason", "words"), ENDS)
def test_what_it_takes_along_ends_for_a_true_reason_and_frees_its_slot(
    new_pair: NewPair, happens: Callable[[Pair], None], reason: str, words: str
) -> None:
    pair = new_pair()
    pair.deploy_far()
    job_id = running(pair.house, "line")
    waiting = pair.house.faces.submit("line", "/", b"waits")
    happens(pair)
    status = pair.house.finished("line", job_id)
    assert (status["State"], status["Reason"]) == ("failed", reason)
    assert words in status["Error"]
    pair.ends_well("line", waiting)
    pair.house.until_nothing_is_left()


def test_what_it_takes_along_before_the_request_was_sent_is_tried_again(new_pair: NewPair) -> None:
    pair = new_pair()
    pair.deploy_far(lines=LISTENS_LATE + ANSWERS)
    job_id = pair.house.faces.submit("line")
    pair.house.until("line", job_id, lambda s: s["StartedAt"])
    restarts(pair)
    pair.house.until("line", job_id, lambda s: s["Attempt"] == 2 and s["StartedAt"])
    (spool_of(pair.far, job_id) / "up").touch()
    pair.ends_well("line", job_id)
    pair.house.until_nothing_is_left()


# -- it hangs --------------------------------------------------------------------------------------


def test_while_it_hangs_deadlines_hold_and_the_other_machine_has_the_work(
    new_pair: NewPair,
) -> None:
    pair = new_pair()
    pair.engine.favour()
    house = pair.house
    pair.deploy_far("late", STUBBORN, scaling={"deadline_seconds": DEADLINE})
    house.deploy("line", "c = take_job(); c.sendall(OK)\n")
    late = running(house, "late")
    replica, deadline_at = processes(pair, late), view(house, "late", late).job.deadline_at
    assert len(replica) > 1
    assert deadline_at is not None
    pair.engine.pause()
    for process in replica:
        left = deadline_at.timestamp() + GRACE + 1 - time.time()
        assert process.ended(within=max(0.0, left)), "it outlived deadline and grace"
    told = parse((spool_of(pair.far, late) / "events").read_text()).by_name
    deadline = told["started"].number("deadline")  # as the usher knows it
    assert deadline is not None
    assert told["stopping"].at.timestamp() >= deadline / 1e6 - 0.001
    assert (told["killed"].at - told["stopping"].at).total_seconds() > GRACE - 0.5
    far = f"node {pair.far.node} takes no jobs: the container engine does not answer"
    until(lambda: far in missing(house), lambda: missing(house))
    assert available(house) == {"cpu": True, "near": True, "far": False}
    assert {house.run("line", body=bytes([n]))[0]["Node"] for n in range(4)} == {pair.near.node}
    pair.engine.resume()
    status = house.finished("late", late)
    assert (status["State"], status["Reason"]) == ("timed_out", "deadline")
    until(lambda: available(house)["far"])
    assert missing(house) == ""
    house.until_nothing_is_left()


def test_while_it_hangs_its_worker_still_goes_in_time(new_pair: NewPair) -> None:
    pair = new_pair(own_replicas="false")
    pair.deploy_far(lines=FAILS)
    job_id = running(pair.house, "line")
    worker = Process(pair.house.child("worker-2").pid)
    worker.hurry()
    pair.engine.pause()
    go_on(pair.far, job_id)
    await_exit(pair.far, job_id)  # the supervisor asks the engine for the log now
    worker.send(signal.SIGTERM)
    assert worker.ended(within=5)
    pair.engine.resume()
    pair.start_far()
    status = pair.house.finished("line", job_id)
    assert (status["Reason"], status["ExitCode"]) == ("exit_nonzero", 3)
    pair.house.until_nothing_is_left()
