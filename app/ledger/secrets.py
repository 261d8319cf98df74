"""Secrets, file-secrets and registry credentials: named once, listed without values, sealed."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import redis
from pydantic_core import to_json

from app.domain.change import names_in
from app.domain.deployment import Deployment
from app.domain.errors import Conflict, NotFound
from app.ledger import keys, records
from app.ledger.sealing import SETTING, NoKey, Sealer
from app.ledger.verbs import Verbs

LIMIT = 1000  # of each kind
PAGE = 10  # deployments that are read in one round trip: a spec may be a MiB, in many versions


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
        missing = NotFound(f"no {kind} {name[:200]!r}")
        if not self._client.hexists(keys.secrets(kind), name):
            raise missing
        users = [] if force else sorted(self._users(kind, name))
        if users:
            raise Conflict(
                f"{kind} {name!r} is used by {', '.join(users)}; force=true deletes it all the same"
            )
        if self._verbs("delete_secret", kind, name) == b"missing":  # somebody else was faster
            raise missing

    def _users(self, kind: Kind, name: str) -> Iterator[str]:
        """Names of the deployments that refer to one.

        They may do so in an earlier version that a job still holds a slot with. Those that are
        being deleted start nothing more. Many round trips: Redis serves others in between.
        """
        uids: Any = self._client.hvals(keys.deployments())
        for start in range(0, len(uids), PAGE):
            for user, state, specs in self._page(map(records.text, uids[start : start + PAGE])):
                if state != b"terminating" and any(_refers(spec, kind, name) for spec in specs):
                    yield records.text(user)

    def _page(self, uids: Iterable[str]) -> Iterator[tuple[bytes, bytes, Sequence[bytes]]]:
        pipeline = self._client.pipeline(transaction=False)
        for uid in uids:
            pipeline.hmget(keys.deployment(uid), "name", "state")
            pipeline.hvals(keys.specs(uid))
        answers = pipeline.execute()
        for (name, state), specs in zip(answers[::2], answers[1::2], strict=True):
            yield name, state, specs

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


def _refers(spec: bytes, kind: Kind, name: str) -> bool:
    """Whether a stored spec refers to a secret of this kind."""
    if to_json(name) not in spec:  # most need not be read
        return False
    names = names_in(Deployment.model_validate_json(spec))
    of_kind = {
        Kind.SECRET: names.secrets,
        Kind.FILE_SECRET: names.file_secrets,
        Kind.CREDENTIALS: names.credentials,
    }
    return name in of_kind[kind]


def _record(name: str, entry: dict[str, str]) -> SecretRecord:
    return SecretRecord(name, records.instant(entry["created_at"]), json.loads(entry["facts"]))
