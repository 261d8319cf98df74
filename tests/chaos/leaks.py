"""What is left once all jobs are over: it must be nothing but what has a time to live."""

import time
from collections.abc import Iterator
from typing import Any

import redis

from app.dispatch import compute_queue, node_queue
from app.ledger import Ledger, keys
from tests.chaos.world import World

PATIENCE_SECONDS = 120.0  # after the last end; what a killed worker left half-made goes last
COMPUTE = "cpu"
_DUE = f"{keys.PREFIX}due:deadlines"


class Leaks:
    """Counts what jobs have left."""

    def __init__(self, world: World, client: redis.Redis, names: list[str]) -> None:
        ledger = Ledger(client)
        self._world = world
        self._client: Any = client
        self._names = names
        self._uids = [ledger.deployments.get(name).uid for name in names]

    def settle(self) -> dict[str, int]:
        """Waits until nothing is left of jobs that run or wait; what still is, by its name."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while any((left := self._left()).values()) and time.monotonic() < give_up:
            time.sleep(0.2)  # teardown on another machine gives no sign
        return left

    def delete(self) -> dict[str, int]:
        """Deletes the deployments; the keys that are left of them, by their name."""
        for name in self._names:
            self._world.faces.delete(f"/job-deployments/{name}?timeout=15000")
        kept = [(key, self._client.ttl(key)) for key in self._left_keys()]
        return {
            "keys": sum(ttl == -1 for _, ttl in kept),
            "keys that go by themselves": sum(ttl >= 0 for _, ttl in kept),
        }

    def _left(self) -> dict[str, int]:
        client, node = self._client, self._world.node
        place = self._world.places[0]
        dues = (keys.ttl(), keys.due_strays(), keys.dispatched(COMPUTE), _DUE)
        queues = (compute_queue(COMPUTE), node_queue(node))
        return {
            "containers": len(place.containers()),
            "spool directories": len(place.spools()),
            "slots": sum(client.scard(keys.slots(uid)) for uid in self._uids),
            "waiting jobs": sum(client.zcard(keys.queue(uid)) for uid in self._uids),
            "leases": client.zcard(keys.leases(node)),
            "things due": sum(client.zcard(key) for key in dues),
            "messages": sum(client.llen(queue) for queue in queues),
        }

    def _left_keys(self) -> Iterator[str]:
        """Keys of the deleted deployments, keys that name them in their value, and all payloads."""
        for raw in self._client.scan_iter(f"{keys.PREFIX}*"):
            key = raw.decode()
            texts = [key.encode(), *self._values(key)]
            if key.startswith(keys.payload("")) or any(map(self._names_one, texts)):
                yield key

    def _names_one(self, text: bytes) -> bool:
        return any(uid.encode() in text for uid in self._uids)

    def _values(self, key: str) -> list[bytes]:
        client = self._client
        read = {
            b"zset": lambda: client.zrange(key, 0, -1),
            b"set": lambda: client.smembers(key),
            b"hash": lambda: client.hvals(key),
            b"list": lambda: client.lrange(key, 0, -1),
            b"string": lambda: [client.get(key)],
        }
        return list(read.get(client.type(key), list)())
