"""An engine and a machine of chaos's own, beside the second ones: a long run keeps no test waiting.

The engine that is struck must be one that nobody else uses.
"""

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import second_engine
from tests.conftest import require
from tests.images import base_image
from tests.machine import PREFIX_BITS, UPLINK, Machine, require_machine, run
from tests.second_engine import CGROUPS, SecondEngine

NAME = "onejob-chaos"
FOLDER = Path(tempfile.gettempdir()) / NAME


class ChaosMachine(Machine):
    """A machine on a cable of its own."""

    here, there = "198.18.0.5", "198.18.0.6"  # the next network after the second machine's

    def _lay_cable(self) -> None:
        far = ["peer", "name", UPLINK, "netns", str(self._first)]
        run(["ip", "link", "add", self.name, "type", "veth", *far])
        run(["ip", "address", "add", f"{self.here}/{PREFIX_BITS}", "dev", self.name])
        run(["ip", "link", "set", self.name, "up"])
        self.run(["ip", "address", "add", f"{self.there}/{PREFIX_BITS}", "dev", UPLINK])
        self.run(["ip", "link", "set", UPLINK, "up"])


class ChaosEngine(SecondEngine):
    """A dockerd with live restore; its control groups stand below /onejob-chaos."""

    def __init__(self) -> None:
        super().__init__(live_restore=True)
        self.machine, self.folder = ChaosMachine(NAME), FOLDER

    def crash(self) -> None:
        """kill -9 of dockerd alone; `start` makes a new one. Its containers go on."""
        self._end(signal.SIGKILL)

    def _argv(self) -> list[str]:
        theirs = f"--cgroup-parent=/{second_engine.NAME}"
        return [f"--cgroup-parent=/{NAME}" if word == theirs else word for word in super()._argv()]


@contextmanager
def chaos_engine() -> Iterator[ChaosEngine]:
    """An engine that answers and has the base image; nothing is left of it afterwards.

    There is at most one at a time: others wait for their turn.
    """
    require_machine()
    require(shutil.which("dockerd"), "dockerd is not installed")
    with FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _clear()  # what a killed run left
        engine = ChaosEngine()
        try:
            engine.start()
            engine.load(base_image())
            yield engine
        finally:
            engine.kill()
            _clear()


def _clear() -> None:
    """Removes what is left of an engine whose processes are gone."""
    for top in (*CGROUPS.glob(NAME), *CGROUPS.glob(f"*/{NAME}")):
        for folder, _, _ in os.walk(top, topdown=False):
            os.rmdir(folder)
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
