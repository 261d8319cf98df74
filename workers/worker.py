"""One worker process: its site, and the threads beside Celery that keep it."""

import logging
import os
import threading
import time
from queue import SimpleQueue

import redis

from app import settings as app_settings
from app.dispatch import Publisher, compute_queue, node_queue
from app.ledger.nodes import NodeTaken
from app.settings import Settings
from workers.collection import COLLECTION_SECONDS, Collection
from workers.consuming import CONSUMING_SECONDS, Consumer, Consuming, Intake
from workers.heartbeat import BEAT_SECONDS, LISTING_SECONDS, Heartbeat, Periodic
from workers.relay import RELAY_SECONDS, Relay
from workers.revokes import REVOKE_SECONDS, Revoked, Revokes
from workers.site import Site, make_site
from workers.sweep import Sweep
from workers.upkeep import UPKEEP_SECONDS, Upkeep

logger = logging.getLogger(__name__)
LEAVE_SECONDS = 2.0  # from the signal to the end, whatever the supervisors are doing
TAKEN_SECONDS = 0.5  # between two looks at who has this node's id
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
            # Apart from both: logs can be long.
            Periodic("relay", RELAY_SECONDS, Relay(self.site).step),
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
        await_node(made.site)
        made.upkeep.look()
    except redis.RedisError as error:
        made.site.fitness.stands("ledger", f"Redis does not answer: {error}")
    return made


def await_node(site: Site) -> None:
    """Waits until nobody else has this node's id, as long as somebody silent may seem alive.

    Who has it may be this machine, before its reboot. Raises NodeTaken, and redis's errors.
    """
    nodes, told = site.ledger.nodes, False
    give_up = time.monotonic() + nodes.silent_seconds + 1
    while True:
        try:
            return nodes.check(site.node, site.identity)
        except NodeTaken as error:
            if time.monotonic() > give_up:
                raise
            if not told:
                words = "%s It may be this one before a reboot: waiting for up to %.0f s"
                logger.warning(words, error, nodes.silent_seconds)
            told = True
            time.sleep(TAKEN_SECONDS)  # silence gives no sign
