"""A backup of Redis, taken and restored as docs/operations.md says: by its very commands."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.stack import redis_server
from tests.e2e.house import House, until
from tests.e2e.machines import ANSWERS, creations, go_on, happened, missing, running
from tests.ports import free_port

pytestmark = pytest.mark.docker

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
_ONEJOB = """#!/bin/sh
exec {python} -c 'from app.cli import main; main()' "$@"
"""


def commands(name: str) -> str:
    """A tested block of the documentation."""
    found = re.search(rf"<!-- tested: {name} -->\n```sh\n(.*?)```", DOCS.read_text(), re.S)
    assert found is not None
    return found[1]


class Operator:
    """Whoever keeps the Redis of a house, on its machine."""

    def __init__(self, house: House, folder: Path) -> None:
        self._house = house
        data = house.folder / "redis"
        programs = folder / "programs"
        programs.mkdir()
        (programs / "onejob").write_text(_ONEJOB.format(python=sys.executable))
        (programs / "onejob").chmod(0o755)
        # The server's own, and what its wheel brings along.
        beside = [str(Path(program).parent) for program in (redis_server(), sys.executable)]
        path = [str(programs), *beside, os.environ["PATH"]]
        url = re.fullmatch(r"redis://:(.+)@(.+):(\d+)/0", house.stack.redis_url)
        assert url is not None
        self.spare_port = str(free_port())
        self._environ = os.environ | {
            "PATH": ":".join(path),
            "PYTHONPATH": str(DOCS.parents[1]),
            "REDISCLI_AUTH": url[1],
            "REDIS_HOST": url[2],
            "REDIS_PORT": url[3],
            "REDIS_DATA": str(data),
            "REDIS_CONF": str(data / "redis.conf"),
            "SPARE_PORT": self.spare_port,
            "BACKUP": str(folder / "backup.rdb"),
        }

    def back_up(self) -> None:
        """While everything runs."""
        self._run(commands("backup"))

    def restore(self) -> str:
        """Redis's disk is lost; it is back from the backup when this returns. What was said."""
        self._house.kill("redis")
        with self._spare_redis():
            said = self._run(commands("restore"))
        self._house.stack.start_redis()
        return said

    @contextmanager
    def _spare_redis(self) -> Iterator[None]:
        """It has no parent: where the commands fail half-way it would stay."""
        try:
            yield
        finally:
            argv = ["redis-cli", "-p", self.spare_port, "shutdown", "nosave"]
            subprocess.run(argv, env=self._environ, capture_output=True, check=False)

    def _run(self, script: str) -> str:
        argv = ["sh", "-euc", script]
        done = subprocess.run(
            argv, env=self._environ, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


def test_a_restored_backup_loses_nothing_it_has_and_starts_nothing_twice(
    new_house: Callable[..., House], tmp_path: Path
) -> None:
    house = new_house(lease_seconds=2, hint_seconds=1)
    (here,) = house.places
    operator = Operator(house, tmp_path)
    house.deploy("line", ANSWERS, scaling={"max_replica_count": 2})
    with creations(None) as made:
        over = running(house, "line", b"over")
        go_on(here, over)
        assert house.finished("line", over)["State"] == "succeeded"
        ended, stays = running(house, "line", b"ended"), running(house, "line", b"stays")
        claimed = house.faces.submit("line", "/", b"claimed")
        waits = house.faces.submit("line", "/", b"waits")
        operator.back_up()

        go_on(here, ended)
        assert house.finished("line", ended)["State"] == "succeeded"
        house.until("line", claimed, lambda s: s["State"] == "running")
        late = house.faces.submit("line", "/", b"late")
        said = operator.restore()
        assert f"until these machines have reported: {here.node}" in said

        # What was over is over; what ran and ended since is not known.
        assert house.faces.result("line", over).body == b"ok"
        status = house.finished("line", ended)
        assert (status["State"], status["Reason"]) == ("failed", "node_lost")
        assert "older file" in status["Error"]
        # What runs is found again, also where the backup has it waiting.
        until(lambda: not missing(house))
        assert "recovered" in happened(house.status("line", claimed))
        for job_id in (stays, claimed):
            go_on(here, job_id)
            assert house.finished("line", job_id)["State"] == "succeeded"
            assert house.faces.result("line", job_id).body == b"ok"
        house.until("line", waits, lambda s: s["State"] == "running")
        go_on(here, waits)
        assert house.finished("line", waits)["State"] == "succeeded"
        # What was accepted after it is gone.
        assert house.faces.status("line", late).status == 404
        assert house.faces.submit("line", "/", b"late", **{"X-Inference-Id": late}) == late
        house.until("line", late, lambda s: s["State"] == "running")
        go_on(here, late)
        assert house.finished("line", late)["State"] == "succeeded"
        house.until_nothing_is_left()
    assert [made[i] for i in (over, ended, stays, claimed, waits, late)] == [1] * 6
