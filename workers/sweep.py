"""What is overdue. Every worker sweeps; each step compares and sets, so any number may.

- hints whose message seems lost are published again (the flood rule is in the script);
- jobs that waited for room on this node, and can have it, get a hint on the node's own queue;
- attempts of this node whose lease lapsed get a hint on the node's own queue;
- waiting jobs past their TTL expire; records past their retention go;
- deployments that are being deleted shrink;
- what a machine held that has been silent for too long ends, and its slots are freed in time.

What the engine has to be asked for is the upkeep's (`workers.upkeep`).
"""

import logging
from collections.abc import Callable

import redis

from app.dispatch import Publisher, compute_queue, forget_node_queue, node_queue
from app.ledger.nodes import NodeView
from workers.site import Site

logger = logging.getLogger(__name__)
FORGOTTEN_SECONDS = 7 * 24 * 3600.0
RENEWAL_SECONDS = 3.0  # in which the heartbeat of whoever is there renews its leases


class Sweep:
    """The steps of one worker's sweep."""

    def __init__(self, site: Site, publisher: Publisher) -> None:
        self._site = site
        self._publisher = publisher
        self._last: float | None = None  # whole sweep
        self._server = ""  # the Redis process that it was of
        self._redis_time = 0.0  # by its clock
        self._next_take_over = 0.0
        self._watching_since = 0.0  # from then on without a gap

    def sweep(self, now: float) -> None:
        """All steps once; `now` is a monotonic clock's. Raises RedisError if Redis is away."""
        self._note_gap(now)
        steps = [
            self.republish,
            self.fill_room,
            self.expire,
            self.forget,
            self.shrink,
            self.free_strays,
        ]
        if now >= self._next_take_over:
            steps.append(self.take_over)
        if now - self._watching_since >= self._site.settings.node_timeout_seconds:
            steps += [self.lose_nodes, self.forget_nodes]
        for step in steps:
            _try(step)
        self._last = now

    def _note_gap(self, now: float) -> None:
        """After a time without Redis all leases have lapsed and all nodes were silent.

        Nobody may be to blame for it: leases can be renewed first, and each node gets its whole
        timeout again. The same where another process answers: its file may be an older one; and
        where Redis's clock went on more than ours, as after a suspension: it tells of silence.
        """
        known, self._server = self._server, str(self._site.ledger.client.info("server")["run_id"])
        seconds, microseconds = self._site.ledger.client.time()
        before, self._redis_time = self._redis_time, seconds + microseconds / 1e6
        if self._last is None:
            self._watching_since = now
        elif (
            max(now - self._last, self._redis_time - before) > self._gap_seconds()
            or known != self._server
        ):
            self._watching_since = now
            self._next_take_over = now + RENEWAL_SECONDS

    def _gap_seconds(self) -> float:
        settings = self._site.settings
        return max(3 * settings.sweep_seconds, settings.lease_seconds / 2)

    def republish(self) -> None:
        """Publishes lost hints of the compute resources that this worker has."""
        seconds = self._site.settings.hint_seconds
        for compute in self._site.compute:
            queue = compute_queue(compute)
            self._publisher(self._site.ledger.jobs.due_hints(compute, queue, seconds))

    def fill_room(self) -> None:
        """Hints at the jobs that waited for room which others made, if jobs may be taken now."""
        if self._site.fitness.fit:
            self._site.room.fill()

    def take_over(self) -> None:
        """Hints at attempts of this node that nobody supervises."""
        node = self._site.node
        lapsed = self._site.ledger.attempts.lapsed(node, node_queue(node))
        self._publisher.to_node(lapsed, node)
        self._site.tally.count("swept", "take_over_hinted", by=len(lapsed))

    def expire(self) -> None:
        """Ends waiting jobs past their TTL."""
        more = True
        while more:
            more, hints = self._site.ledger.jobs.expire_due()
            self._publisher(hints)

    def forget(self) -> None:
        """Deletes records past their retention."""
        while self._site.ledger.jobs.forget_due():
            pass

    def shrink(self) -> None:
        """Moves the deletion of deployments on."""
        for uid in self._site.ledger.deployments.terminating():
            while self._site.ledger.deployments.shrink(uid) == "more":
                pass

    def lose_nodes(self) -> None:
        """Ends what machines held that have been silent for the node timeout."""
        settings = self._site.settings
        timeout, grace = settings.node_timeout_seconds, settings.stop_grace_seconds
        for node in self._silent(timeout):
            logger.warning("node %s is lost: silent for %.0f s", node.id, node.silent_seconds)
            more = True
            while more:
                more, hints = self._site.ledger.nodes.lose(
                    node.id, timeout, grace, settings.free_lost_slots
                )
                self._publisher(hints)

    def _silent(self, seconds: float) -> list[NodeView]:
        nodes = self._site.ledger.nodes.all()
        silent = [n for n in nodes if n.attempts and n.silent_seconds >= seconds]
        return [n for n in silent if n.id != self._site.node]  # this one is alive

    def forget_nodes(self) -> None:
        """Forgets machines that nothing waits for and nobody has heard of for long.

        Not those that have to report after a recovery: an older file knows only old signs of life.
        """
        waited_for = self._site.ledger.recovery.waiting_for()
        for node in self._site.ledger.nodes.all():
            idle = not node.attempts and not node.strays and node.id not in waited_for
            if idle and node.silent_seconds > FORGOTTEN_SECONDS:
                self._publisher(self._site.ledger.nodes.forget(node.id))
                forget_node_queue(self._site.ledger.client, node.id)

    def free_strays(self) -> None:
        """Frees the slots of lost replicas that are past their deadline for certain."""
        more = True
        while more:
            more, hints = self._site.ledger.nodes.free_strays()
            self._publisher(hints)


def _try(step: Callable[[], None]) -> None:
    """One step's trouble is not the others', unless all of them would wait for Redis."""
    try:
        step()
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except Exception:
        logger.exception("a step of the sweep failed")
