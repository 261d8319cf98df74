"""A process that is stopped (SIGSTOP), as one that hangs."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_SECONDS = 20.0
STOPPED = "T"


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """It does nothing for as long as the block lasts."""
    try:
        stop(pid)
        yield
    finally:
        with suppress(ProcessLookupError):  # it was killed meanwhile
            os.kill(pid, signal.SIGCONT)


def stop(pid: int) -> None:
    """SIGSTOP; returns once none of its threads runs: until then it may still answer.

    One that does not stop is let go on, for the sake of other tests.
    """
    os.kill(pid, signal.SIGSTOP)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while set(_states(pid)) != {STOPPED}:
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGCONT)
            raise AssertionError(f"process {pid} does not stop")
        time.sleep(0.002)  # of a process that is no child nobody tells when it has stopped


def _states(pid: int) -> Iterator[str]:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            # Behind the name, which stands in brackets and may have any character.
            yield (thread / "stat").read_text().rpartition(")")[2].split()[0]
