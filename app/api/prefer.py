"""The Prefer header (RFC 7240), as far as it is known here."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TOLD = {"respond-async-proxy", "respond-async-container"}  # the app hears `respond-async`
_KNOWN = _TOLD | {"respond-async", "wait"}
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')  # a comma in quotes separates nothing
_WAIT = re.compile(r'wait\s*=\s*("?)([0-9]+)\1\s*(?:;.*)?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the client prefers; what is not known here goes through to the app."""

    no_response: bool  # only the status is wanted, no result
    wait_seconds: float | None  # how long it wants to wait for the result; None: as long as it may
    for_app: tuple[str, ...]

    @classmethod
    def of(cls, headers: Iterable[tuple[str, str]]) -> "Preferences":
        """Reads the Prefer headers among a request's."""
        values = [value for name, value in headers if name.lower() == "prefer"]
        found = (word for value in values for word in _PREFERENCE.findall(value))
        words = [word.strip() for word in found if word.strip()]
        names = {_name(word) for word in words}
        unknown = [word for word in words if _name(word) not in _KNOWN]
        told = ["respond-async"] if names & _TOLD else []
        otherwise = None if "respond-async-container" in names else 0
        wait_seconds = _wait_seconds(words, otherwise)
        return cls("respond-async-proxy" in names, wait_seconds, (*told, *unknown))

    def held_seconds(self, limit: float) -> float:
        """How long the answer may wait for the result, at most `limit`; 0: not at all."""
        if self.no_response:
            return 0
        return limit if self.wait_seconds is None else min(self.wait_seconds, limit)


def _name(preference: str) -> str:
    return preference.partition("=")[0].partition(";")[0].strip().lower()


def _wait_seconds(words: Sequence[str], otherwise: float | None) -> float | None:
    """The first `wait` counts, as with all preferences; one that is no number is none."""
    first = next((word for word in words if _name(word) == "wait"), "")
    match = _WAIT.fullmatch(first)
    return float(match[2]) if match else otherwise
