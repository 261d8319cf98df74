"""Inference keys: random, shown once, stored as hashes."""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any

import redis

from app.ledger import keys
from app.ledger.deployments import DeploymentRecord, record
from app.ledger.guesses import Guess, Guesses
from app.ledger.verbs import Verbs


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks and for what; None where there is no such key, or no such deployment."""

    key_name: str | None
    deployment: DeploymentRecord | None


class InferenceKeys:
    """The keys that clients of the data plane present: `<key id>.<secret>`."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._client = client
        self._verbs = verbs
        self._guesses = Guesses()

    def create(self, name: str) -> tuple[str, str]:
        """Makes a key; returns its id and the key itself, which can't be read again."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        entry = json.dumps({"name": name, "sha256": _sha256(secret)})
        self._client.hset(keys.inference_keys(), key_id, entry)
        return key_id, f"{key_id}.{secret}"

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


def _key_id(presented: str) -> bytes:
    return presented.partition(".")[0].encode("utf-8", "surrogatepass")


def _owner(presented: str, raw: bytes | None) -> str | None:
    # The secret has 256 random bits, so a plain hash is enough; compared in constant time.
    entry: dict[str, str] = json.loads(raw) if raw else {"name": "", "sha256": ""}
    known = hmac.compare_digest(entry["sha256"], _sha256(presented.partition(".")[2]))
    return entry["name"] if known else None


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
