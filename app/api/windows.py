"""The queries of a deployment's logs: a span of time, an order, how many, and what to look for."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flask import request

from app.api.entries import Parameter
from app.domain.errors import InvalidRequest

LIMIT, MOST = 50, 1000
SINCE = "15m"
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:ms|s|m|h|d))+", re.ASCII)
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_LONGEST_SECONDS = 10**11  # a larger number is one of nanoseconds
DURATION = "a duration such as 90s, 15m or 2h30m"
INSTANT = "an instant by RFC 3339, or in seconds or nanoseconds since the epoch"

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
# What is empty is not given.
_INSTANT = {"type": "string", "pattern": f"^(|{_NUMBER.pattern}|{_RFC_3339.pattern})$"}
_SINCE = {"type": "string", "pattern": f"^(|{_DURATION.pattern})$", "default": SINCE}
PARAMETERS = (
    Parameter("since", "query", _SINCE, f"How far back: {DURATION}."),
    Parameter("start", "query", _INSTANT, f"Instead of it: {INSTANT}."),
    Parameter("end", "query", _INSTANT, f"Now if not given: {INSTANT}."),
    Parameter("order", "query", {"enum": ["asc", "desc"], "default": "desc"}, "By their instant."),
    Parameter(
        "limit",
        "query",
        {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT},
        "At most so many.",
    ),
)


@dataclass(frozen=True, slots=True)
class Window:
    """What a query asks for. Instants are nanoseconds since the epoch, both ends included."""

    start: int
    end: int
    newest_first: bool
    limit: int

    def spans(self, at: int) -> bool:
        """Whether an instant lies in it."""
        return self.start <= at <= self.end


def asked() -> Window:
    """The window of the request. Raises InvalidRequest naming all that is wrong."""
    query, now = _Query(), time.time_ns()
    end = query.number("end", now, _instant, INSTANT)
    since = query.number("since", _duration(SINCE), _duration, DURATION)
    start = query.number("start", max(0, end - since), _instant, INSTANT)
    newest_first = query.number("order", 1, _order, "asc or desc") == 1
    limit = query.number("limit", LIMIT, _limit, f"a number from 1 to {MOST}")
    if not query.wrong and start > end:
        query.wrong.append("start: must not be later than end")
    if query.wrong:
        raise InvalidRequest("; ".join(query.wrong))
    return Window(start, end, newest_first, limit)


class _Query:
    """The request's query, and what is wrong with it."""

    def __init__(self) -> None:
        self.wrong = list[str]()

    def number(self, name: str, default: int, read: Callable[[str], int], allowed: str) -> int:
        """A member as a number, or the default where there is none."""
        text = request.args.get(name)
        if not text:
            return default
        try:
            return read(text)
        except (ValueError, KeyError, OverflowError):
            self.wrong.append(f"{name}: {text[:80]!r} is not allowed: must be {allowed}")
            return default


def _duration(text: str) -> int:
    if not _DURATION.fullmatch(text):
        raise ValueError(text)
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _instant(text: str) -> int:
    if _NUMBER.fullmatch(text):
        return int(text) if int(text) >= _LONGEST_SECONDS else int(text) * 10**9
    if not _RFC_3339.fullmatch(text):
        raise ValueError(text)
    at = datetime.fromisoformat(text.upper())
    return max(0, int(at.timestamp()) * 10**9 + at.microsecond * 1000)


def _order(text: str) -> int:
    return {"asc": 0, "desc": 1}[text]


def _limit(text: str) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST:
        raise ValueError(text)
    return int(text)
