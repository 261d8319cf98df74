"""Pulls under way: each has a thread of its own, and any number of followers.

Whoever wants an image follows its pull, and may leave it at any time: its job was cancelled, its
worker goes away. A pull that nobody follows any more breaks off at its next step.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workers import turns
from workers.engine import EngineError, EngineTrouble, EngineUnavailable, ImagePullFailed
from workers.images import Login, PullNews, Watch

TICK_SECONDS = 0.5  # between two words to those who follow


class BrokenOff(Exception):
    """Nobody follows this pull any more."""


class Pull:
    """One pull of a reference. Its thread calls the first methods, its followers `follow`."""

    def __init__(self, ref: str, refresh: bool, seconds: float, login: Login | None = None) -> None:
        self.ref = ref
        self.refresh = refresh
        self.login = login
        self.asked_at = time.monotonic()  # by who joined last
        self.wanted_by = 0
        self.failure: EngineError | None = None
        self._seconds = seconds
        self._changed = threading.Condition()
        self._steps = 0  # counts what followers should look up for
        self._began_at: float | None = None
        self._path: Path | None = None  # of the turn that this process has
        self._bytes = (0, 0)
        self._dropped = self._over = False

    # -- the thread's side -------------------------------------------------------------------

    def wait(self) -> None:
        """Another process pulls this. Raises BrokenOff."""
        self.go_on()
        self._begin()

    def begin(self, path: Path) -> None:
        """The registry is asked from here on; `path` is the turn's."""
        self._path = path
        self._begin()

    def got(self, done_bytes: int, known_bytes: int) -> None:
        """So much has come. Raises BrokenOff."""
        self._bytes = (done_bytes, known_bytes)
        self.go_on()

    def go_on(self) -> None:
        """Raises BrokenOff if nobody wants it any more."""
        if self._dropped:
            raise BrokenOff(self.ref)

    def pause(self, seconds: float) -> None:
        """Waits. Raises BrokenOff as soon as nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._dropped, seconds)
        self.go_on()

    def end(self, failure: EngineError | None) -> None:
        """It is over."""
        self.failure, self._over = failure, True
        self._step()

    def drop(self) -> None:
        """Nobody wants it any more."""
        self._dropped = True
        self._step()

    def _begin(self) -> None:
        if self._began_at is None:
            self._began_at = time.monotonic()
            self._step()

    def _step(self) -> None:
        with self._changed:
            self._steps += 1
            self._changed.notify_all()

    # -- the followers' side -----------------------------------------------------------------

    def follow(self, watch: Watch, closed: threading.Event) -> None:
        """Until it is over. Raises ImagePullFailed at its bound, and what `watch` raises."""
        until = time.monotonic() + self._seconds  # each has its own: one may have joined late
        while True:
            steps, over = self._steps, self._over
            if self._began_at is not None and self.failure is None:
                watch(self._news(self._began_at, over))
            if over:
                return
            if closed.is_set():
                raise EngineUnavailable("closed")
            if time.monotonic() > until:
                raise ImagePullFailed(f"the pull was not complete after {self._seconds:g} s")
            if self._path is not None:
                turns.show_life(self._path)
            self._await_step(steps)

    def _await_step(self, seen: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._steps != seen, TICK_SECONDS)

    def _news(self, began_at: float, over: bool) -> PullNews:
        done, known = self._bytes
        here = self._path is not None
        return PullNews(time.monotonic() - began_at, done if here else None, known, over)


class Pulls:
    """All pulls of this process. `work` does one; what it raises is the pull's failure."""

    def __init__(self, work: Callable[[Pull], None], seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._guard = threading.Lock()
        self._pulls: dict[tuple[str, bool, Login | None], Pull] = {}
        self._closed = threading.Event()

    def follow(
        self, ref: str, refresh: bool, watch: Watch, login: Login | None = None
    ) -> EngineError | None:
        """Follows a reference's pull, begun if there is none, to its end; why it failed.

        ImagePullFailed where it takes too long. Raises EngineUnavailable once closed, and what
        `watch` raises.
        """
        with self._followed(ref, refresh, login) as pull:
            try:
                pull.follow(watch, self._closed)
            except ImagePullFailed as late:
                return late
            return pull.failure

    def close(self) -> None:
        """All pulls break off, and none is followed any more."""
        self._closed.set()
        with self._guard:
            pulls = list(self._pulls.values())
        for pull in pulls:
            pull.drop()

    @contextmanager
    def _followed(self, ref: str, refresh: bool, login: Login | None) -> Iterator[Pull]:
        key = ref, refresh, login
        with self._guard:
            pull = self._pulls.get(key)
            if pull is None:
                pull = self._pulls[key] = Pull(ref, refresh, self._seconds, login)
                threading.Thread(target=self._run, args=(pull,), daemon=True).start()
            pull.wanted_by += 1
            pull.asked_at = time.monotonic()
        try:
            yield pull
        finally:
            with self._guard:
                pull.wanted_by -= 1
                if not pull.wanted_by:
                    self._remove(pull)
                    pull.drop()

    def _remove(self, pull: Pull) -> None:
        key = pull.ref, pull.refresh, pull.login
        if self._pulls.get(key) is pull:
            del self._pulls[key]

    def _run(self, pull: Pull) -> None:
        failure: EngineError | None = None
        try:
            self._work(pull)
        except EngineError as error:
            failure = error
        except BrokenOff:
            closed = self._closed.is_set()
            failure = EngineUnavailable("closed" if closed else "the pull was broken off")
        except Exception as error:
            failure = EngineTrouble(f"{type(error).__name__}: {error}")
        with self._guard:
            self._remove(pull)
        pull.end(failure)
