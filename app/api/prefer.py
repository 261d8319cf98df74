"""The Prefer header (RFC 7240), as far as it is known here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TOLD = {"respond-async-proxy", "respond-async-container"}  # the app hears `respond-async`
_KNOWN = _TOLD | {"respond-async", "wait"}
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')  # a comma in quotes separates nothing


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the client prefers; what is not known here goes through to the app."""

    no_response: bool  # only the status is wanted, no result
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
        return cls("respond-async-proxy" in names, (*told, *unknown))


def _name(preference: str) -> str:
    return preference.partition("=")[0].partition(";")[0].strip().lower()
