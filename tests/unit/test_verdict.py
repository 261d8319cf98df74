"""Every way in which an attempt can end, and what is made of it."""

import pytest

from app.domain.job import Reason, State
from app.domain.verdict import Bounds, Ending, judge

BOUNDS = Bounds(
    deadline_seconds=60, startup_seconds=5, memory_bytes=256 * 2**20, response_bytes=1000
)
FAILED = State.FAILED

TABLE = [
    (Ending(sent=True, responded=True, exit_code=0), State.SUCCEEDED, Reason.EXIT_0),
    (Ending(sent=True, exit_code=0), State.SUCCEEDED, Reason.EXIT_0),
    (Ending(sent=True, exit_code=0, response_failure="closed"), State.SUCCEEDED, Reason.EXIT_0),
    (Ending(sent=True, responded=True, exit_code=1), FAILED, Reason.EXIT_NONZERO),
    (Ending(sent=True, signal=11), FAILED, Reason.SIGNALLED),
    (Ending(sent=True, signal=9, oom_kills=1), FAILED, Reason.OOM_KILLED),
    (Ending(sent=True, exit_code=137, oom_kills=1), FAILED, Reason.OOM_KILLED),
    (Ending(sent=True, responded=True, exit_code=0, oom_kills=1), State.SUCCEEDED, Reason.EXIT_0),
    (Ending(exit_code=0), FAILED, Reason.EXITED_BEFORE_REQUEST),
    (Ending(sent=True, responded=True), FAILED, Reason.ENGINE_LOST),
    (Ending(), FAILED, Reason.ENGINE_LOST),
    (Ending(exit_code=3), FAILED, Reason.EXITED_BEFORE_REQUEST),
    (Ending(exit_code=137, oom_kills=1), FAILED, Reason.OOM_KILLED),
    (Ending(exit_code=127, exec_errno=2), FAILED, Reason.COMMAND_NOT_FOUND),
    (
        Ending(sent=True, exit_code=0, response_failure="truncated"),
        FAILED,
        Reason.RESPONSE_INVALID,
    ),
    (
        Ending(sent=True, exit_code=0, response_failure="malformed"),
        FAILED,
        Reason.RESPONSE_INVALID,
    ),
    (
        Ending(sent=True, exit_code=0, response_failure="too_large"),
        FAILED,
        Reason.RESPONSE_TOO_LARGE,
    ),
    (Ending(sent=True, exit_code=2, response_failure="truncated"), FAILED, Reason.EXIT_NONZERO),
    # The app died of the connection that was closed on it.
    (
        Ending(sent=True, exit_code=1, response_failure="too_large"),
        FAILED,
        Reason.RESPONSE_TOO_LARGE,
    ),
    (Ending(sent=True, signal=13, response_failure="too_large"), FAILED, Reason.RESPONSE_TOO_LARGE),
    (Ending(stopping="startup", signal=15), FAILED, Reason.STARTUP_TIMEOUT),
    (Ending(stopping="startup", answered=True, signal=15), FAILED, Reason.NEVER_HEALTHY),
    (Ending(stopping="deadline", signal=9), State.TIMED_OUT, Reason.DEADLINE),
    (Ending(stopping="deadline", sent=True, exit_code=0), State.TIMED_OUT, Reason.DEADLINE),
    (
        Ending(stopping="deadline", sent=True, signal=15, cancel=Reason.CANCELLED),
        State.TIMED_OUT,
        Reason.DEADLINE,
    ),
    (
        Ending(stopping="signal", sent=True, signal=15, cancel=Reason.CANCELLED),
        State.CANCELLED,
        Reason.CANCELLED,
    ),
    (
        Ending(stopping="signal", sent=True, exit_code=0, cancel=Reason.DEPLOYMENT_DELETED),
        State.CANCELLED,
        Reason.DEPLOYMENT_DELETED,
    ),
    (Ending(stopping="signal", sent=True, signal=15), FAILED, Reason.SIGNALLED),
    # Asked for too late: the app had ended by itself.
    (Ending(sent=True, signal=15, cancel=Reason.CANCELLED), FAILED, Reason.SIGNALLED),
    (
        Ending(sent=True, responded=True, exit_code=0, cancel=Reason.CANCELLED),
        State.SUCCEEDED,
        Reason.EXIT_0,
    ),
]


@pytest.mark.parametrize(("ending", "state", "reason"), TABLE)
def test_an_ending_becomes_one_outcome(ending: Ending, state: State, reason: Reason) -> None:
    outcome = judge(ending, BOUNDS)
    assert (outcome.state, outcome.reason) == (state, reason)
    assert outcome.state.final
    assert outcome.detail


def test_the_sentence_says_exit_code_and_last_log_line() -> None:
    outcome = judge(Ending(sent=True, exit_code=3, last_line="disk is full"), BOUNDS)
    assert "exit code 3" in outcome.detail
    assert outcome.detail.endswith("last log line: disk is full")


def test_the_sentence_names_the_signal() -> None:
    assert "SIGSEGV" in judge(Ending(sent=True, signal=11), BOUNDS).detail


def test_the_sentence_of_an_oom_kill_says_peak_and_limit() -> None:
    ending = Ending(sent=True, signal=9, oom_kills=1, memory_peak=255 * 2**20)
    detail = judge(ending, BOUNDS).detail
    assert "peak 255 MiB" in detail
    assert "limit 256 MiB" in detail


def test_a_signal_without_a_name_is_still_told() -> None:
    assert "signal 99" in judge(Ending(sent=True, signal=99), BOUNDS).detail
