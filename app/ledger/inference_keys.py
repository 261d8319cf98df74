"""Inference keys: random, shown once, stored as hashes."""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from app.domain.errors import Conflict, NotFound
from app.ledger import keys, records
from app.ledger.deployments import DeploymentRecord, record
from app.ledger.guesses import Guess, Guesses
from app.ledger.verbs import Verbs

LIMIT = 1000
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks and for what; None where there is no such key, or no such deployment."""

    key_name: str | None
    deployment: DeploymentRecord | None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known of a key: all but its secret."""

    id: str  # its first part
    name: str
    created_at: datetime | None  # None: made before that was noted


class InferenceKeys:
    """The keys that clients of the data plane present: `<key id>.<secret>`."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._client = client
        self._verbs = verbs
        self._guesses = Guesses()

    def create(self, name: str) -> tuple[str, str]:
        """Makes a key; returns its id and the key itself, which can't be read again.

        Names are for people: several keys may have the same. Raises Conflict if there are too many.
        """
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        entry = self._verbs("create_key", key_id, name, _sha256(secret), LIMIT)
        if entry is None:
            raise Conflict(f"there are {LIMIT} inference keys: revoke those that nobody needs")
        return key_id, f"{key_id}.{secret}"

    def get(self, key_id: str) -> KeyRecord:
        """What is known of a key. Raises NotFound."""
        entry: Any = self._client.hget(keys.inference_keys(), key_id)
        if entry is None:
            raise NotFound(f"no inference key {key_id[:200]!r}")
        return _record(key_id, entry)

    def list(self) -> list[KeyRecord]:
        """All keys, oldest first."""
        raw: Any = self._client.hgetall(keys.inference_keys())
        found = [_record(records.text(key_id), entry) for key_id, entry in raw.items()]
        return sorted(found, key=lambda key: (key.created_at or _NEVER, key.id))

    def revoke(self, key_id: str) -> None:
        """Makes a key no key, at once. Raises NotFound."""
        self._verbs("revoke_key", self.get(key_id).id)

    def verify(self, presented: str) -> str | None:
        """The name of a presented key, None if there is no such key."""
        raw: Any = self._client.hget(keys.inference_keys(), _key_id(presented))
        return _owner(presented, raw)

    def access(self, name: str, presented: str) -> Access:
        """A presented key's name and a deployment by its name, in one round trip.

        Nothing is refused here: the caller decides what it tells to whom.
        """
        entry, found = self._verbs("access", name, _key_id(presented))
        owner, deployment = _owner(presented, entry), record(found) if found else None
        if owner is not None or entry is None:
            self._guesses.keep_entry(_key_id(presented), entry)
        if owner is not None:
            self._guesses.keep_deployment(name, deployment, len(found[1]) if found else 0)
        return Access(owner, deployment)

    def guess(self, name: str, presented: str) -> Guess | None:
        """What `access` said when it was last asked, without a round trip.

        None unless it saw this deployment, and this very key, here before.
        """
        key_id = _key_id(presented)
        entry, deployment = self._guesses.entry(key_id), self._guesses.deployment(name)
        if entry is None or deployment is None or _owner(presented, entry) is None:
            return None
        return Guess(key_id, entry, deployment)


def _record(key_id: str, entry: bytes) -> KeyRecord:
    known: dict[str, str] = json.loads(entry)
    at = known.get("created_at")
    return KeyRecord(key_id, known["name"], records.instant(at) if at else None)


def _key_id(presented: str) -> bytes:
    return presented.partition(".")[0].encode("utf-8", "surrogatepass")


def _owner(presented: str, raw: bytes | None) -> str | None:
    # The secret has 256 random bits, so a plain hash is enough; compared in constant time.
    entry: dict[str, str] = json.loads(raw) if raw else {"name": "", "sha256": ""}
    known = hmac.compare_digest(entry["sha256"], _sha256(presented.partition(".")[2]))
    return entry["name"] if known else None


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
