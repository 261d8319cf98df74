"""The deployment's retry policy: which ends are followed by another attempt."""

from typing import Any

import pytest

from app.domain.job import Reason, State
from tests.workers.rig import BODY, Rig, Usher, works


@pytest.fixture
def retrying(rig: Rig) -> Rig:
    """Three attempts, after an exit other than 0, out of memory, or a lost engine."""
    on = ["exit_nonzero", "oom_killed", "engine_lost"]
    rig.respec(retry_policy={"max_attempts": 3, "on": on})
    rig.submit()
    return rig


def exits(code: int, words: str = "oom_kills=0") -> Any:
    def script(usher: Usher) -> None:
        usher.start()
        usher.send()
        usher.respond(body=b"half")
        usher.exit(code, words)

    return script


def reasons(rig: Rig) -> list[Reason]:
    return [earlier.reason for earlier in rig.ledger.jobs.view(rig.uid, "j1").earlier]


def test_an_end_that_the_policy_names_is_followed_by_another_attempt(retrying: Rig) -> None:
    retrying.script = exits(1)
    assert retrying.supervise() is None
    job = retrying.job()
    assert (job.state, job.attempt, job.exit_code) == (State.DISPATCHED, 2, None)
    assert retrying.engine.names() == set()
    assert retrying.root.replicas() == []
    retrying.script = works
    retrying.supervise()
    assert retrying.fate() == ("succeeded", "exit_0")
    answer = retrying.result()
    assert answer is not None
    assert answer[1] == BODY  # the last attempt's
    assert reasons(retrying) == [Reason.EXIT_NONZERO]
    retrying.check_nothing_left()


def test_attempts_are_bounded_and_the_last_ones_end_is_the_jobs(retrying: Rig) -> None:
    for script in (exits(1), exits(137, "oom_kills=1"), exits(3)):
        retrying.script = script
        retrying.supervise()
    assert retrying.fate() == ("failed", "exit_nonzero")
    assert (retrying.job().attempt, retrying.job().exit_code) == (3, 3)
    assert reasons(retrying) == [Reason.EXIT_NONZERO, Reason.OOM_KILLED]
    answer = retrying.result()
    assert answer is not None
    assert answer[1] == b"half"
    retrying.check_nothing_left()


def test_an_end_that_it_does_not_name_is_final(retrying: Rig) -> None:
    retrying.script = lambda usher: (usher.start(), usher.send(), usher.signalled(11))  # type: ignore[assignment,return-value]
    retrying.supervise()
    assert retrying.fate() == ("failed", "signalled")
    assert retrying.job().attempt == 1


def test_a_cancelled_job_is_not_tried_again(retrying: Rig) -> None:
    retrying.script = exits(1)

    def cancel(point: str) -> None:
        if point == "after engine.start":
            retrying.ledger.jobs.cancel(retrying.uid, "j1", Reason.CANCELLED, "on request")

    site = retrying.site(cancel)
    retrying.supervise(site=site)
    assert retrying.job().state.final or retrying.job().attempt == 2
    retrying.supervise()
    assert retrying.job().state.final


def test_without_a_policy_nothing_that_was_sent_is_tried_again(rig: Rig) -> None:
    rig.submit()
    rig.script = exits(1)
    rig.supervise()
    assert rig.fate() == ("failed", "exit_nonzero")
    assert rig.engine.made == {rig.replica(): 1}


@pytest.mark.parametrize(
    "point",
    [
        "before attempts.abandon",
        "after attempts.abandon",
        "before engine.remove",
        "after engine.remove",
        "before spool.remove",
        "after spool.remove",
        "before attempts.requeue",
        "after attempts.requeue",
    ],
)
def test_killed_while_it_gives_an_attempt_up_it_is_given_up_once(retrying: Rig, point: str) -> None:
    retrying.script = exits(1)
    retrying.killed_at(point)
    retrying.lapse()
    retrying.script = works
    for _ in range(2):
        retrying.supervise()
    assert retrying.fate() == ("succeeded", "exit_0")
    assert retrying.job().attempt == 2
    assert reasons(retrying) == [Reason.EXIT_NONZERO]
    assert retrying.engine.made == {retrying.replica(): 1, retrying.replica(attempt=2): 1}
    retrying.check_nothing_left()
