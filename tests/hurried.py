"""A process that goes before all others, where a test measures how soon it does what it must.

On a machine that is busy with other tests it would measure how long one waits for a processor.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

HIGHEST = -20
AT_MOST_SECONDS = 30.0  # are waited for an end
_TIMED = """
import os, select, signal, sys, time
process = os.pidfd_open(int(sys.argv[1]))
sys.stdin.readline()
began = time.monotonic()
signal.pidfd_send_signal(process, signal.SIGTERM)
select.select([process], [], [], float(sys.argv[2]))
print(time.monotonic() - began)
"""


def hurry(pid: int) -> None:
    """As root, has a process go before all others of this machine; with it goes its whole session.

    Its own priority is not enough: Linux shares processors out among sessions first, each of which
    has a priority as well. In a container neither counts: see `SecondEngine.favour`.
    """
    with suppress(OSError):  # no right to, it has ended, or sessions have none here
        Path(f"/proc/{pid}/autogroup").write_text(str(HIGHEST))
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):  # no right to, or this one has ended
            os.setpriority(os.PRIO_PROCESS, int(thread.name), HIGHEST)


def seconds_to_end(pid: int) -> float:
    """SIGTERM to a process; how many seconds it takes to end. Who measures that hurries, too."""
    argv = [sys.executable, "-I", "-S", "-c", _TIMED, str(pid), str(AT_MOST_SECONDS)]
    watch = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    for hurried in (pid, watch.pid):
        hurry(hurried)
    said, _ = watch.communicate("\n")
    assert watch.returncode == 0, f"process {pid} had ended already"
    return float(said)
