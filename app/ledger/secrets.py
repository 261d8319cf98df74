"""Secrets, file-secrets and registry credentials: named once, listed without values, sealed."""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import redis

from app.domain.errors import Conflict, NotFound
from app.ledger import keys, records
from app.ledger.sealing import SETTING, NoKey, Sealer
from app.ledger.verbs import Verbs

LIMIT = 1000  # of each kind


class Kind(StrEnum):
    """What there is to keep; each has its own names. The value is the word for a person."""

    SECRET = "secret"
    FILE_SECRET = "file-secret"
    CREDENTIALS = "registry credential"


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """What is told of a secret: all but its value. `facts` may be listed."""

    name: str
    created_at: datetime
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Opened:
    """A value, and an id that changes with it: another secret under the same name has another."""

    id: str
    value: Any = field(repr=False)


class Secrets:
    """All secrets of all kinds."""

    def __init__(self, client: redis.Redis, verbs: Verbs, sealer: Sealer) -> None:
        self._client = client
        self._verbs = verbs
        self._sealer = sealer

    def create(self, kind: Kind, name: str, value: Any, facts: dict[str, Any]) -> SecretRecord:
        """Stores a value (JSON) under a new name. Raises Conflict, also where there is no key."""
        try:
            sealed = self._sealer.seal(kind, name, value)
        except NoKey:
            raise Conflict(
                f"this server keeps no secrets: its operator has to set {SETTING}"
            ) from None
        token = secrets.token_hex(8)
        listed = json.dumps(facts)
        verdict, *rest = self._verbs("create_secret", kind, name, sealed, listed, token, LIMIT)
        if verdict == b"taken":
            raise Conflict(f"name: a {kind} {name!r} exists already")
        if verdict == b"many":
            raise Conflict(f"there are {LIMIT} of the kind {kind}: delete those that nobody needs")
        return _record(name, json.loads(rest[0]))

    def list(self, kind: Kind) -> list[SecretRecord]:
        """What is told of all of a kind, oldest first."""
        raw: Any = self._client.hgetall(keys.secrets(kind))
        found = [_record(records.text(name), json.loads(entry)) for name, entry in raw.items()]
        return sorted(found, key=lambda record: (record.created_at, record.name))

    def names(self) -> dict[Kind, frozenset[str]]:
        """The names of each kind, in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        for kind in Kind:
            pipeline.hkeys(keys.secrets(kind))
        found = zip(Kind, pipeline.execute(), strict=True)
        return {kind: frozenset(map(records.text, names)) for kind, names in found}

    def delete(self, kind: Kind, name: str, force: bool) -> None:
        """Forgets one. Raises NotFound; Conflict if deployments refer to it, unless by force."""
        verdict, *users = self._verbs("delete_secret", kind, name, int(force))
        if verdict == b"missing":
            raise NotFound(f"no {kind} {name[:200]!r}")
        if verdict == b"used":
            named = ", ".join(sorted(records.text(user) for user in users))
            raise Conflict(
                f"{kind} {name!r} is used by {named}; force=true deletes it all the same"
            )

    def open(self, kind: Kind, name: str) -> Opened:
        """A value. Raises NotFound, NoKey, CantOpen."""
        raw: Any = self._client.hget(keys.secrets(kind), name)
        if raw is None:
            raise NotFound(f"there is no {kind} {name!r} any more")
        sealed = json.loads(raw)["sealed"]
        digest = hashlib.sha256(sealed.encode()).hexdigest()
        return Opened(digest, self._sealer.open(kind, name, sealed))

    def rotate(self) -> int:
        """Seals every value anew under the first key; how many. Raises NoKey, CantOpen.

        One that is deleted meanwhile stays deleted.
        """
        return sum(self._rotated(kind) for kind in Kind)

    def _rotated(self, kind: Kind) -> int:
        raw: Any = self._client.hgetall(keys.secrets(kind))
        for raw_name, entry in raw.items():
            name, sealed = records.text(raw_name), json.loads(entry)["sealed"]
            anew = self._sealer.reseal(kind, name, sealed)
            self._verbs("reseal_secret", kind, name, sealed, anew)
        return len(raw)


def _record(name: str, entry: dict[str, str]) -> SecretRecord:
    return SecretRecord(name, records.instant(entry["created_at"]), json.loads(entry["facts"]))
