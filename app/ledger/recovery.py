"""Which ledger this is, and how it is recovered after it was restored from an older file.

Such a file can have forgotten claims: then a job would be started a second time while its replica
runs. So an operator says `onejob recover`, and nothing is claimed until every node has reported.
An empty Redis, or a wrong one, is noticed by its id: see `workers.allegiance`.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import redis

from app.domain.job import Hint
from app.ledger import keys, records
from app.ledger.verbs import Verbs


@dataclass(frozen=True, slots=True)
class Identity:
    """A ledger's random id, and how often it was recovered."""

    id: str
    epoch: int


class Recovery:
    """The ledger's identity, and what nodes report."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._client = client
        self._verbs = verbs

    def identity(self) -> Identity:
        """Which ledger this is; one that has no id yet gets it."""
        name, epoch = self._verbs("identify", secrets.token_hex(8))
        return Identity(records.text(name), int(epoch))

    def begin(self, expected: Iterable[str] = ()) -> list[str]:
        """Stops all claims until the nodes that it returns have reported, or are forgotten.

        Those are the nodes that this ledger knows, and those that are `expected` besides.
        """
        raw: Any = self._verbs("recover", self.identity().epoch, *expected)
        return sorted(records.text(node) for node in raw)

    def waiting_for(self) -> list[str]:
        """The nodes that have not reported yet."""
        raw: Any = self._client.smembers(keys.recovering())
        return sorted(records.text(node) for node in raw)

    def asks(self, node: str) -> bool:
        """Whether this node has to report."""
        return bool(self._client.sismember(keys.recovering(), node))

    def report(
        self, node: str, identity: Identity, replicas: Iterable[tuple[str, str, int, str]]
    ) -> list[Hint]:
        """What a node has containers or spools of.

        (uid, job id, attempt, `reservation`); the last is "" where it is not known.
        """
        flat = (part for replica in replicas for part in replica)
        return records.hints(self._verbs("report", node, identity.epoch, *flat))
