"""What running replicas print is told to the ledger, as long as somebody follows.

Nothing is asked of the engine where nobody does. First the last part of what was printed is told,
as much as is wanted; then what comes. What was told before is told again only after a pause, when
it may be gone, and where more is wanted.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import redis

from app.domain.log import HEAD_BYTES, Piece, Progress, last_part
from app.ledger.attempts import Stale
from app.ledger.live import BATCH_BYTES
from workers.engine import EngineTrouble, NoSuchContainer
from workers.roster import Attention
from workers.site import Site

logger = logging.getLogger(__name__)
RELAY_SECONDS = 0.7  # with the API's own pause the output is seen within two seconds
# That are asked for where a few are likely. Docker reads all that it is asked for, and then leaves
# out what is too old: of 20,000 lines that took it 100 ms, of these 3 ms.
FEW_PIECES = 1000
REST_SECONDS = 2.0  # after a refusal: who begins anew reads all, and is most likely refused again
OVERLAP_NS = 10**8  # two streams may be noted in another order than they have their instants


@dataclass(slots=True)
class Telling:
    """What is told of one attempt: the last part of what was printed before, and what comes."""

    reach: int  # bytes of the part before that were wanted
    progress: Progress = field(default_factory=Progress)
    begun: bool = False
    rests_until: float = 0.0  # it was refused


class Relay:
    """The output of one worker's replicas on its way to those who follow it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._limit = site.settings.log_limit_bytes
        self._tellings: dict[Attention, Telling] = {}
        self._batches = 0  # of all

    def step(self, now: float) -> None:
        """Tells what is new; `now` is a monotonic clock's. Raises EngineError, redis's errors."""
        followed = [a for a in self._site.roster.all() if a.container and a.followed_until > now]
        self._tellings = {a: self._telling(a) for a in followed}
        if not followed:
            return
        clock = self._clock()
        for attention, telling in self._tellings.items():
            try:
                if now >= telling.rests_until:
                    self._tell(attention, telling, clock())
                    telling.rests_until = 0.0
            except (Stale, NoSuchContainer):
                continue  # its supervisor sees to that
            except EngineTrouble as error:  # this one's is not the others'
                logger.warning("%s: nobody can follow it: %s", attention.replica, error)
            except redis.ResponseError as error:
                if not telling.rests_until:
                    logger.warning("%s: nobody can follow it: %s", attention.replica, error)
                again = Telling(telling.reach, rests_until=now + REST_SECONDS)  # some is untold
                self._tellings[attention] = again
            except redis.RedisError:
                self._tellings[attention] = Telling(telling.reach)  # some may be untold: all again
                raise

    def _telling(self, attention: Attention) -> Telling:
        known = self._tellings.get(attention)
        if known is not None and known.reach >= attention.wished_bytes:
            return known
        return Telling(attention.wished_bytes)

    def _clock(self) -> Callable[[], float]:
        """Redis's clock, as it goes on from here: never ahead of it."""
        told, here = self._site.ledger.live.clock(), time.monotonic()
        return lambda: told + time.monotonic() - here

    def _tell(self, attention: Attention, telling: Telling, now: float) -> None:
        live, grip, limit = self._site.ledger.live, attention.grip, self._limit
        most, progress = min(limit, telling.reach), telling.progress
        kept = min(limit, 2 * telling.reach)  # what goes to make room are whole batches
        pieces = self._printed(attention, progress, most) if most else []
        for batch in _batches(last_part(progress.news(pieces), most)[0], not telling.begun):
            self._batches += 1
            live.relay(grip, self._batches, kept, batch, not telling.begun, telling.reach)
            telling.begun = True
        live.looked(grip, now)

    def _printed(self, attention: Attention, progress: Progress, most: int) -> list[Piece]:
        assert attention.container is not None
        logs, most_pieces = self._site.engine.logs, most // HEAD_BYTES + 1
        since = max(0, progress.at - OVERLAP_NS)
        if since and len(few := logs(attention.container, FEW_PIECES, since)) < FEW_PIECES:
            return few
        return logs(attention.container, most_pieces, since)


def _batches(pieces: Sequence[Piece], begins: bool) -> Iterator[bytes]:
    """Where a telling begins there is one also of nothing."""
    batch = bytearray()
    for piece in pieces:
        stored = piece.stored()
        if batch and len(batch) + len(stored) > BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
        batch += stored
    if batch or (begins and not pieces):
        yield bytes(batch)
