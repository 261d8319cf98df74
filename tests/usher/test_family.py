"""All that descend from the app: they do not hold the job, and none outlives it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.usher.replica import Replica, at_best

HEAD = "b'HTTP/1.1 200 OK\\r\\n"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


CHILD_HOLDS = (
    "c = take_job(); c.sendall({answer})\n"
    "r, w = os.pipe()\n"
    "if os.fork() == 0: on(signal.SIGTERM, signal.SIG_IGN); os.write(w, b'.'); forever()\n"
    "os.read(r, 1); os._exit(0)\n"
)
HELD = {
    "complete": ("OK", "responded", "bytes", "2"),
    "without-length": (f"{HEAD}\\r\\nhello'", "responded", "bytes", "5"),
    "short-of-length": (f"{HEAD}Content-Length: 9\\r\\n\\r\\nhello'", "response_failed", "why",
                        "truncated"),
    "nothing": ("b''", "response_failed", "why", "closed"),
}  # fmt: skip


@pytest.mark.parametrize("answer, name, key, value", HELD.values(), ids=HELD)
def test_children_that_hold_the_socket_do_not_hold_the_job(
    new_replica: Callable[[], Replica], answer: str, name: str, key: str, value: str, alone: bool
) -> None:
    def seconds() -> float:
        replica, began = new_replica(), time.monotonic()
        assert replica.run(CHILD_HOLDS.format(answer=answer), alone=alone) == 0
        assert replica.values(name)[key] == value
        assert "killed" not in replica.names()
        return time.monotonic() - began

    assert at_best(seconds, 2) < 2


def test_a_command_that_goes_into_the_background_is_over(replica: Replica, alone: bool) -> None:
    lines = (
        "if os.fork() == 0:\n"
        "    os.setsid(); say('daemon', str(os.getpid()))\n"
        "    c = take_job(); c.sendall(OK); forever()\n"
        "while not os.path.exists('daemon'): time.sleep(0.001)\n"
        "os._exit(0)\n"
    )
    assert replica.run(lines, alone=alone) == 0
    assert replica.names()[0] == "started"
    assert replica.names()[-1] == "exited"
    assert replica.values("exited")["code"] == "0"
    if not alone:  # else it went with process 1
        os.kill(int(replica.said("daemon")), signal.SIGKILL)


def test_a_child_that_goes_on_writing_does_not_hold_the_job(
    new_replica: Callable[[], Replica], alone: bool
) -> None:
    lines = (
        f"c = take_job(); c.sendall({HEAD}\\r\\n')\n"
        "if os.fork() == 0:\n    while True: c.sendall(b'x' * 60000)\n"
        "time.sleep(0.05); os._exit(0)\n"
    )

    def seconds() -> float:
        replica, began = new_replica(), time.monotonic()
        assert replica.run(lines, alone=alone) == 0
        assert replica.names()[-1] == "exited"
        return time.monotonic() - began

    assert at_best(seconds, 4) < 4


@pytest.mark.usefixtures("as_root")
def test_no_process_outlives_the_replica(replica: Replica) -> None:
    lines = (
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        on(signal.SIGTERM, signal.SIG_IGN); say('pid', str(os.getpid())); forever()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "while not os.path.exists('pid'): time.sleep(0.001)\n"
        "os._exit(7)\n"
    )
    replica.write_app(lines)
    replica.start(alone=True)
    assert replica.wait() == 7
    marker = str(replica.home)
    left = [p for p in os.listdir("/proc") if p.isdigit() and _works_in(p, marker)]
    assert left == []


def _works_in(pid: str, folder: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == folder and alive(int(pid))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


CHILD_APART = (
    "if os.fork() == 0:\n"
    "    os.setsid(); on(signal.SIGTERM, {action}); say('ready'); forever()\n"
    "c = take_job(); forever()\n"
)


def ends_by_a_stop(replica: Replica, action: str) -> None:
    """An app that ends at once, and whose child does that instead."""
    replica.write_app(CHILD_APART.format(action=action))
    replica.start(alone=True)
    replica.until_event("sent")
    replica.said_exists("ready")
    replica.signal(signal.SIGTERM)
    assert replica.wait() == 128 + 15
    assert replica.values("exited")["signal"] == "15"  # the app's own end, not its child's


@pytest.mark.usefixtures("as_root")
def test_every_process_gets_the_stop_signal(replica: Replica) -> None:
    ends_by_a_stop(replica, "lambda *_: (say('child', 'asked'), os._exit(0))")
    assert replica.said("child") == "asked"
    assert replica.names()[3:] == ["stopping", "response_failed", "exited"]


@pytest.mark.usefixtures("as_root")
def test_every_process_is_killed_after_the_grace(replica: Replica) -> None:
    replica.write_plan(grace_ms=200)
    ends_by_a_stop(replica, "signal.SIG_IGN")
    assert sorted(replica.names()[3:]) == ["exited", "killed", "response_failed", "stopping"]
    assert replica.until_event("killed").at - replica.until_event("stopping").at >= 199_000


def test_orphans_are_reaped_while_the_app_runs(replica: Replica, alone: bool) -> None:
    lines = (
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        if os.fork() == 0: time.sleep(0.01); os._exit(0)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "say('made')\n"
        "def zombies():\n"
        "    found = []\n"
        "    for p in os.listdir('/proc'):\n"
        "        try: stat = open(f'/proc/{p}/stat').read() if p.isdigit() else ''\n"
        "        except OSError: continue\n"
        "        words = stat.rpartition(')')[2].split()\n"
        "        if words and words[1] == str(os.getppid()) and p != str(os.getpid()):\n"
        "            found.append(p)\n"
        "    return found\n"
        "end = time.time() + 30\n"
        "while zombies() and time.time() < end: time.sleep(0.005)\n"
        "os._exit(len(zombies()))\n"
    )
    assert replica.run(lines, alone=alone) == 0


def test_outside_of_a_replica_nobody_else_is_signalled(
    replica: Replica, new_replica: Callable[[], Replica]
) -> None:
    other = new_replica()
    other.write_app("say('ready'); forever()")
    other.start()
    other.said_exists("ready")
    assert replica.run("forever()", deadline_ms=100) == 128 + 15
    assert other.process is not None
    assert other.process.poll() is None
