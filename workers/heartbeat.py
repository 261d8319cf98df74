"""The worker's pulse: keeps its leases, and tells each supervisor what it must know.

One call for all attempts: one script renews all leases and brings back what was lost or shall be
cancelled; one listing of the engine finds the containers that run no more.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict

import redis

from app.domain.job import Reason
from app.ledger.nodes import NodeTaken
from workers.engine import LIVE_RESTORE_OFF, EngineError, Phase
from workers.roster import Attention
from workers.site import Site

logger = logging.getLogger(__name__)
BEAT_SECONDS = 1.0
LISTING_SECONDS = 3.0
ANNOUNCE_SECONDS = 3.0
FOLLOWED_SECONDS = 3.0  # that an attempt counts as followed without hearing it again


class Periodic(threading.Thread):
    """Runs a step again and again until it is told to stop; a failing step is logged."""

    def __init__(self, name: str, seconds: float, step: Callable[[float], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._seconds = seconds
        self._step = step
        self._stopped = threading.Event()

    def run(self) -> None:
        """The thread's loop."""
        told: str | None = None  # of an outage, once is enough
        while not self._stopped.is_set():
            try:
                self._step(time.monotonic())
                told = None
            except (redis.RedisError, EngineError, OSError) as error:
                if told != str(error):
                    logger.warning("%s: %s", self.name, error)
                told = str(error)
            except Exception:
                # A fault of ours must not end the pulse of every other attempt.
                logger.exception("%s failed", self.name)
            self._stopped.wait(self._seconds)

    def stop(self) -> None:
        """Ends the loop; a step that is under way goes on."""
        self._stopped.set()


class Heartbeat:
    """Announces the node, renews the leases, and looks for containers that have ended."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._process = secrets.token_hex(4)
        self._next_announcement = 0.0

    def beat(self, now: float) -> None:
        """One beat; `now` is a monotonic clock's."""
        self._renew()
        if now >= self._next_announcement:
            self._announce()
            self._site.tally.tell(self._site.ledger.metrics)
            self._next_announcement = now + ANNOUNCE_SECONDS

    def _announce(self) -> None:
        compute = {name: r.model_dump() for name, r in self._site.compute.items()}
        info = {
            "compute": compute,
            "capacity": asdict(self._site.room.offer.capacity),
            "problems": self._site.fitness.problems(),
            "notes": self._site.notes,
            "live_restore": LIVE_RESTORE_OFF not in self._site.notes,
        }
        try:
            draining = self._site.ledger.nodes.announce(
                self._site.node, info, self._site.identity, self._process
            )
        except NodeTaken as error:
            self._site.fitness.stands("identity", str(error))
        else:
            self._site.fitness.stands("identity", None)
            self._site.fitness.drains(draining)

    def list(self, _now: float) -> None:
        """Rings the supervisors whose container does not run, by one listing of the engine."""
        # Asked before the listing: a container that is started meanwhile may be missing there.
        followed = [entry for entry in self._site.roster.all() if entry.following]
        if not followed:
            return
        owned = self._site.engine.owned(self._site.node)
        running = {c.name for c in owned if c.phase is not Phase.EXITED}
        for attention in followed:
            if attention.replica not in running:
                attention.container_gone = True
                attention.ring()

    def _renew(self) -> None:
        entries = self._site.roster.all()
        if not entries:
            return
        answers = self._site.ledger.attempts.renew(
            self._site.node, self._site.settings.lease_seconds, [e.grip for e in entries]
        )
        for attention, answer in zip(entries, answers, strict=True):
            _tell(attention, answer)


def _tell(attention: Attention, answer: str) -> None:
    before, followed, wished = answer.partition("followed ")
    if followed:
        attention.wished_bytes = int(wished)
        attention.followed_until = time.monotonic() + FOLLOWED_SECONDS
    word = before.strip()
    if word in ("held", ""):
        return
    if word == "lost":
        attention.lost = True
    elif attention.cancel is None:
        attention.cancel = _reason(word)
    else:
        return  # it was told
    attention.ring()


def _reason(word: str) -> Reason:
    try:
        return Reason(word)
    except ValueError:  # of a newer version's: one that is not known must not stop the pulse
        return Reason.CANCELLED
