"""The table "Where it can break" of the promises, row by row: killed there, what there is of the
job, and who moves it on: a worker that begins now, by its sweep and its upkeep alone."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from app.domain.job import State
from app.ledger.payloads import CHUNK_BYTES, UPLOAD_SECONDS
from tests.workers.alone import Fresh, pass_time
from tests.workers.points import EDGES, LOOKS, POINTS, check_done_by_the_second
from tests.workers.rig import BODY, HEAD, Rig, Usher, runs, works
from workers.engine import Phase


@dataclass(frozen=True)
class Row:
    """Killed after a step: at which point, and what is there then."""

    step: str
    point: str
    state: State
    directory: bool
    container: Phase | None
    time: int = 1  # of passing the point
    script: Callable[[Usher], None] = works
    last_event: str | None = None  # in the spool


STARTING, RUNNING, SUCCEEDED = State.STARTING, State.RUNNING, State.SUCCEEDED
TABLE = [
    Row("claim", "after attempts.claim", STARTING, False, None),
    Row("spool directory made", "after spool.prepare", STARTING, True, None),
    Row("create", "after engine.create", STARTING, True, Phase.CREATED),
    Row("start called, and it runs", "after engine.start", STARTING, True, Phase.RUNNING,
        script=runs, last_event="sent"),
    Row("start called, and it is over", "after engine.start", STARTING, True, Phase.EXITED,
        last_event="exited"),
    Row("request sent, and not told", "before attempts.advance", STARTING, True, Phase.RUNNING,
        time=2, script=runs, last_event="sent"),
    Row("request sent", "after attempts.advance", RUNNING, True, Phase.RUNNING,
        time=2, script=runs, last_event="sent"),
    Row("responded", "after attempts.advance", RUNNING, True, Phase.RUNNING,
        time=2, script=lambda usher: (runs(usher), usher.respond())[0], last_event="responded"),
    Row("exited", "before attempts.finish", RUNNING, True, Phase.EXITED, last_event="exited"),
    Row("finish", "after attempts.finish", SUCCEEDED, True, Phase.EXITED, last_event="exited"),
    Row("finish, and its container removed", "after engine.remove", SUCCEEDED, True, None,
        last_event="exited"),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.step)
def test_killed_after_a_step_it_is_moved_on_by_the_next_worker_of_its_node(
    rig: Rig, row: Row
) -> None:
    rig.script = row.script
    rig.submit()
    rig.killed_at(row.point, time=row.time)
    check_row(rig, row)

    fresh = Fresh(rig)
    fresh.look()
    assert fresh.hints == []  # its lease is good
    check_row(rig, row)

    if row.script is not works:  # no worker is needed for that
        usher = rig.usher()
        usher.exit() if row.step == "responded" else usher.finish()
    fresh.run()
    check_done_by_the_second(rig)


def check_row(rig: Rig, row: Row) -> None:
    """What the ledger says, and what is there."""
    job, container = rig.job(), rig.engine.find(rig.replica())
    assert (job.state, job.node, job.fence) == (row.state, rig.node, 1)
    assert job.teardown == (rig.node if row.state.final else None)
    assert (container.phase if container else None) is row.container
    assert rig.root.replicas() == ([rig.replica()] if row.directory else [])
    assert rig.slots() == {b"j1"}
    events = rig.root.attempt(rig.replica()).read_events().splitlines()
    assert (events[-1].split()[1] if events else None) == row.last_event
    assert rig.root.attempt(rig.replica()).started() is (row.last_event is not None)


# -- the rows around it, where no node has it yet, or any more -----------------------------------


def test_payload_chunks_stored_the_client_repeats(rig: Rig) -> None:
    """The ledger says nothing, and what was stored goes by itself."""
    upload = rig.ledger.payloads.upload(b"head")
    upload.write(b"x" * (CHUNK_BYTES + 1))
    assert rig.ledger.client.keys("onejob:job:*") == []
    left = rig.ledger.client.ttl(f"onejob:payload:{upload.token}")
    assert 0 < left <= UPLOAD_SECONDS  # type: ignore[operator]
    rig.submit()
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")


@pytest.mark.parametrize("waits", [False, True], ids=["dispatched", "queued"])
def test_accept_the_sweep_publishes_the_hint(rig: Rig, waits: bool) -> None:
    if waits:
        rig.submit("first")
    rig.submit()
    assert rig.job().state is (State.QUEUED if waits else State.DISPATCHED)
    assert rig.published == []
    Fresh(rig).run()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()


def test_hint_published_or_lost_the_sweep_publishes_it_by_the_flood_rule(rig: Rig) -> None:
    rig.submit()
    fresh = Fresh(rig)
    for _ in range(3):  # one message lies there, and is enough
        rig.ledger.client.lpush("compute.cpu", "published")
        pass_time(rig)
        fresh.sweep.republish()
        assert fresh.hints == []
    rig.ledger.client.delete("compute.cpu")  # lost
    pass_time(rig)
    fresh.sweep.republish()
    assert [hint.id for hint in fresh.hints] == ["j1"]
    fresh.run()
    assert rig.fate() == ("succeeded", "exit_0")


def test_release_the_sweep_publishes_the_next_hint(rig: Rig) -> None:
    rig.submit("j1")
    rig.submit("j2")
    rig.killed_at("after attempts.release", "j1")
    assert rig.fate("j1") == ("succeeded", "exit_0")
    assert rig.job("j1").teardown is None
    assert rig.slots() == {b"j2"}
    assert rig.job("j2").state is State.DISPATCHED
    assert rig.published == []
    Fresh(rig).run()
    assert rig.fate("j2") == ("succeeded", "exit_0")
    rig.check_nothing_left()


# -- the lists that the other tests go by --------------------------------------------------------


def test_every_step_of_a_job_that_goes_well_is_a_point_to_be_killed_at(rig: Rig) -> None:
    passed: list[str] = []
    rig.submit()
    rig.supervise(site=rig.site(passed.append))
    steps = {point for point in passed if point.rpartition("spool.")[2] not in LOOKS}
    assert steps == {*POINTS, *EDGES}
    assert {row.point for row in TABLE} <= {*POINTS, *EDGES}


def test_a_result_is_kept_before_the_end_is_told(rig: Rig) -> None:
    """Else a worker that is killed in between would leave a job without its response."""
    rig.submit()
    rig.killed_at("before attempts.finish")
    (token,) = rig.ledger.client.keys("onejob:payload:r-*")
    head, body = rig.ledger.payloads.read(token.decode().removeprefix("onejob:payload:"))
    assert (head, b"".join(body)) == (HEAD, BODY)
    assert 0 < rig.ledger.client.ttl(token) <= UPLOAD_SECONDS  # type: ignore[operator]
