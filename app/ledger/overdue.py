"""What is due for the sweep, to be looked at by a person."""

from collections.abc import Callable
from typing import Any

import redis

from app.ledger import keys, records


class Overdue:
    """Looks, and changes nothing. `compute_queue` names a compute resource's Celery queue."""

    def __init__(self, client: redis.Redis, compute_queue: Callable[[str], str]) -> None:
        self._client = client
        self._compute_queue = compute_queue

    def counts(self) -> dict[str, int]:
        """How many of each kind the next sweep would see to; kinds without any are left out."""
        clock: Any = self._client.time()
        now = clock[0] + clock[1] / 1e6
        due = {
            "waiting jobs past their TTL": keys.ttl(),
            "records past their retention": keys.retention(),
            "slots of lost replicas past their deadline": keys.due_strays(),
            **self._by_prefix("lapsed leases of node", *_around(keys.leases("\0"))),
        }
        found = {kind: self._due(name, now) for kind, name in due.items()}
        terminating: Any = self._client.scard(keys.terminating())
        found |= self._lost(now)
        found["deployments being deleted"] = int(terminating)
        return {kind: count for kind, count in found.items() if count}

    def _lost(self, now: float) -> dict[str, int]:
        """Messages that the flood rule of `due_hints` lets the sweep publish again."""
        found = dict[str, int]()
        before = keys.dispatched("")
        for kind, name in self._by_prefix("lost messages of compute", before).items():
            dispatched: Any = self._client.zcard(name)
            lying: Any = self._client.llen(self._compute_queue(name.removeprefix(before)))
            found[kind] = max(0, min(self._due(name, now), dispatched - lying))
        return found

    def _due(self, name: str, now: float) -> int:
        count: Any = self._client.zcount(name, "-inf", now)
        return int(count)

    def _by_prefix(self, kind: str, before: str, after: str = "") -> dict[str, str]:
        names = (
            records.text(key) for key in self._client.scan_iter(f"{before}*{after}", count=1000)
        )
        return {f"{kind} {n.removeprefix(before).removesuffix(after)}": n for n in names}


def _around(name: str) -> tuple[str, str]:
    before, _, after = name.partition("\0")
    return before, after
