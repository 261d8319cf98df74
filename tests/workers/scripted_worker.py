"""The real Celery app over an engine in memory: celery -A tests.workers.scripted_worker worker.

What a job does stands in its id: `works-…` succeeds, `fails-…` exits with 1, any other runs until
the test writes the end into its spool. In TEST_HANGS stands a verb that never returns, in
TEST_NO_ENGINE that there is no engine.
"""

import os
import threading

from tests.workers.rig import Engine, Usher, runs
from workers import site
from workers.engine import ContainerSpec, EngineUnavailable, Image


def _started(spec: ContainerSpec) -> None:
    usher = Usher(ENGINE, spec)
    runs(usher)
    job_id = spec.labels["onejob.job"]
    if job_id.startswith("works"):
        usher.finish()
    elif job_id.startswith("fails"):
        usher.exit(1)


def _engine(_host: object) -> Engine:
    if os.environ.get("TEST_NO_ENGINE"):
        raise EngineUnavailable("no engine answers")
    return ENGINE


class HangingEngine(Engine):
    """One of its verbs never comes back."""

    def image(self, ref: str, *, refresh: bool) -> Image:
        if os.environ.get("TEST_HANGS") == "image":
            threading.Event().wait()
        return super().image(ref, refresh=refresh)

    def stop(self, id: str, seconds: float) -> None:
        if os.environ.get("TEST_HANGS") == "stop":
            threading.Event().wait()
        super().stop(id, seconds)


ENGINE = HangingEngine()
ENGINE.on_start = _started
site.DockerEngine = _engine  # type: ignore[assignment,misc]
site.install_usher = lambda root: root / "node"

from workers.celery import app  # noqa: E402

__all__ = ["app"]
