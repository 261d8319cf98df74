"""A task that was revoked, from Flower for instance, is a job that shall be cancelled.

A revoke is a broadcast: every worker notes the task's id, whoever has the job, and would skip its
message. So every worker cancels the job, waiting or running, and then forgets the revoke; a later
hint finds the job over.
"""

import logging
from collections.abc import Iterable
from typing import Protocol

import redis

from app.domain.errors import NotFound
from app.domain.job import Reason
from workers.site import Site

logger = logging.getLogger(__name__)
DETAIL = "its task was revoked"
REVOKE_SECONDS = 0.5


class Revoked(Protocol):
    """Celery's set of the ids of revoked tasks."""

    def as_dict(self) -> dict[str, float]:
        """The ids, with the times they were added."""
        ...

    def discard(self, item: str) -> None:
        """Forgets one."""
        ...


class Revokes:
    """Cancels the jobs of revoked tasks."""

    def __init__(self, site: Site, revoked: Revoked) -> None:
        self._site = site
        self._revoked = revoked

    def heed(self, _now: float) -> None:
        """Cancels what was revoked since the last time. Raises redis's errors: then again."""
        for task_id in self._ids():
            try:
                self._cancel(task_id)
            except redis.RedisError:
                raise
            except Exception:  # of one task; the others' revokes count all the same
                logger.exception("the revoke of %s", task_id)
            self._revoked.discard(task_id)

    def _ids(self) -> Iterable[str]:
        return list(self._revoked.as_dict())

    def _cancel(self, task_id: str) -> None:
        deployment, _, job_id = task_id.partition(".")
        ledger = self._site.ledger
        try:
            uid = ledger.deployments.get(deployment).uid
            hints = ledger.jobs.cancel(uid, job_id, Reason.CANCELLED, DETAIL)
        except NotFound:
            return  # some other task's, or a job that is long forgotten
        logger.info("%s was revoked", task_id)
        self._site.publish(hints)
