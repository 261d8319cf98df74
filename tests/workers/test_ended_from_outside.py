"""A replica that its engine ended, or its machine: what is tried again, and what is told."""

from collections.abc import Callable

import pytest

from app.domain.job import Reason
from tests.workers.rig import Rig, Usher, works
from workers.heartbeat import Heartbeat

Script = Callable[[Usher], None]


def stopped(usher: Usher) -> None:
    """SIGTERM to process 1, as an engine does that comes back without live-restore."""
    usher.tell("stopping why=signal health=none")
    usher.signalled(15)


def killed(usher: Usher) -> None:
    """SIGKILL to process 1: its usher could not say a word."""
    usher.exit(137, told=False)


def out_of_memory(usher: Usher) -> None:
    """The kernel killed process 1 for the app's memory."""
    usher.engine.exit(usher.name, 137, oom_killed=True)  # type: ignore[attr-defined]


def machine_died(usher: Usher) -> None:
    """All that the engine knows afterwards is that it does not run."""
    usher.exit(255, told=False)


def ended(rig: Rig, *steps: Script) -> None:
    """Runs an attempt whose replica starts, does this, and is found by the listing if need be."""

    def script(usher: Usher) -> None:
        usher.start()
        for step in steps:
            step(usher)

    rig.script = script
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until(lambda: not task.is_alive() or any(e.following for e in site.roster.all()))
    Heartbeat(site).list(0)
    task.answer()


@pytest.mark.parametrize("ends", [stopped, killed])
def test_before_the_request_was_sent_another_attempt_follows(rig: Rig, ends: Script) -> None:
    rig.submit()
    ended(rig, ends)
    assert rig.job().attempt == 2
    (earlier,) = rig.ledger.jobs.view(rig.uid, "j1").earlier
    assert earlier.reason is Reason.ENGINE_LOST
    rig.script = works
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()


@pytest.mark.parametrize("ends", [stopped, killed])
def test_those_attempts_are_bounded(rig: Rig, ends: Script) -> None:
    rig.submit()
    for _ in range(rig.settings.max_attempts):
        ended(rig, ends)
    assert rig.job().attempt == rig.settings.max_attempts
    assert rig.job().state.final
    rig.check_nothing_left()


ENDS = [
    (True, stopped, "signalled"),
    (True, killed, "signalled"),
    (True, machine_died, "engine_lost"),
    (False, out_of_memory, "oom_killed"),
    # What the usher wrote last may be lost with the machine: that nothing was sent can't be known.
    (False, machine_died, "engine_lost"),
]


@pytest.mark.parametrize(("sent", "ends", "reason"), ENDS)
def test_all_else_is_final(rig: Rig, sent: bool, ends: Script, reason: str) -> None:
    rig.submit()
    ended(rig, *([Usher.send] if sent else []), ends)
    assert rig.fate() == ("failed", reason)
    assert rig.job().attempt == 1
    assert (rig.job().exit_code is None) is (ends is machine_died)
    rig.check_nothing_left()


def test_one_that_was_cancelled_meanwhile_is_not_tried_again(rig: Rig) -> None:
    def cancel(_: Usher) -> None:
        rig.ledger.jobs.cancel(rig.uid, "j1", Reason.CANCELLED, "by a test")

    rig.submit()
    ended(rig, cancel, stopped)
    assert rig.fate() == ("cancelled", "cancelled")
    assert rig.job().attempt == 1
    rig.check_nothing_left()
