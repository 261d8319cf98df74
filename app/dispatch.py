"""Publishes "look at this job" to the workers, by task name. Messages carry ids only.

A message is a hint: the ledger knows what is due, and the sweep publishes again what is lost. So
publishing never fails a request, has short timeouts, does not go on after a failure, and needs no
result backend (with one, a dead Redis held a publisher 19 s instead of 0.6 s).
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from app.domain.job import Hint

TASK = "onejob.run"
PULL_TASK = "onejob.pull"
PULL_EXPIRY_SECONDS = 600  # nobody pulls ahead what was wished for so long ago
logger = logging.getLogger(__name__)
Publish = Callable[[Iterable[Hint]], None]
Prepull = Callable[[str, str, int, Iterable[str]], None]

_TRANSPORT = {
    "socket_timeout": 2,
    "socket_connect_timeout": 0.5,
    "socket_keepalive": True,
    "retry_on_timeout": False,
    # kombu would sleep 2 s and try again, within its connection timeout.
    "max_retries": 0,
}


def compute_queue(compute: str) -> str:
    """The Celery queue of a compute resource; only workers that have it consume it."""
    return f"compute.{compute}"


def node_queue(node: str) -> str:
    """The Celery queue of one node: attempts that its workers take over."""
    return f"node.{node}"


def forget_node_queue(client: redis.Redis, node: str) -> None:
    """Removes what the broker keeps of a node's own queue. Raises redis's errors."""
    queue = node_queue(node)
    client.delete(queue, f"_kombu.binding.{queue}", f"_kombu.binding_permanent.{queue}")


def task_id(hint: Hint) -> str:
    """The Celery task's id, the same for every hint of a job."""
    return f"{hint.deployment}.{hint.id}"


def celery_redis(url: str) -> tuple[str, dict[str, Any]]:
    """A Redis URL for Celery: without parameters, and the TLS options that it needs beside it.

    The options are empty without TLS. In a URL Celery and kombu read some of them only, Flower
    reads none, and kombu verifies nobody where it is told nothing.
    """
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return url, {}
    tls: dict[str, Any] = {"ssl_cert_reqs": "required"} | dict(parse_qsl(parts.query))
    tls["ssl_check_hostname"] = tls.get("ssl_check_hostname") != "false"
    return parts._replace(query="").geturl(), tls


class Publisher:
    """Sends hints to the queue of their compute resource, or to a node's own."""

    def __init__(self, redis_url: str) -> None:
        url, tls = celery_redis(redis_url)
        self._celery = Celery("onejob", broker=url)
        self._celery.conf.update(
            broker_use_ssl=tls or False,
            broker_transport_options=_TRANSPORT,
            broker_connection_timeout=1,
            task_create_missing_queues=True,
        )

    def __call__(self, hints: Iterable[Hint]) -> None:
        """Publishes each hint to its compute resource's queue. Never raises for a dead broker."""
        self._send((hint, compute_queue(hint.compute)) for hint in hints)

    def to_node(self, hints: Iterable[Hint], node: str) -> None:
        """Publishes each hint to the node's own queue. Never raises for a dead broker."""
        self._send((hint, node_queue(node)) for hint in hints)

    def pull(self, deployment: str, uid: str, version: int, nodes: Iterable[str]) -> None:
        """Asks nodes to pull a deployment's image ahead. Never raises for a dead broker."""
        options: dict[str, Any] = {"retry": False, "expires": PULL_EXPIRY_SECONDS}
        try:
            for node in nodes:
                self._celery.send_task(
                    PULL_TASK,
                    args=(uid, version),
                    task_id=f"pull:{deployment}:{uid}:{version}@{node}",  # no job has such a name
                    queue=node_queue(node),
                    **options,
                )
        except (OperationalError, redis.RedisError, OSError) as error:
            logger.warning("the image of %s is not pulled ahead: %s", deployment, error)

    def _send(self, addressed: Iterable[tuple[Hint, str]]) -> None:
        for hint, queue in addressed:
            try:
                self._publish(hint, queue)
            # kombu wraps only what goes wrong while it connects.
            except (OperationalError, redis.RedisError, OSError) as error:
                # Each of the others would take its timeout, too.
                logger.warning("hints from %s on are left to the sweep: %s", task_id(hint), error)
                return

    def _publish(self, hint: Hint, queue: str) -> None:
        # No result is asked for here, but the message must not say so: the worker would store none.
        options: dict[str, Any] = {"retry": False, "ignore_result": False}
        self._celery.send_task(
            TASK, args=(hint.uid, hint.id), task_id=task_id(hint), queue=queue, **options
        )
