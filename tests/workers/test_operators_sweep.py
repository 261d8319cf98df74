"""`onejob sweep`, and how the operator's commands fail."""

import subprocess
import sys
from dataclasses import replace

import pytest
import redis

from app.domain.compute import ComputeError
from app.ledger import Ledger, connect
from tests.workers.alone import dump
from tests.workers.celery_stage import CHECKOUT
from tests.workers.command_line import Onejob, complaint, onejob, published, said
from tests.workers.rig import Rig
from tests.workers.test_allegiance import emptied, running
from tests.workers.test_dangling import leave_container
from tests.workers.test_lost_nodes import silent
from tests.workers.test_sweep import due, patient
from workers import once
from workers.engine import EngineUnavailable
from workers.prepare import Unprepared

__all__ = ["onejob", "patient"]

NOWHERE = "redis://127.0.0.1:1/0"


def test_a_dry_run_tells_what_is_due_and_changes_nothing(rig: Rig, onejob: Onejob) -> None:
    rig.ledger.client.hset(f"onejob:deployment:{rig.uid}", "max_replica_count", "10")
    dangling = leave_container(rig, job_id="forgotten")  # "model" holds an attempt
    for job_id in ("lost", "late", "over", "stray"):
        rig.submit(job_id)
    rig.supervise("over")
    rig.ledger.client.zadd("onejob:due:retention", {f"{rig.uid}/over": 1}, xx=True)
    rig.ledger.client.zadd("onejob:due:ttl", {f"{rig.uid}/late": 1}, xx=True)
    rig.killed_at("after engine.create", "stray")
    silent(rig)
    rig.ledger.client.zrem(f"onejob:node:{rig.node}:leases", f"{rig.uid}/model")
    rig.ledger.nodes.lose(rig.node, 60, 1, False)
    rig.ledger.client.zadd(f"onejob:node:{rig.node}:leases", {f"{rig.uid}/model": 1})
    rig.ledger.nodes.announce(rig.node, {})
    rig.ledger.recovery.identity()
    due(rig, "lost")

    before, calls, directories = dump(rig), len(rig.engine.calls), rig.root.replicas()
    assert sorted(said(onejob("sweep", "--dry-run")).splitlines()) == sorted(
        [
            "1 waiting jobs past their TTL",
            "1 records past their retention",
            "1 lost messages of compute cpu",
            f"1 lapsed leases of node {rig.node}",
            f"dangling container {dangling}",
            f"dangling container {rig.replica('stray')}",
            "stray replica of job stray, attempt 1",
        ]
    )
    assert dump(rig) == before
    assert set(rig.engine.calls[calls:]) <= {"owned", "find"}
    assert rig.root.replicas() == directories


def test_where_nothing_is_due_it_says_so(onejob: Onejob) -> None:
    assert said(onejob("sweep", "--dry-run")) == "nothing is due\n"


def test_messages_that_lie_behind_busy_machines_are_not_told_as_lost(
    rig: Rig, onejob: Onejob
) -> None:
    rig.submit()
    due(rig, "j1")
    rig.ledger.client.lpush("compute.cpu", "it lies there")
    assert said(onejob("sweep", "--dry-run")) == "nothing is due\n"


def test_a_dry_run_says_where_this_is_not_the_nodes_ledger(rig: Rig, onejob: Onejob) -> None:
    running(rig)
    emptied(rig)
    words = said(onejob("sweep", "--dry-run"))
    assert "onejob recover" in words
    assert "dangling" not in words


def test_a_sweep_does_what_was_due(rig: Rig, onejob: Onejob) -> None:
    rig.ledger.client.hset(f"onejob:deployment:{rig.uid}", "max_replica_count", "10")
    dangling = leave_container(rig, job_id="forgotten")
    rig.submit("lost")
    due(rig, "lost")
    assert said(onejob("sweep")).splitlines()[-1] == "swept"
    assert published(rig) == 1
    assert dangling not in rig.engine.names()
    assert dangling not in rig.root.replicas()
    swept = rig.ledger.metrics.read(0).counts.labelled("swept")
    assert swept == {(k,): 1 for k in ("hint_repeated", "container_removed", "spool_removed")}
    assert said(onejob("sweep", "--dry-run")) == "nothing is due\n"


# -- how they fail -----------------------------------------------------------------------------

COMMANDS = [
    ("node", "list"),
    ("node", "forget", "n1"),
    ("recover",),
    ("sweep", "--dry-run"),
    ("sweep",),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_without_redis_they_say_so_in_one_line(
    rig: Rig, onejob: Onejob, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    site = replace(rig.site(), ledger=Ledger(connect(NOWHERE)))
    monkeypatch.setenv("ONEJOB_REDIS_URL", NOWHERE)
    monkeypatch.setattr(once, "make_site", lambda *_: site)
    line = complaint(onejob(*words))
    assert "Redis does not answer" in line
    assert "127.0.0.1:1" in line


def test_so_does_the_real_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from app.cli import main; main()", "node", "list"],
        cwd=CHECKOUT,
        env={"ONEJOB_REDIS_URL": NOWHERE, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "Redis does not answer" in line


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_wrong_setting_is_one_line_too(
    onejob: Onejob, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ONEJOB_REDIS_URL", "http://127.0.0.1")
    assert "ONEJOB_REDIS_URL" in complaint(onejob(*words))


@pytest.mark.parametrize(
    "error",
    [
        EngineUnavailable("the engine does not answer"),
        PermissionError(13, "Permission denied", "the spool root"),
        Unprepared("the usher was not compiled", "install a compiler"),
        ComputeError("the compute file is not TOML"),
        redis.ResponseError("it is not a Redis of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_sweep_lacks_is_one_line(
    onejob: Onejob, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(once, "make_site", fail)
    words = complaint(onejob("sweep", "--dry-run"))
    assert words.startswith("onejob: ")
    assert str(error) in words
