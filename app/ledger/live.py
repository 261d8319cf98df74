"""What running replicas print, as long as somebody follows: nothing is kept where nobody does.

Who follows says so whenever it asks, and the worker that holds the attempt hears of it when it
renews its lease. Then it tells what the replica printed so far, and from then on what comes.
"""

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


class Live:
    """The output of running replicas."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._verbs = verbs

    def follow(self, uid: str, job_id: str, place: Place) -> News:
        """What came behind a place. Raises NotFound."""
        args = (place.attempt, place.number, WANTED_SECONDS, BATCH_BYTES, LIVE_SECONDS)
        raw_state, *rest = self._verbs("follow", uid, job_id, *args)
        if raw_state == b"missing":
            raise NotFound(f"no job {job_id!r}")
        teardown, replica, attempt, telling, number, more, *batches = rest
        state = State(records.text(raw_state))
        torn_down = state.final and not teardown
        place = Place(records.text(attempt), number)
        known = records.text(replica) or None
        return News(state, torn_down, place, telling, known, bool(more), batches)

    def relay(self, grip: Grip, number: int, most: int, batch: bytes, anew: bool = False) -> None:
        """Tells some output; its holder counts the batches. Of all, `most` bytes are kept.

        With `anew` all is told from the beginning on, this first. Raises Stale, and
        redis.ResponseError where Redis is full.
        """
        numbers: tuple[Any, ...] = (grip.attempt, grip.fence, number, most, LIVE_SECONDS, int(anew))
        if self._verbs("relay", grip.uid, grip.id, *numbers, batch) != b"done":
            raise Stale(grip.ref)
