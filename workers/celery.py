"""The workers' Celery app.

    celery -A workers.celery worker        (pool, queues and concurrency come from the settings)
    celery -A workers.celery flower

Messages are hints and are acknowledged early: the Redis transport is not at-least-once (kombu
#305), and late acknowledgement would run long tasks again after the visibility timeout (celery
#5935). What is lost is published again by the sweep.
"""

import logging
import signal
from types import FrameType
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state as celery_state
from kombu.entity import Queue

from app import settings as app_settings
from app.dispatch import celery_redis, compute_queue, node_queue
from workers import broker, worker
from workers.consuming import Intake

logger = logging.getLogger(__name__)
_settings = app_settings.load()
_worker: list[worker.Worker] = []

broker.install()
_url, _tls = celery_redis(_settings.redis_url)
app = Celery("onejob", broker=_url, backend=_url)
app.conf.update(
    broker_use_ssl=_tls or False,
    redis_backend_use_ssl=_tls or None,
    imports=("workers.tasks",),
    worker_pool="workers.pool:Pool",  # supervising is waiting: a thread a job, not a process
    worker_concurrency=_settings.concurrency,
    # A busy worker holds as many hints more; what waits there too long is hinted at elsewhere.
    worker_prefetch_multiplier=1,
    task_acks_late=False,
    task_track_started=False,  # `tasks.run` says so itself, when nobody waits for it
    task_send_sent_event=True,
    worker_send_task_events=True,
    # Redis may be away for long: never give up, and never hang on a connection that is dead.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "socket_timeout": 30,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
    },
    # The result is for Flower and `AsyncResult`; the truth is told by then. So it is tried twice
    # and forgotten: Celery's default holds a task for 20 s.
    result_expires=_settings.result_retention_seconds,
    result_backend_transport_options={
        "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.5}
    },
    result_backend_thread_safe=True,  # one pool of connections, not one a thread
    redis_socket_timeout=5,
    redis_socket_connect_timeout=2,
    worker_redirect_stdouts=False,
    worker_hijack_root_logger=False,
)


def current() -> worker.Worker:
    """The worker that this process is. Raises RuntimeError in one that is none."""
    if not _worker:
        raise RuntimeError("this process is no worker")
    return _worker[0]


@signals.celeryd_init.connect
def _choose_queues(conf: Any, **_: Any) -> None:
    """A machine consumes the queues of the compute it has, and its node's own."""
    try:
        _worker.append(worker.from_environment(celery_state.revoked))
    except Exception as error:
        # Celery would log it and go on: with a worker that takes every job and can run none.
        raise SystemExit(f"onejob: this worker can't start: {error}") from error
    here = _worker[0].site
    names = [compute_queue(name) for name in here.compute] + [node_queue(here.node)]
    conf.task_queues = [Queue(name, routing_key=name) for name in names]


@signals.worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:
    intake = Intake(_settings.concurrency, lambda: len(celery_state.reserved_requests))
    signals.task_received.connect(intake.note, weak=False)
    current().watch(sender, intake)
    current().start()
    _leave_before_a_cold_shutdown()


def _leave_before_a_cold_shutdown() -> None:
    """At SIGQUIT Celery cancels its tasks in the handler, before it tells anyone: that can hang."""
    celerys: Any = signal.getsignal(signal.SIGQUIT)

    def handle(number: int, frame: FrameType | None) -> None:
        current().leave()
        celerys(number, frame)

    signal.signal(signal.SIGQUIT, handle)


@signals.worker_shutting_down.connect
def _leave(**_: Any) -> None:
    """At once, in the signal's handler: Celery itself may be waiting for something."""
    current().leave()


class Leaving(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Has the supervisors let go at a shutdown that no signal asked for, such as Flower's.

    The pool waits for its tasks, whatever kind of shutdown it is.
    """

    def close(self, _worker: Any) -> None:
        """Called before anything is stopped."""
        current().leave()


app.steps["worker"].add(Leaving)


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    current().stop()
