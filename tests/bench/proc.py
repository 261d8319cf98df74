"""What the kernel says of processes: memory, processor time, connections."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = defaultdict(list)
    for one in _pids():
        with suppress(OSError):  # gone meanwhile
            children[int(_stat(one)[1])].append(one)
    found, new = [pid], [pid]
    while new:
        new = [child for parent in new for child in children[parent]]
        found += new
    return found


def named(prefix: str) -> list[int]:
    """All processes whose program's name begins so."""
    found = []
    for pid in _pids():
        with suppress(OSError):
            if (PROC / str(pid) / "comm").read_text().startswith(prefix):
                found.append(pid)
    return found


def parent(pid: int) -> int:
    """Its parent, 0 if it is gone."""
    with suppress(OSError):
        return int(_stat(pid)[1])
    return 0


def command(pid: int) -> list[str]:
    """Its arguments, none if it is gone."""
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0")[:-1]
    return []


def pss_mib(pids: Iterable[int]) -> float:
    """Proportional set size: what is shared counts in shares."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            found = _PSS.search((PROC / str(pid) / "smaps_rollup").read_text())
            total += int(found[1]) if found else 0
    return total / 1024


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that they have used, and those of their children that they waited for."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += sum(int(ticks) for ticks in _stat(pid)[11:15])
    return total / TICKS


def connections(pid: int, port: int) -> int:
    """Established connections to a local port that this process holds."""
    here = f":{port:04X}"
    rows = [line.split() for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]]
    wanted = {row[9] for row in rows if row[1].endswith(here) and row[3] == _ESTABLISHED}
    held = (match[1] for link in _links(pid) if (match := _SOCKET.fullmatch(link)))
    return sum(inode in wanted for inode in held)


def _links(pid: int) -> list[str]:
    found = []
    for entry in (PROC / str(pid) / "fd").iterdir():
        with suppress(OSError):
            found.append(os.readlink(entry))
    return found


def _stat(pid: int) -> list[str]:
    """The fields behind the name, which may hold anything: state, parent, …"""
    return (PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()


def _pids() -> list[int]:
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
