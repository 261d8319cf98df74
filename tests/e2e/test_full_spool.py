"""A machine whose disk is full takes no jobs, and costs none of them an attempt."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.house import House, until
from tests.e2e.machines import another_worker, missing
from tests.machine import run

pytestmark = [pytest.mark.docker, pytest.mark.root]

BODY = os.urandom(1024 * 1024)
LEFT = 256 * 1024  # bytes on the disk
JOBS = 3  # at once: as many failures in a row stop a machine from taking more


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Path]:
    """The spool root of the house to come, on a disk of its own."""
    path = tmp_path / "0" / "spool"
    path.mkdir(parents=True)
    run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)])
    yield path
    run(["umount", "--lazy", str(path)])


@pytest.fixture
def house(spool: Path, new_house: Callable[..., House]) -> House:
    """A house on that disk, which has less space left than its jobs need."""
    house = new_house(hint_seconds=1)
    free = os.statvfs(spool).f_bavail * os.statvfs(spool).f_frsize
    (spool / "filler").write_bytes(bytes(free - LEFT))
    house.deploy("big", "c = take_job(); c.sendall(OK)\n", scaling={"max_replica_count": JOBS})
    return house


def submit(house: House) -> list[str]:
    """Jobs that the machine fails to start; returns when it is known that it does."""
    ids = [house.faces.submit("big", f"/{n}", BODY) for n in range(JOBS)]
    problem = rf"node {house.node} takes no jobs: (\d+) failures of the engine in a row"
    told = until(lambda: re.search(problem, missing(house)), lambda: missing(house))
    assert int(told[1]) >= JOBS
    assert "No space left on device" in told.string
    assert {house.status("big", job_id)["Status"] for job_id in ids} == {"Queue"}
    return ids


def check_ends(house: House, ids: list[str], node: str) -> None:
    """All end well on that node, in their first attempt."""
    for job_id in ids:
        status = house.finished("big", job_id)
        assert (status["State"], status["Attempt"], status["Node"]) == ("succeeded", 1, node)
    house.until_nothing_is_left()


def test_its_jobs_run_once_there_is_space_again(house: House, spool: Path) -> None:
    ids = submit(house)
    (spool / "filler").unlink()
    check_ends(house, ids, house.node)
    until(lambda: not missing(house), lambda: missing(house))


def test_its_jobs_run_on_another_machine(house: House, tmp_path: Path) -> None:
    ids = submit(house)
    another_worker(house, "roomy", tmp_path / "roomy")
    check_ends(house, ids, house.places[1].node)
