"""What running replicas print, as long as somebody follows: nothing is kept where nobody does.

Who follows says so whenever it asks, and the worker that holds the attempt hears of it when it
renews its lease. Then it tells the last part of what the replica printed so far, as many bytes as
are wanted, and from then on what comes. After each look it says until when all is told, new or not:
so whoever asks once knows how old it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from app.domain.errors import NotFound
from app.domain.job import State
from app.ledger import records
from app.ledger.attempts import Grip, Stale
from app.ledger.verbs import Verbs

WANTED_SECONDS = 10.0  # that a question keeps the worker telling
LIVE_SECONDS = 60  # that what was told is kept, after the last question or word
BATCH_BYTES = 256 * 1024  # that are told, or asked for, at once
WHOLE_BYTES = 2**31  # more than any log has


@dataclass(frozen=True, slots=True)
class Place:
    """How far somebody has come."""

    attempt: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """What came behind a place, in the stored form of pieces, and how the job stands."""

    state: State
    torn_down: bool  # it is over and its container gone: its log is kept
    place: Place
    telling: int  # another one tells again what was told: its holder began anew
    replica: str | None
    more: bool  # was told already than is here
    batches: list[bytes]


@dataclass(frozen=True, slots=True)
class Word:
    """How far the output of a job is told."""

    state: State
    torn_down: bool  # it is over and its container gone
    log: str | None  # token of its log, once that is kept
    log_size: int | None
    attempt: int
    replica: str | None
    started: bool  # that is: else there is nothing to look at
    behind: float | None  # seconds since the last look at what that printed, if any told enough


class Live:
    """The output of running replicas."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._client = client
        self._verbs = verbs

    def want(self, uid: str, job_ids: Sequence[str], most: int = WHOLE_BYTES) -> list[Word | None]:
        """Says that somebody wants the output of these jobs, and how far it is; None: it is gone.

        Of each its last part is wanted, `most` bytes of the stored form. One round trip.
        """
        words = self._verbs("want", uid, most, WANTED_SECONDS, LIVE_SECONDS, *job_ids)
        return [word and _word(*map(records.text, word)) for word in words]

    def recent(self, uid: str, job_id: str, attempt: int, most: int) -> tuple[bool, bytes]:
        """The last of what an attempt printed, in the stored form: whole pieces, at most that long.

        False stands before it where its worker is just beginning to tell all of it anew.
        """
        whole, text = self._verbs("recent", uid, job_id, attempt, most)
        return whole == 1, text

    def follow(self, uid: str, job_id: str, place: Place) -> News:
        """What came behind a place. Raises NotFound."""
        bounds = (WHOLE_BYTES, WANTED_SECONDS, BATCH_BYTES, LIVE_SECONDS)
        args = (place.attempt, place.number, *bounds)
        raw_state, *rest = self._verbs("follow", uid, job_id, *args)
        if raw_state == b"missing":
            raise NotFound(f"no job {job_id!r}")
        teardown, replica, attempt, telling, number, more, *batches = rest
        state = State(records.text(raw_state))
        torn_down = state.final and not teardown
        place = Place(records.text(attempt), number)
        known = records.text(replica) or None
        return News(state, torn_down, place, telling, known, bool(more), batches)

    def relay(
        self,
        grip: Grip,
        number: int,
        most: int,
        batch: bytes,
        anew: bool = False,
        reach: int = WHOLE_BYTES,
    ) -> None:
        """Tells some output; its holder counts the batches. Of all, `most` bytes are kept.

        With `anew` a telling begins, this first; it has the last `reach` bytes of what was printed
        before, if not more. Raises Stale, and redis.ResponseError where Redis is full.
        """
        numbers = (grip.attempt, grip.fence, number, most, LIVE_SECONDS, int(anew), reach)
        if self._verbs("relay", grip.uid, grip.id, *numbers, batch) != b"done":
            raise Stale(grip.ref)

    def clock(self) -> float:
        """Redis's, in seconds since the epoch."""
        now: Any = self._client.time()
        return float(now[0] + now[1] / 1e6)

    def looked(self, grip: Grip, at: float) -> None:
        """All is told that was printed up to an instant of Redis's clock.

        Raises what `relay` does.
        """
        instant = f"{at:.6f}"
        if self._verbs("looked", grip.uid, grip.id, grip.attempt, grip.fence, instant) != b"done":
            raise Stale(grip.ref)


def _word(
    state: str,
    teardown: str,
    log: str,
    log_size: str,
    attempt: str,
    replica: str,
    started_at: str,
    behind: str,
) -> Word:
    return Word(
        state=State(state),
        torn_down=State(state).final and not teardown,
        log=log or None,
        log_size=int(log_size) if log_size else None,
        attempt=int(attempt),
        replica=replica or None,
        started=bool(started_at),
        behind=float(behind) if behind else None,
    )
