"""Another machine, as far as programs can tell: processes, mounts, network and name of its own.

It is made of Linux namespaces on this machine, shares its file system (but for /run), and hangs on
one cable: a veth pair, whose other end is here. It ends with the process that tests, whatever
happens to that: process 1 of the machine reads from it, and takes all others along.
"""

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.conftest import require
from tests.hurried import hurry

TOOLS = ("unshare", "nsenter", "ip", "iptables", "mount")
UPLINK = "uplink"  # the cable's end over there
# Copies of this machine's mounts are let go: they would keep its containers' mounts and network
# namespaces from going. Process 1 ignores SIGCHLD, so that the kernel buries all orphans.
_BOOT = r"""
set -eu
echo "$1" >/proc/sys/kernel/hostname
cd /
while read -r _ _ _ _ point _; do
    case $point in /run | /run/* | /var/lib/docker | /var/lib/docker/*)
        umount -l "$point" 2>/dev/null || true ;; # it went with the one above it
    esac
done </proc/self/mountinfo
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
echo booted
exec env --ignore-signal=CHLD cat
"""
# By way of a shell that ends at once: process 1 becomes the parent and buries it. nsenter would not
# while it is stopped, as it is with its child, and this machine's process 1 may take its time.
_START = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'


def require_machine() -> None:
    """Skips the test, or fails it where CI is set, unless a machine can be made here."""
    require(os.geteuid() == 0, "another machine takes root")
    for tool in TOOLS:
        require(shutil.which(tool), f"{tool} is not installed")


class Process:
    """A process that is no child of ours; its id is never mistaken for a later one's."""

    def __init__(self, pid: int | None) -> None:
        """None: of one that has ended before its id could be told."""
        self.pid = pid or 0
        self._handle: int | None = None
        if pid is not None:
            with suppress(ProcessLookupError):
                self._handle = os.pidfd_open(pid)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def hurry(self) -> None:
        """As root, has it go before all others of this machine, busy as it may be."""
        if self._handle is not None:
            hurry(self.pid)

    def ended(self, within: float | None = 0) -> bool:
        """Whether it has ended, or does in so many seconds; None: as long as it takes."""
        if self._handle is None:
            return True
        if not select.select([self._handle], [], [], within)[0]:
            return False
        os.close(self._handle)
        self._handle = None
        return True

    def kill(self) -> None:
        """kill -9; waits for the end."""
        self.send(signal.SIGKILL)
        self.ended(within=None)


class Machine:
    """One machine and its cable; off until it boots. Its name is the cable's end here as well.

    No other machine may have its name, of 15 characters at most, or its number, of one byte.
    """

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        # The addresses of both ends of the cable. 198.18.0.0/15 is for tests of networks: no engine
        # takes its bridges from there.
        self.here, self.there = f"198.18.{number}.1", f"198.18.{number}.2"
        self._unshare: subprocess.Popen[str] | None = None
        self._silenced = False
        self._first = 0  # the id of its process 1, as seen from here

    @property
    def on(self) -> bool:
        """Whether it has booted, and was not killed."""
        return self._unshare is not None

    @property
    def prefix(self) -> list[str]:
        """Put before a command, this runs it on the machine's network, under its name.

        It is a process of ours otherwise, which ends with the machine's death.
        """
        return ["nsenter", f"--target={self._first}", "--net", "--uts", "--"]

    def boot(self) -> None:
        """Switches it on, with a fresh /run."""
        self.remove_cable()  # one that a killed test left
        argv = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--net", "--uts"]
        self._unshare = subprocess.Popen(
            [*argv, "sh", "-c", _BOOT, "boot", self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        output = self._unshare.stdout
        assert output is not None
        said = output.readline()
        assert said == "booted\n", f"the machine did not boot: {said}{output.read()}"
        self._first = _child_of(self._unshare.pid)
        self._lay_cable()

    def kill(self) -> None:
        """Pulls its plug: all that runs on it is gone when this returns.

        The cable goes first: nobody is told, not even by the end of a connection.
        """
        if self._unshare is None:
            return
        self.remove_cable()
        network = _network(self._first)
        Process(self._first).kill()
        self._unshare.communicate()  # all others of the machine's own have ended by then
        self._unshare, self._silenced = None, False
        while guests := [p for p in _processes() if network and _network(p) == network]:
            for guest in guests:
                Process(guest).kill()

    def run(self, argv: Sequence[str]) -> str:
        """Runs a command on its network; what it printed. Raises CalledProcessError."""
        return run([*self.prefix, *argv])

    def start(self, argv: Sequence[str], log: Path) -> "Process":
        """Starts one of its own processes, of which process 1 is the parent."""
        into = ["--net", "--uts", "--mount", "--pid", "--"]
        shell = ["sh", "-c", _START, "start", str(log), *argv]
        inner = run(["nsenter", f"--target={self._first}", *into, *shell]).strip()
        outer = [p for p in _processes() if _ids(p) == [str(p), inner] and self._has(p)]
        return Process(*outer or [None])

    def cut(self, silently: bool = False) -> None:
        """Takes it off the network: its link is down; or `silently`, all packets are lost."""
        if not silently:
            self.run(["ip", "link", "set", UPLINK, "down"])
        elif not self._silenced:
            self._filter("-I")
            self._silenced = True

    def mend(self) -> None:
        """Puts it back on the network, however it was cut off."""
        if self._silenced:
            self._filter("-D")
            self._silenced = False
        self.run(["ip", "link", "set", UPLINK, "up"])

    def remove_cable(self) -> None:
        """Removes both ends; the kernel does so a little after the network of one is gone."""
        subprocess.run(["ip", "link", "delete", self.name], capture_output=True, check=False)

    def _has(self, process: int) -> bool:
        network = _network(process)
        return network is not None and network == _network(self._first)

    def _filter(self, verb: str) -> None:
        for chain, direction in (("INPUT", "-i"), ("OUTPUT", "-o")):
            self.run(["iptables", "-w", verb, chain, direction, UPLINK, "-j", "DROP"])

    def _lay_cable(self) -> None:
        far = ["peer", "name", UPLINK, "netns", str(self._first)]
        run(["ip", "link", "add", self.name, "type", "veth", *far])
        run(["ip", "address", "add", f"{self.here}/30", "dev", self.name])
        run(["ip", "link", "set", self.name, "up"])
        self.run(["ip", "address", "add", f"{self.there}/30", "dev", UPLINK])
        self.run(["ip", "link", "set", UPLINK, "up"])


def run(argv: Sequence[str]) -> str:
    """Runs a command; what it printed. Raises CalledProcessError, with its words in the log."""
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, text=True, check=True, start_new_session=True
    )
    return done.stdout


def _child_of(process: int) -> int:
    """The id of a process's only child."""
    (child,) = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(child)


def _processes() -> list[int]:
    """The ids of all, of the machine's own ones as well."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _ids(process: int) -> list[str]:
    """Its ids, out here first, in its own pid namespace last."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # it has just ended
        return []
    return next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))


def _network(process: int) -> str | None:
    try:
        return os.readlink(f"/proc/{process}/ns/net")
    except OSError:  # it has just ended
        return None
