"""Nodes: the machines that run replicas, and what they offer."""

import json
from typing import Any

import redis

from app.domain.compute import ComputeResource
from app.ledger import keys, records
from app.ledger.verbs import Verbs


class Nodes:
    """All nodes that ever announced themselves."""

    def __init__(self, client: redis.Redis, verbs: Verbs, silent_seconds: float = 15) -> None:
        self._client = client
        self._verbs = verbs
        self._silent_seconds = silent_seconds

    def announce(self, node: str, info: dict[str, Any]) -> None:
        """A node's sign of life, with what it offers (`compute`: name → resource)."""
        self._verbs("announce", node, json.dumps(info))

    def alive(self) -> list[dict[str, Any]]:
        """What the nodes offer that gave a sign of life lately, by Redis's clock."""
        clock: Any = self._client.time()
        since = clock[0] - self._silent_seconds
        names: Any = self._client.zrangebyscore(keys.nodes(), since, "+inf")
        with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(keys.node(records.text(name)), "info")
            return [json.loads(value) for value in pipe.execute() if value is not None]

    def compute(self) -> dict[str, ComputeResource]:
        """The compute resources of the nodes that are alive, by name."""
        return {
            name: ComputeResource.model_validate(resource)
            for info in self.alive()
            for name, resource in info.get("compute", {}).items()
        }
