"""A container whose first process ended before it became our usher: no app has run.

The runtime's own process (runc's) ends with code 2 and without a word, where SIGTERM finds it.
"""

from app.domain.job import Reason
from tests.workers.rig import Rig, works


def ended_early(rig: Rig) -> None:
    """A worker started the container, and was killed; then it was stopped."""
    rig.script = lambda usher: None
    rig.submit()
    rig.killed_at("after engine.start")
    rig.engine.exit(rig.replica(), 2)
    rig.lapse()


def test_where_a_cancel_was_asked_for_it_is_cancelled(rig: Rig) -> None:
    ended_early(rig)
    rig.ledger.jobs.cancel(rig.uid, "j1", Reason.CANCELLED, "on request")
    rig.supervise()
    assert rig.fate() == ("cancelled", "cancelled")
    rig.check_nothing_left()


def test_else_another_attempt_follows(rig: Rig) -> None:
    ended_early(rig)
    assert rig.supervise() is None
    assert rig.job().attempt == 2
    rig.script = works
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()
