"""A Redis over its memory limit: the sweep of a worker goes on with all that it can do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from app.domain.job import State
from tests.workers.rig import Rig
from tests.workers.test_sweep import due
from workers.sweep import Sweep


@contextmanager
def full(rig: Rig) -> Iterator[None]:
    client: Any = rig.ledger.client
    client.config_set("maxmemory", "1")
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


def test_a_lost_message_does_not_keep_a_full_redis_from_being_swept(wide: Rig) -> None:
    rig = wide
    for job_id in ("waits", "late", "held", "over"):
        rig.submit(job_id)
    rig.supervise("over")
    rig.killed_at("after attempts.claim", "held")
    rig.lapse("held")
    due(rig, "waits")
    client = rig.ledger.client
    client.hset(f"onejob:job:{rig.uid}:late", "expires_at", "1000000000.000000")
    client.zadd("onejob:due:ttl", {f"{rig.uid}/late": 1}, xx=True)
    client.zadd("onejob:due:retention", {f"{rig.uid}/over": 1}, xx=True)
    with full(rig):
        rig.sweep().sweep(1000.0)
    assert [hint.id for hint in rig.published] == ["waits"]
    assert [hint.id for hint in rig.to_node_published] == ["held"]
    assert rig.job("late").state is State.EXPIRED
    assert not client.exists(f"onejob:job:{rig.uid}:over")


def test_a_job_in_teardown_does_not_keep_others_from_being_forgotten(wide: Rig) -> None:
    rig, client = wide, wide.ledger.client
    for job_id in ("torn", "over"):
        rig.submit(job_id)
    rig.supervise("over")
    rig.killed_at("after attempts.finish", "torn")
    client.zadd("onejob:due:retention", {f"{rig.uid}/torn": 1, f"{rig.uid}/over": 2})
    with full(rig):
        rig.sweep().forget()
    assert client.exists(f"onejob:job:{rig.uid}:torn")
    assert not client.exists(f"onejob:job:{rig.uid}:over")


def test_an_error_of_one_step_is_not_the_others(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Redis answers, so it is there: the next step asks it something else."""

    def refuse(*_: object) -> None:
        raise redis.ResponseError("a script that is wrong")

    rig.submit()
    rig.killed_at("after attempts.claim")
    rig.lapse()
    site = rig.site()
    site.ledger.jobs.__dict__["due_hints"] = refuse
    Sweep(site, rig).sweep(1000.0)  # type: ignore[arg-type]
    assert [hint.id for hint in rig.to_node_published] == ["j1"]
    assert "a script that is wrong" in caplog.text
