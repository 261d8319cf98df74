"""Keeps the packet filter rules of the replicas' network while the services are up.

The worker adds them itself where it can. In a container it can't: they belong to the network
namespace of the engine's host, which a worker need not be in. So this does nothing else, in that
namespace, with the right to change it, and without the engine's socket.

It looks again and again, since a firewall that is loaded anew takes our rules away. At the end it
takes them away itself, unless a replica is still there.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from workers.docker_network import rules

PROGRAMS = ("iptables-nft", "iptables-legacy", "iptables")
LOOK_SECONDS = 30.0
CALL_SECONDS = 10.0
DONE = Path("/tmp/shielded")  # there while all rules are; the health check looks


def main() -> None:
    """Runs until SIGTERM."""
    interface, over = os.environ["REPLICA_BRIDGE"], threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    told: str | None = None
    while not over.is_set():
        words = shield(interface)
        if words != told:
            _say(words or f"replicas on {interface} are kept from this machine's services")
        told = words
        over.wait(LOOK_SECONDS)
    if not _in_use(interface):
        unshield(interface)


def shield(interface: str) -> str:
    """Adds the rules that are missing; why replicas are not kept apart, empty if they are."""
    program = _program()
    if program is None:
        words = "no iptables here knows the engine's chain DOCKER-USER"
    else:
        words = "; ".join(filter(None, (_add(program, *rule) for rule in rules(interface))))
    if words:
        DONE.unlink(missing_ok=True)
        return f"replicas can reach services of this machine: {words}"
    DONE.touch()
    return ""


def unshield(interface: str) -> None:
    """Removes the rules that are there."""
    DONE.unlink(missing_ok=True)
    program = _program()
    if program is None:
        return
    for chain, *match in rules(interface):
        while _call(program, "-D", chain, *match) == "":
            pass  # it may have been added twice


def _add(program: str, chain: str, *match: str) -> str:
    if _call(program, "-C", chain, *match) == "":
        return ""
    return _call(program, "-I", chain, *match)


def _program() -> str | None:
    """The iptables whose tables the engine uses: there are two kinds, which do not meet."""
    for program in filter(shutil.which, PROGRAMS):
        if _call(program, "-S", "DOCKER-USER") == "":
            return program
    return None


def _call(program: str, *arguments: str) -> str:
    """The words of a failure, empty if there was none."""
    argv: Sequence[str] = [program, "-w", "5", *arguments]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=CALL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{program}: {done.returncode}"


def _in_use(interface: str) -> bool:
    ports = Path("/sys/class/net") / interface / "brif"
    return ports.is_dir() and any(ports.iterdir())


def _say(text: str) -> None:
    print(f"firewall: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
