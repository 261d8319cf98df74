"""Celery's thread pool, for tasks that Flower may terminate.

A thread can't be killed. Celery's pool raises at a "terminate", after the task was marked as
revoked; here it is a revoke like any other, which cancels the job (see `revokes`).
"""

from typing import Any

from celery.concurrency import thread


class Running(thread.ApplyResult):  # type: ignore[misc]  # Celery has no types
    """A task in its thread."""

    def terminate(self, _signal: int) -> None:
        """The job's end comes through the ledger."""


class Pool(thread.TaskPool):  # type: ignore[misc]
    """Threads, one a job."""

    def on_apply(self, *args: Any, **options: Any) -> Running:
        """Starts a task."""
        return Running(super().on_apply(*args, **options).f)

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """The job's end comes through the ledger."""
