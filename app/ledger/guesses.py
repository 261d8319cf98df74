"""What a submit may take for granted, so that it costs one round trip.

A process remembers the keys and deployments that it saw. Nothing is decided by that: the script
that accepts a job compares it with what is true at that instant, and refuses if it no longer is.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from app.ledger.deployments import LARGEST_BYTES, DeploymentRecord

LIMIT = 256  # of each kind; one more, and all are forgotten
_Value = TypeVar("_Value")


class Outdated(Exception):
    """What was taken for granted is no longer so: nothing was done."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A key, as it was stored when it was good, and a deployment as it was."""

    key_id: bytes
    entry: bytes
    deployment: DeploymentRecord


class Guesses:
    """Keys and deployments that were there when they were last looked at."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._deployments: dict[str, DeploymentRecord] = {}

    def entry(self, key_id: bytes) -> bytes | None:
        """What was stored of a key."""
        return self._entries.get(key_id)

    def deployment(self, name: str) -> DeploymentRecord | None:
        """The deployment of that name."""
        return self._deployments.get(name)

    def keep_entry(self, key_id: bytes, entry: bytes | None) -> None:
        """Remembers a key that was presented with the right secret, or that there is none."""
        if entry is None:
            self._entries.pop(key_id, None)
        else:
            _keep(self._entries, key_id, entry)

    def keep_deployment(self, name: str, found: DeploymentRecord | None, size: int) -> None:
        """Remembers a deployment with a spec of that size, or that there is none."""
        if found is None or size > LARGEST_BYTES:
            self._deployments.pop(name, None)
        else:
            _keep(self._deployments, name, found)


def _keep(known: dict[Any, _Value], name: Any, value: _Value) -> None:
    if len(known) >= LIMIT and name not in known:
        known.clear()
    known[name] = value
