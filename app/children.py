"""Child processes of `onejob up`: started, waited for until ready, watched, stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

TAIL_LINES = 15


class ChildFailed(Exception):
    """A child process ended, or was not ready in time."""


class Child:
    """One child process, in a session of its own so that a Ctrl-C reaches its parent alone."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        environ: Mapping[str, str],
        stop_seconds: float = 10,
        handles: Sequence[int] = (),
    ) -> None:
        """`handles` are open files that it inherits."""
        self.name = name
        self.log = log
        self._stop_seconds = stop_seconds
        with _open_log(log) as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                start_new_session=True,
                pass_fds=handles,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raises ChildFailed, with the end of its log, if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise ChildFailed(f"{self.name} ended with exit code {code}.\n{self.tail()}")

    def until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Waits until `ready()`. Raises ChildFailed at the process's end, or after the time."""
        give_up = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > give_up:
                raise ChildFailed(f"{self.name} was not ready in {seconds:.0f} s.\n{self.tail()}")
            time.sleep(0.05)  # a process that binds a port has no other sign of it

    def kill(self) -> None:
        """SIGKILL to its process group. Waits for the end."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to its process group if it takes too long. Waits for the end."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(f"  | {line}" for line in lines)


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")
