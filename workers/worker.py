"""One worker process: its site, and the threads beside Celery that keep it."""

import logging
import os
import threading
from queue import SimpleQueue

import redis

from app import settings as app_settings
from app.dispatch import Publisher, compute_queue, node_queue
from app.settings import Settings
from workers.collection import COLLECTION_SECONDS, Collection
from workers.consuming import CONSUMING_SECONDS, Consumer, Consuming, Intake
from workers.heartbeat import BEAT_SECONDS, LISTING_SECONDS, Heartbeat, Periodic
from workers.revokes import REVOKE_SECONDS, Revoked, Revokes
from workers.site import make_site
from workers.sweep import Sweep
from workers.upkeep import UPKEEP_SECONDS, Upkeep

logger = logging.getLogger(__name__)
LEAVE_SECONDS = 2.0  # from the signal to the end, whatever the supervisors are doing
REMOVAL_SECONDS = 10.0  # more, for a worker that takes its replicas along


class Worker:
    """A worker with its heartbeat and its sweep."""

    def __init__(self, settings: Settings, revoked: Revoked) -> None:
        publisher = Publisher(settings.redis_url)
        self.site = make_site(settings, publisher)
        heartbeat, sweep = Heartbeat(self.site), Sweep(self.site, publisher)
        self.upkeep = Upkeep(self.site)
        self._threads = [
            Periodic("heartbeat", BEAT_SECONDS, heartbeat.beat),
            # Apart from the heartbeat: an engine that hangs must not cost the leases.
            Periodic("listing", LISTING_SECONDS, heartbeat.list),
            Periodic("sweep", settings.sweep_seconds, sweep.sweep),
            Periodic("upkeep", UPKEEP_SECONDS, self.upkeep.step),
            Periodic("revokes", REVOKE_SECONDS, Revokes(self.site, revoked).heed),
            # Apart from the upkeep: a large image takes long to remove.
            Periodic("images", COLLECTION_SECONDS, Collection(self.site).step),
        ]
        self._told_to_leave: SimpleQueue[None] = SimpleQueue()

    def watch(self, consumer: Consumer, intake: Intake) -> None:
        """Has a thread look after Celery's consumer, from `start` on."""
        site = self.site
        consuming = Consuming(
            consumer,
            site.fitness,
            site.ledger.client,
            intake,
            [compute_queue(name) for name in site.compute],
            node_queue(site.node),
            lambda: site.roster.stopping,
        )
        self._threads.append(Periodic("consuming", CONSUMING_SECONDS, consuming.step))

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()
        threading.Thread(target=self._leave, name="leaving", daemon=True).start()

    def leave(self) -> None:
        """Has all supervisors let go, and bounds the time until this process is gone.

        May be called in a signal handler, and again: this queue's `put` alone takes no lock that
        the interrupted code may hold.
        """
        self._told_to_leave.put(None)

    def stop(self) -> None:
        """Ends the threads; leases that are still held lapse by themselves."""
        for thread in self._threads:
            thread.stop()
        self.site.engine.close()

    def _leave(self) -> None:
        self._told_to_leave.get()
        self.site.roster.stop()
        threading.Event().wait(leave_seconds(self.site.settings))
        # A call to the engine or to Redis holds somebody up. What it does, another worker of this
        # node finds done, or does again.
        held = [attention.replica for attention in self.site.roster.all()]
        logger.warning("leaving without a word from %s", ", ".join(held) or "Celery")
        os._exit(0)


def leave_seconds(settings: Settings) -> float:
    """How long a worker may take to go."""
    if settings.own_replicas:
        return settings.stop_grace_seconds + REMOVAL_SECONDS
    return LEAVE_SECONDS


def from_environment(revoked: Revoked) -> Worker:
    """A worker with the settings of the environment.

    Raises NodeTaken, and what `make_site` raises. Before it takes its first job it knows whether
    this is its ledger; without Redis it learns that later.
    """
    made = Worker(app_settings.load(), revoked)
    try:
        made.site.ledger.nodes.check(made.site.node, made.site.identity)
        made.upkeep.look()
    except redis.RedisError as error:
        made.site.fitness.stands("ledger", f"Redis does not answer: {error}")
    return made
