"""What is overdue. Every worker sweeps; each step compares and sets, so any number may.

- hints whose message seems lost are published again (the flood rule is in the script);
- attempts of this node whose lease lapsed get a hint on the node's own queue;
- waiting jobs past their TTL expire; records past their retention go;
- deployments that are being deleted shrink;
- containers and spool directories of this node that no attempt needs are removed; containers
  long past their deadline are killed.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import redis

from app.dispatch import Publisher, compute_queue, node_queue
from app.domain.errors import NotFound
from app.domain.job import Job
from workers import plan
from workers.engine import Container, EngineError, EngineUnavailable, Phase
from workers.site import Site

logger = logging.getLogger(__name__)
DANGLING_SECONDS = 30.0
DRAFT_SECONDS = 600.0  # a directory is made in far less, also where Redis goes away meanwhile
RENEWAL_SECONDS = 3.0  # in which the heartbeat of whoever is there renews its leases
OVERDUE_SECONDS = 5.0  # the supervisor comes first


class Sweep:
    """The steps of one worker's sweep."""

    def __init__(self, site: Site, publisher: Publisher) -> None:
        self._site = site
        self._publisher = publisher
        self._last: float | None = None  # whole sweep
        self._next_take_over = 0.0
        self._next_dangling = 0.0

    def sweep(self, now: float) -> None:
        """All steps once; `now` is a monotonic clock's. Raises RedisError at the first sign."""
        steps = [self.republish, self.expire, self.forget, self.shrink]
        if self._may_take_over(now):
            steps.append(self.take_over)
        if now >= self._next_dangling:
            self._next_dangling = now + DANGLING_SECONDS
            steps.append(self.remove_dangling)
        for step in steps:
            _try(step)
        self._last = now

    def _may_take_over(self, now: float) -> bool:
        """After a time without Redis all leases have lapsed, and nobody may be to blame."""
        if self._last is not None and now - self._last > self._gap_seconds():
            self._next_take_over = now + RENEWAL_SECONDS
        return now >= self._next_take_over

    def _gap_seconds(self) -> float:
        settings = self._site.settings
        return max(3 * settings.sweep_seconds, settings.lease_seconds / 2)

    def republish(self) -> None:
        """Publishes lost hints of the compute resources that this worker has."""
        seconds = self._site.settings.hint_seconds
        for compute in self._site.compute:
            queue = compute_queue(compute)
            self._publisher(self._site.ledger.jobs.due_hints(compute, queue, seconds))

    def take_over(self) -> None:
        """Hints at attempts of this node that nobody supervises."""
        node = self._site.node
        lapsed = self._site.ledger.attempts.lapsed(node, node_queue(node))
        self._publisher.to_node(lapsed, node)

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

    def remove_dangling(self) -> None:
        """Removes containers, then spool directories, that no attempt needs.

        Kills those that are long past their deadline, too, should nobody supervise them.
        """
        for container in self._site.engine.owned(self._site.node):
            _try(partial(self._look_at, container), EngineUnavailable)
        for name in self._unneeded_spools():
            logger.warning("removing dangling spool directory %s", name)
            self._site.spool_root.attempt(name).remove()
        for name in self._site.spool_root.remove_drafts(DRAFT_SECONDS):
            logger.warning("removed unfinished spool directory %s", name)

    def _look_at(self, container: Container) -> None:
        parsed = plan.replica_of(container.name)
        if parsed is None:
            return  # not ours to judge
        job = self._needing(*parsed)
        if job is None:
            logger.warning("removing dangling container %s", container.name)
            self._site.engine.remove(container.id)
        elif container.phase is Phase.RUNNING and self._overdue(job):
            logger.warning("killing %s, past its deadline", container.name)
            self._site.engine.kill(container.id)

    def _overdue(self, job: Job) -> bool:
        if job.deadline_at is None:
            return False
        margin = timedelta(seconds=self._site.settings.stop_grace_seconds + OVERDUE_SECONDS)
        return datetime.now(UTC) > job.deadline_at + margin

    def _unneeded_spools(self) -> Iterator[str]:
        for name in self._site.spool_root.replicas():
            # The container goes first: a directory that one still needs stays.
            if self._dangling(name) and self._site.engine.find(name) is None:
                yield name

    def _dangling(self, replica: str) -> bool:
        parsed = plan.replica_of(replica)
        return parsed is not None and self._needing(*parsed) is None

    def _needing(self, uid: str, job_id: str, attempt: int) -> Job | None:
        """The job that an attempt's container and spool are there for, if any."""
        with suppress(NotFound):
            job = self._site.ledger.jobs.get(uid, job_id)
            return job if _needs(job, attempt) else None
        return None


def _needs(job: Job, attempt: int) -> bool:
    if job.attempt != attempt:
        return job.attempt < attempt  # a record from an older file: leave it to a person
    return job.teardown is not None or (job.node is not None and not job.state.final)


def _try(step: Callable[[], None], fatal: type[Exception] = redis.RedisError) -> None:
    """One step's trouble is not the others', unless all of them would wait for the same."""
    try:
        step()
    except (redis.RedisError, fatal):
        raise
    except (EngineError, OSError) as error:
        logger.warning("sweep: %s", error)
    except Exception:
        logger.exception("a step of the sweep failed")
