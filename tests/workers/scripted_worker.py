"""The real Celery app over an engine in memory: celery -A tests.workers.scripted_worker worker.

What a job does stands in its id: `works-…` succeeds, `fails-…` exits with 1, any other runs until
the test writes the end into its spool. In TEST_HANGS stands a verb that never returns, in
TEST_NO_ENGINE that there is no engine, in TEST_AWAY a file: while it is there the engine does not
answer. With TEST_STALLS the consumer hears nothing on its first connection.
"""

import os
import threading
from pathlib import Path

from tests.workers.rig import Engine, Usher, runs
from workers import site
from workers.engine import Container, ContainerSpec, EngineUnavailable, Image
from workers.images import Login, Watch, unwatched


def _started(spec: ContainerSpec) -> None:
    usher = Usher(ENGINE, spec)
    runs(usher)
    job_id = spec.labels["onejob.job"]
    if job_id.startswith("works"):
        usher.finish()
    elif job_id.startswith("fails"):
        usher.exit(1)


def _engine(_host: object, **_options: object) -> Engine:
    if os.environ.get("TEST_NO_ENGINE"):
        raise EngineUnavailable("no engine answers")
    return ENGINE


class HangingEngine(Engine):
    """One of its verbs never comes back."""

    def owned(self, node: str) -> list[Container]:
        away = os.environ.get("TEST_AWAY")
        if away and Path(away).exists():
            raise EngineUnavailable("no engine answers")
        return super().owned(node)

    def image(
        self, ref: str, *, refresh: bool, watch: Watch = unwatched, login: Login | None = None
    ) -> Image:
        if os.environ.get("TEST_HANGS") == "image":
            print("the engine hangs", flush=True)
            threading.Event().wait()
        return super().image(ref, refresh=refresh, watch=watch, login=login)

    def stop(self, id: str, seconds: float) -> None:
        if os.environ.get("TEST_HANGS") == "stop":
            threading.Event().wait()
        super().stop(id, seconds)


ENGINE = HangingEngine()
ENGINE.on_start = _started
site.DockerEngine = _engine  # type: ignore[assignment,misc]
site.install_usher = lambda root: root / "node"

from workers.celery import app  # noqa: E402


def _stall() -> None:
    """The first poller of the broker never says that there is something to read."""
    from kombu.transport import redis as transport

    deaf: list[object] = []
    register = transport.MultiChannelPoller._register_BRPOP

    def register_brpop(self: object, channel: object) -> None:
        if not deaf or deaf[0] is self:
            deaf[:] = [self]
            return
        register(self, channel)

    transport.MultiChannelPoller._register_BRPOP = register_brpop


if os.environ.get("TEST_STALLS"):
    _stall()

__all__ = ["app"]
