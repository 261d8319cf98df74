"""`onejob up`: starts everything on embedded defaults, runs a real job through it, serves.

What is started is stopped at the end, replicas too: by Ctrl-C at any moment, by an error, or, with
`--once`, after the job.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from app import example
from app import settings as app_settings
from app.children import ChildFailed
from app.client import Client, Refused
from app.credentials import CredentialsError
from app.example import Example
from app.settings import SettingsError
from app.stack import InUse, Layout, NoRedis, PortTaken, Stack
from app.story import Story

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Ctrl-C, a SIGTERM, or a terminal that was closed."""


class Interrupts:
    """Raises Interrupted at the first of these signals; where it would do harm, a little later."""

    def __init__(self) -> None:
        self._holding = False
        self._missed = False
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._arrived)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block that is not interrupted: a process that was just started has to be noted."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._missed:
            self.ignore()
            raise Interrupted

    def ignore(self) -> None:
        """From here on, everything is being stopped anyway."""
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        if self._holding:
            self._missed = True  # ignored only later: the process that is started would inherit it
            return
        self.ignore()
        raise Interrupted


class Unprepared(Exception):
    """The machine was not made ready; why was told."""


_FAILURES = (
    ChildFailed,
    CredentialsError,
    InUse,
    NoRedis,
    OSError,
    PortTaken,
    Refused,
    SettingsError,
    Unprepared,
)
INTERRUPTED = 130  # what a shell reports of a program that SIGINT ended
PREPARE_STOP_SECONDS = 15

_STEPS = {
    InUse: "stop it, or keep the data elsewhere with --data",
    CredentialsError: "put its content back, or keep the data elsewhere with --data",
    PortTaken: "stop what listens there, or choose another port",
    NoRedis: "install it, then run this again",
    SettingsError: "correct or unset these variables, then run this again",
    Unprepared: "see above, then run this again",
}
_ERRNO_STEPS = {
    errno.ENOSPC: "free some disk space, or keep the data elsewhere with --data",
    errno.EDQUOT: "free some disk space, or keep the data elsewhere with --data",
    errno.EACCES: "keep the data in a directory of yours with --data",
    errno.EROFS: "keep the data in a directory that can be written, with --data",
}


def up(layout: Layout, once: bool, story: Story) -> int:
    """Runs the whole story; returns the exit code."""
    interrupts = Interrupts()
    stack: Stack | None = None
    try:
        try:
            stack = Stack(layout, guard=interrupts.held)
            app_settings.load(stack.environ())
            stack.check_ports()
            return _run(stack, once, story)
        except _FAILURES as error:
            story.error(f"onejob: {error}")
            story.error(f"  next: {_next_step(error)}")
            return 1
        finally:
            interrupts.ignore()
    except Interrupted:
        return INTERRUPTED
    finally:  # not interrupted any more: whatever came has had its one exception
        _stop(stack, story)


def _next_step(error: Exception) -> str:
    if isinstance(error, OSError):
        return _ERRNO_STEPS.get(error.errno or 0, "see the words above, then run this again")
    steps = (step for kind, step in _STEPS.items() if isinstance(error, kind))
    return next(steps, "see the words above, then run this again")


def _run(stack: Stack, once: bool, story: Story) -> int:
    story.title("Onejob: one HTTP request, one container, one deadline")
    _prepare(stack)
    _start(stack, story)
    client = Client(
        stack.layout.url,
        stack.credentials.client_id,
        stack.credentials.client_secret,
        stack.credentials.inference_key,
    )
    succeeded = Example(client, story, stack.check).run()
    if once:
        return 0 if succeeded else 1
    _tell_how(stack, story)
    return _serve(stack)


def _prepare(stack: Stack) -> None:
    argv = [sys.executable, "-m", "workers.prepare", "--example"]
    argv += ["--spool", str(stack.layout.spool)]
    sys.stdout.flush()
    # In a session of its own: whoever interrupts us is passed on to all that it has started.
    with ExitStack() as cleanup:
        with stack.guard(), _inheriting_a_blocked_interrupt():
            process = subprocess.Popen(argv, env=stack.environ(), start_new_session=True)
            cleanup.callback(_interrupt_all, process)
        code = process.wait()
        cleanup.pop_all()
    if code != 0:
        raise Unprepared("this machine could not be made ready")


@contextmanager
def _inheriting_a_blocked_interrupt() -> Iterator[None]:
    """One that comes while the interpreter starts would be answered with a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interrupt_all(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(PREPARE_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(stack: Stack, story: Story) -> None:
    stack.start_redis()
    story.step("redis", f"append-only file in {stack.layout.data / 'redis'}")
    stack.ensure_inference_key()
    stack.start_api()
    story.step("api", stack.layout.url)
    stack.start_worker()
    story.step("worker", "ready")
    stack.start_flower()
    story.step("flower", stack.layout.flower_url)


def _tell_how(stack: Stack, story: Story) -> None:
    known, url = stack.credentials, stack.layout.url
    story.title("Serving; Ctrl-C stops everything that was started.")
    story.step("api", url)
    story.step("flower", f"{stack.layout.flower_url}  onejob / {known.flower_password}")
    story.step("client", f"{known.client_id} / {known.client_secret}")
    story.step("key", known.inference_key)
    story.step("try", f"curl -X POST -H 'Authorization: Bearer {known.inference_key}' \\")
    story.step("", f"  -d '{{}}' '{url}/{example.DEPLOYMENT}{example.PATH}'")


def _serve(stack: Stack) -> int:
    while True:
        stack.check()
        time.sleep(1)  # ended by a signal, or by a child's end


def _stop(stack: Stack | None, story: Story) -> None:
    if stack is not None:
        stack.stop(lambda name: story.live(f"stopping {name}"))
        with suppress(OSError):  # the terminal may be gone
            story.step("stopped", "all that was started")
