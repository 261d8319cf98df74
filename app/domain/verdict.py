"""How an attempt's end becomes a job's outcome: one function, one table.

What the usher recorded first wins: an app that ended before anything was done to it is judged by
its own exit, whatever was asked for later.
"""

import signal
from dataclasses import dataclass
from typing import Literal

from app.domain.job import Reason, State

Stopping = Literal["deadline", "startup", "signal"]


@dataclass(frozen=True, slots=True)
class Ending:
    """All that is known about the end of an attempt."""

    sent: bool = False  # the request began to go out
    responded: bool = False  # a complete response was stored
    response_failure: str | None = None  # closed, truncated, malformed, too_large, io
    stopping: Stopping | None = None  # why the usher began to end the job
    answered: bool = False  # something answered the health check at least once
    exit_code: int | None = None  # neither this nor a signal: nobody knows how it ended
    signal: int | None = None
    oom_kills: int = 0
    memory_peak: int | None = None  # bytes
    exec_errno: int | None = None  # the command could not be executed
    cancel: Reason | None = None  # what was asked for
    cancel_detail: str = "cancelled on request"
    last_line: str | None = None  # what the app printed last


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits that the attempt ran under, for the sentence."""

    deadline_seconds: int
    startup_seconds: int | None
    memory_bytes: int
    response_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A final state, why, and a sentence for a person."""

    state: State
    reason: Reason
    detail: str


def judge(ending: Ending, bounds: Bounds) -> Outcome:
    """The outcome of an attempt whose process has ended."""
    if ending.exec_errno is not None:
        return _failed(Reason.COMMAND_NOT_FOUND, _exec_sentence(ending), ending)
    if ending.stopping is not None:
        return _stopped(ending, bounds)
    if ending.oom_kills > 0 and _exit_status(ending) != 0:
        return _failed(Reason.OOM_KILLED, _oom_sentence(ending, bounds), ending)
    if ending.exit_code is None and ending.signal is None:
        detail = "the replica went down with its machine or its engine: how it ended is not known"
        return _failed(Reason.ENGINE_LOST, detail, ending)
    if not ending.sent:
        how = f"the process ended before the request was sent: {_how(ending)}"
        return _failed(Reason.EXITED_BEFORE_REQUEST, how, ending)
    if ending.response_failure == "too_large":
        # Whatever the app did then: we closed the connection in the middle of its answer.
        detail = f"the response is over the limit of {bounds.response_bytes} bytes"
        return _failed(Reason.RESPONSE_TOO_LARGE, detail, ending)
    if ending.signal is not None:
        return _failed(Reason.SIGNALLED, f"the process was ended by {_how(ending)}", ending)
    if ending.exit_code != 0:
        return _failed(Reason.EXIT_NONZERO, f"the process ended with {_how(ending)}", ending)
    return _exit_0(ending)


def _stopped(ending: Ending, bounds: Bounds) -> Outcome:
    if ending.stopping == "deadline":
        where = "while working" if ending.sent else "before the request was sent"
        detail = f"the deadline of {bounds.deadline_seconds} s passed {where}"
        return Outcome(State.TIMED_OUT, Reason.DEADLINE, _with_last_line(detail, ending))
    if ending.stopping == "startup":
        if ending.answered:
            detail = f"the health check was never good within {bounds.startup_seconds} s"
            return _failed(Reason.NEVER_HEALTHY, detail, ending)
        detail = f"nothing answered the health check within {bounds.startup_seconds} s"
        return _failed(Reason.STARTUP_TIMEOUT, detail, ending)
    if ending.cancel is not None:
        return Outcome(State.CANCELLED, ending.cancel, ending.cancel_detail)
    return _failed(Reason.SIGNALLED, "the replica was stopped from outside by SIGTERM", ending)


def _exit_0(ending: Ending) -> Outcome:
    # `closed`: not one byte came, which an app that only does something may well do.
    if ending.response_failure not in (None, "closed"):
        detail = f"the response could not be kept: {ending.response_failure}"
        return _failed(Reason.RESPONSE_INVALID, detail, ending)
    return Outcome(State.SUCCEEDED, Reason.EXIT_0, "the process exited with 0")


def _failed(reason: Reason, detail: str, ending: Ending) -> Outcome:
    return Outcome(State.FAILED, reason, _with_last_line(detail, ending))


def _with_last_line(detail: str, ending: Ending) -> str:
    return f"{detail}; last log line: {ending.last_line}" if ending.last_line else detail


def _exit_status(ending: Ending) -> int:
    if ending.signal is not None:
        return 128 + ending.signal
    return ending.exit_code or 0


def _how(ending: Ending) -> str:
    if ending.signal is not None:
        return f"signal {ending.signal} ({_signal_name(ending.signal)})"
    return f"exit code {ending.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _exec_sentence(ending: Ending) -> str:
    return f"the image's command could not be executed (errno {ending.exec_errno})"


def _oom_sentence(ending: Ending, bounds: Bounds) -> str:
    limit = f"limit {bounds.memory_bytes // 2**20} MiB"
    peak = f"peak {ending.memory_peak // 2**20} MiB, " if ending.memory_peak else ""
    return f"out of memory ({peak}{limit}): {_how(ending)}"
