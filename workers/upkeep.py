"""What has to go from this node's engine and spool, whoever is or is not there to see to it.

- replicas past their deadline are killed, by what the engine alone knows: also without Redis;
- containers and spool directories that no attempt needs are removed, after a grace;
- strays, given up when this machine was out of reach, are removed, and their slots freed.

Nothing is removed for a ledger that is not this node's (`workers.allegiance`). The upkeep is also
what notices that the engine does not answer.

Every worker does it; each step looks first, so any number may.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import redis

from app.domain.errors import NotFound
from app.domain.job import Job
from app.ledger.nodes import Stray
from workers import plan
from workers.allegiance import FOREIGN, Allegiance
from workers.engine import Container, EngineError, EngineUnavailable, Phase
from workers.holding import Holding
from workers.site import Site

logger = logging.getLogger(__name__)
UPKEEP_SECONDS = 2.0
STRAYS_SECONDS = 6.0
DANGLING_SECONDS = 30.0
DANGLING_GRACE_SECONDS = 10.0  # for a container or directory whose attempt the ledger may yet show
DRAFT_SECONDS = 60.0  # a directory is made in far less, also where Redis goes away meanwhile
OVERDUE_SECONDS = 1.0  # beyond the grace: the usher and the supervisor come first


class Upkeep:
    """The upkeep of one worker's node."""

    def __init__(self, site: Site, grace_seconds: float = DANGLING_GRACE_SECONDS) -> None:
        self._site = site
        self._allegiance = Allegiance(site)
        self._grace = timedelta(seconds=grace_seconds)
        self._next_strays = 0.0
        self._next_dangling = 0.0

    def step(self, now: float) -> None:
        """What is due; `now` is a monotonic clock's. Raises EngineError, RedisError."""
        try:
            self.kill_overdue()
        except EngineError as error:
            self._site.fitness.stands("engine", f"the container engine does not answer: {error}")
            raise
        self._site.fitness.stands("engine", None)
        if not self._site.fitness.has("identity") and self.look():
            self._remove(now)

    def look(self) -> bool:
        """Whether this is the node's ledger. Raises EngineError, RedisError."""
        ours = self._allegiance.holds()
        self._site.fitness.stands("ledger", None if ours else FOREIGN)
        return ours

    def _remove(self, now: float) -> None:
        if now >= self._next_strays:
            self._next_strays = now + STRAYS_SECONDS
            self.remove_strays()
        if now >= self._next_dangling:
            self._next_dangling = now + DANGLING_SECONDS
            self.remove_dangling()

    # -- deadlines ---------------------------------------------------------------------------

    def kill_overdue(self) -> None:
        """Kills replicas past deadline and grace."""
        for container in self._site.engine.owned(self._site.node):
            if container.phase is Phase.RUNNING and self._may_be_overdue(container):
                _try(partial(self._kill_if_overdue, container))

    def _may_be_overdue(self, listed: Container) -> bool:
        """It was created before it was started: so most need no look of their own."""
        return listed.created_at is not None and self._overdue(listed.created_at, listed)

    def _kill_if_overdue(self, listed: Container) -> None:
        found = self._site.engine.find(listed.name)
        if found is None or found.phase is not Phase.RUNNING or found.started_at is None:
            return
        if self._overdue(found.started_at, listed):
            logger.warning("killing %s, past its deadline", listed.name)
            self._site.engine.kill(found.id)
            self._site.tally.count("swept", "overdue_killed")

    def _overdue(self, since: datetime, listed: Container) -> bool:
        if listed.deadline_seconds is None:
            return False
        seconds = listed.deadline_seconds + self._site.settings.stop_grace_seconds
        return datetime.now(UTC) > since + timedelta(seconds=seconds + OVERDUE_SECONDS)

    # -- strays ------------------------------------------------------------------------------

    def remove_strays(self) -> None:
        """Removes what this machine still ran when it was out of reach, and frees the slots."""
        for stray in self._site.ledger.nodes.strays(self._site.node):
            _try(partial(self._remove_stray, stray))

    def _remove_stray(self, stray: Stray) -> None:
        name = plan.replica_name_of(stray.uid, stray.id, stray.attempt)
        container = self._site.engine.find(name)
        found = self._found(name, container)
        logger.warning("removing %s, which was given up: %s", name, found)
        if container is not None:
            self._site.engine.remove(container.id)
        self._site.secret_root.attempt(name).remove()
        self._site.spool_root.attempt(name).remove()
        self._site.publish(self._site.ledger.nodes.drop_stray(self._site.node, stray, found))

    def _found(self, name: str, container: Container | None) -> str:
        """What had become of an attempt while this machine was out of reach."""
        events = self._site.spool_root.attempt(name).read_events().splitlines()
        last = f"; the usher's last word: {events[-1].partition(' ')[2]}" if events else ""
        phase = "gone" if container is None else container.phase.name.lower()
        return f"the machine is back: the replica was {phase}{last}"

    # -- what no attempt needs ---------------------------------------------------------------

    def remove_dangling(self) -> None:
        """Removes containers, then spool directories, that no attempt needs."""
        for container in self.dangling_containers():
            logger.warning("removing dangling container %s", container.name)
            _try(partial(self._remove_container, container.id))
        for name in self.dangling_secrets():
            logger.warning("removing dangling files of secrets %s", name)
            self._site.secret_root.attempt(name).remove()
            self._site.tally.count("swept", "secrets_removed")
        for name in self.dangling_spools():
            logger.warning("removing dangling spool directory %s", name)
            self._site.spool_root.attempt(name).remove()
            self._site.tally.count("swept", "spool_removed")
        for name in self._site.spool_root.remove_drafts(DRAFT_SECONDS):
            logger.warning("removed unfinished spool directory %s", name)
        for name in self._site.secret_root.remove_drafts(DRAFT_SECONDS):
            logger.warning("removed unfinished files of secrets %s", name)
        Holding(self._site.spool_root.path).replicas()  # removes marks that nobody holds

    def _remove_container(self, id: str) -> None:
        self._site.engine.remove(id)
        self._site.tally.count("swept", "container_removed")

    def dangling_containers(self) -> Iterator[Container]:
        """This node's containers that no attempt needs."""
        for container in self._site.engine.owned(self._site.node):
            if self._dangling(container.name) and not self._young(container.created_at):
                yield container

    def dangling_spools(self) -> Iterator[str]:
        """Spool directories that no attempt needs."""
        root = self._site.spool_root
        return self._dangling_names(root.replicas(), lambda name: root.attempt(name).made_at())

    def dangling_secrets(self) -> Iterator[str]:
        """Names of replicas whose files of secrets no attempt needs."""
        root = self._site.secret_root
        return self._dangling_names(root.replicas(), lambda name: root.attempt(name).made_at())

    def _dangling_names(
        self, names: list[str], made_at: Callable[[str], datetime | None]
    ) -> Iterator[str]:
        for name in names:
            # The container goes first: a directory that one still needs stays.
            young = self._young(made_at(name))
            if not young and self._dangling(name) and not self._has_container(name):
                yield name

    def _has_container(self, name: str) -> bool:
        try:
            return self._site.engine.find(name) is not None
        except EngineUnavailable:
            raise
        except EngineError as error:  # this one's trouble is not the others'
            logger.warning("upkeep: %s", error)
            return True

    def _young(self, made_at: datetime | None) -> bool:
        return made_at is not None and datetime.now(UTC) - made_at < self._grace

    def _dangling(self, replica: str) -> bool:
        parsed = plan.replica_of(replica)  # None: not ours to judge
        if parsed is None or self._needing(*parsed) is not None:
            return False
        return self._allegiance.is_ours()  # still: it may have been emptied a moment ago

    def _needing(self, uid: str, job_id: str, attempt: int) -> Job | None:
        """The job that an attempt's container and spool are there for, if any."""
        with suppress(NotFound):
            job = self._site.ledger.jobs.get(uid, job_id)
            return job if _needs(job, attempt) else None
        return None


def _needs(job: Job, attempt: int) -> bool:
    if job.attempt != attempt:
        return job.attempt < attempt  # a record from an older file: leave it to a person
    # Also of a job that waits: an older file has forgotten its claim.
    return job.teardown is not None or not job.state.final


def _try(step: Callable[[], None]) -> None:
    """One replica's trouble is not the others', unless all of them would wait for the same."""
    try:
        step()
    except (redis.RedisError, EngineUnavailable):
        raise
    except (EngineError, OSError) as error:
        logger.warning("upkeep: %s", error)
