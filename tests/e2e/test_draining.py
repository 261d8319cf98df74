"""A machine is emptied while others go on: two nodes on this machine's engine."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.children import Child
from tests.e2e.house import PATIENCE_SECONDS, House, Place, until
from tests.e2e.machines import ANSWERS, go_on, is_there, running

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]


def onejob(house: House, *words: str) -> subprocess.Popen[str]:
    """The command line, with the settings of the house."""
    return subprocess.Popen(
        [sys.executable, "-c", "from app.cli import main; main()", *words],
        env=house.stack.environ(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def add_machine(house: House, folder: Path) -> Place:
    """A node whose worker has no other settings than docs/operations.md asks for.

    But for three of the test's own: one job at once, a spool root beside the other node's, and that
    nothing is left where the test fails.
    """
    compute, spool = folder / "compute.toml", folder / "second-spool"
    compute.write_text("[cpu]\n")
    environ = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ} | {
        "ONEJOB_REDIS_URL": house.stack.redis_url,
        "ONEJOB_COMPUTE_FILE": str(compute),
        "ONEJOB_CONCURRENCY": "1",
        "ONEJOB_SPOOL_ROOT": str(spool),
        "ONEJOB_OWN_REPLICAS": "true",
    }
    celery = str(Path(sys.executable).parent / "celery")
    argv = [celery, "-A", "workers.celery", "worker", "--hostname=second@%h", "--loglevel=INFO"]
    argv += ["--without-mingle", "--without-gossip"]
    child = Child("second", argv, house.stack.layout.log("second"), environ, stop_seconds=30)
    house.stack.children.append(child)
    child.until(lambda: " ready." in child.log.read_text(errors="replace"), PATIENCE_SECONDS)
    house.places.append(Place(spool))
    return house.places[-1]


def ends_well(house: House, place: Place, job_id: str) -> None:
    go_on(place, job_id)
    assert house.finished("line", job_id)["State"] == "succeeded"


def test_a_machine_that_is_drained_ends_its_job_and_leaves_the_others_to_the_other(
    new_house: Callable[..., House], tmp_path: Path
) -> None:
    house = new_house(lease_seconds=2, hint_seconds=1, concurrency=1)
    (stays,) = house.places
    leaves = add_machine(house, tmp_path)
    house.deploy("line", ANSWERS, scaling={"max_replica_count": 4})
    ids = [running(house, "line", bytes([n])) for n in range(2)]
    (here,) = (job_id for job_id in ids if is_there(stays, job_id))
    (there,) = (job_id for job_id in ids if is_there(leaves, job_id))

    draining = onejob(house, "drain", leaves.node, "--wait", "60")
    until(lambda: "draining" in str(house.faces.data("GET", "/ready").json["notes"]))
    assert draining.poll() is None  # its job runs on
    waiting = [house.faces.submit("line", "/", bytes([n])) for n in (2, 3)]
    ends_well(house, leaves, there)
    said, _ = draining.communicate(timeout=60)
    assert (draining.returncode, said) == (0, f"node {leaves.node} is empty\n")
    ends_well(house, stays, here)
    while waiting:
        job_id = until(lambda: next((i for i in waiting if is_there(stays, i)), None))
        status = house.until("line", job_id, lambda s: s["State"] == "running")
        assert status["Node"] == stays.node
        ends_well(house, stays, job_id)
        waiting.remove(job_id)

    busy = running(house, "line", b"5")
    assert is_there(stays, busy)
    assert onejob(house, "drain", leaves.node, "--undo").wait(60) == 0
    back = running(house, "line", b"6")
    assert is_there(leaves, back)
    ends_well(house, stays, busy)
    ends_well(house, leaves, back)
    house.until_nothing_is_left()
