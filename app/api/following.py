"""The log of a job as it is printed: server-sent events that end with the job.

    data: {"timestamp", "container_name", "replica", "stream", "message"}

is a line, and the job is over, or gone with its deployment (then the state is null), with

    event: end
    data: {"state", "reason", "detail", "exit_code"}

Our server sends them without a thread for each: see app/streams.py.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import redis
from flask import Response, request

from app.api.log_form import line_out
from app.domain.errors import NotFound, ServiceUnavailable
from app.domain.job import Job
from app.domain.log import Line, Lines, Piece, Progress, pieces_of
from app.ledger import Ledger
from app.ledger.live import News, Place

PAUSE_SECONDS = 0.5  # between two looks, under another server
SILENCE_SECONDS = 15.0  # then a word is sent, so that nobody between takes the connection for dead
REMOVAL_SECONDS = 60.0  # that a log is waited for after its job's end: its machine may be gone
BATCH_LINES = 2000
AWAY_SECONDS = 1.0  # that nobody asks a Redis that gave one of them no answer
STILL_HERE = b": still here\n\n"
Answer = TypeVar("Answer")


class Away:
    """A mark that Redis does not answer, which all share who follow in one process.

    One thread asks for all of them, and each question to a Redis that hangs costs a timeout.
    """

    def __init__(self) -> None:
        self._until = 0.0

    def answer(self, ask: Callable[[], Answer]) -> Answer | None:
        """What the ledger says; None if Redis does not answer, or did not to another just now."""
        if time.monotonic() < self._until:
            return None
        try:
            return ask()
        except (redis.ConnectionError, redis.TimeoutError):
            self._until = time.monotonic() + AWAY_SECONDS
        except redis.RedisError:  # it did answer
            pass
        return None


class Followers:
    """The places of those who follow, in one process."""

    def __init__(self, most: int) -> None:
        self._places = threading.Semaphore(most)
        self._away = Away()

    def follow(self, ledger: Ledger, job: Job) -> Response:
        """The events of a job's log. Raises ServiceUnavailable if too many follow already."""
        if not self._places.acquire(blocking=False):
            raise ServiceUnavailable("too many follow logs already", 5)
        follower = Follower(ledger, job, self._places.release, self._away)
        body = request.environ["wsgi.input"]
        if hasattr(body, "stream"):
            body.stream = follower  # the server takes it from here
            return _events(())
        return _events(_Patient(follower))


class Follower:
    """What one client is sent: bytes, or b"" where nothing is new. Ends with the job."""

    def __init__(self, ledger: Ledger, job: Job, left: Any, away: Away) -> None:
        self._ledger = ledger
        self._away = away
        self._job = job
        self._left = left  # called once, when nobody follows any more
        self._lock = threading.Lock()
        self._place, self._attempt = Place(), ""
        self._replica = job.replica
        self._progress, self._lines, self._telling = Progress(), Lines(), 0
        self._events = self._tell()
        self._said_at = time.monotonic()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        events, now = next(self._events), time.monotonic()
        if not events and now > self._said_at + SILENCE_SECONDS:
            events = STILL_HERE
        if events:
            self._said_at = now
        return events

    def close(self) -> None:
        """Gives its place to others."""
        with self._lock:
            left, self._left = self._left, lambda: None
        left()

    def _tell(self) -> Iterator[bytes]:
        yield STILL_HERE  # so that the client knows at once that it follows
        over_since: float | None = None
        while True:
            try:
                news = self._away.answer(self._look)
            except NotFound:
                yield self._end({"state": None})
                return
            if news is None:
                yield b""
                continue
            yield self._of_news(news)
            if news.state.final and over_since is None:
                over_since = time.monotonic()
            if news.more or over_since is None:
                continue
            if news.torn_down or time.monotonic() > over_since + REMOVAL_SECONDS:
                break
        yield from self._ending()

    def _look(self) -> News:
        return self._ledger.live.follow(self._job.uid, self._job.id, self._place)

    def _of_news(self, news: News) -> bytes:
        if news.place.attempt not in ("", self._attempt):
            self._progress, rest = Progress(), self._lines.rest()
            self._attempt = news.place.attempt
            return self._told(rest) + self._of_news(news)
        self._place, self._replica = news.place, news.replica
        anew, self._telling = news.telling != self._telling, news.telling
        pieces = self._progress.news(pieces_of(news.batches), anew)
        return self._told(self._lines.add(pieces))

    def _ending(self) -> Iterator[bytes]:
        """The rest of the log, as it is kept, and the end."""
        try:
            while (found := self._away.answer(self._whole)) is None:
                yield b""
        except NotFound:
            yield self._end({"state": None})
            return
        job, kept = found
        self._replica = job.replica
        for start in range(0, len(kept), BATCH_LINES):
            yield self._told(self._lines.add(kept[start : start + BATCH_LINES]))
        yield self._told(self._lines.rest())
        yield self._end(_end_out(job))

    def _end(self, members: dict[str, Any]) -> bytes:
        """The last event. Who has read it may ask again at once: its place is free before.

        Only this event is still to be sent then, and a server lets nobody take nothing for ever.
        """
        self.close()
        return _event(members, "end")

    def _whole(self) -> tuple[Job, list[Piece]]:
        job = self._ledger.jobs.get(self._job.uid, self._job.id)
        return job, self._kept(job)

    def _kept(self, job: Job) -> list[Piece]:
        """What is kept and was not told; it is the last attempt's."""
        if job.log is None:
            return []
        if self._attempt not in ("", str(job.attempt)):
            self._progress = Progress()
        with suppress(NotFound):  # its retention is over
            return self._progress.news(pieces_of([*self._ledger.payloads.read(job.log)[1]]))
        return []

    def _told(self, lines: Iterable[Line]) -> bytes:
        name = self._job.deployment
        return b"".join(_event(line_out(name, self._replica, line)) for line in lines)


class _Patient:
    """A follower for a server that has a thread for it."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not (events := next(self._follower)):
            time.sleep(PAUSE_SECONDS)  # nothing else tells of news
        return events

    def close(self) -> None:
        """Whoever asked has gone, or has all."""
        self._follower.close()


def _events(source: Any) -> Response:
    response = Response(source, content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # or nginx would keep them back
    return response


def _event(members: dict[str, Any], name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(members, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


def _end_out(job: Job) -> dict[str, Any]:
    return {
        "state": job.state,
        "reason": job.reason,
        "detail": job.detail,
        "exit_code": job.exit_code,
    }
