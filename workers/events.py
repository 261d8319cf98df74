"""What the usher says happened: its event file as a record.

Each line is `<microseconds since the epoch> <name> key=value …`. An app can write there too: a
line that can't be read is skipped, numbers are bounded, and all of it concerns that one job.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from app.domain.verdict import Stopping

_MICROSECONDS_LIMIT = 253_402_300_800_000_000  # the year 10000, where datetime ends
_NUMBER_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event file."""

    name: str
    at: datetime
    values: dict[str, str] = field(default_factory=dict)

    def number(self, key: str) -> int | None:
        """A whole number of the event, None if it has none or it makes no sense."""
        try:
            value = int(self.values[key])
        except (KeyError, ValueError):
            return None
        return value if abs(value) < _NUMBER_LIMIT else None


@dataclass(frozen=True, slots=True)
class Events:
    """All that the usher wrote so far; the first of each name counts."""

    by_name: dict[str, Event]

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def get(self, name: str) -> Event | None:
        """The first event of that name."""
        return self.by_name.get(name)

    @property
    def exited(self) -> Event | None:
        """How the app's process ended; the usher's last word."""
        return self.get("exited")

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the app: noted before its first byte."""
        return "sent" in self

    @property
    def stopping(self) -> Stopping | None:
        """Why the usher began to end the job, None if it did not."""
        event = self.get("stopping")
        why = event.values.get("why") if event else None
        return cast(Stopping, why) if why in ("deadline", "startup", "signal") else None

    @property
    def answered(self) -> bool:
        """Whether anything ever answered the health check."""
        event = self.get("stopping")
        return event is not None and event.values.get("health") in ("unhealthy", "healthy")


def parse(text: str) -> Events:
    """The events of a text that may be cut off or forged."""
    by_name: dict[str, Event] = {}
    for event in _lines(text):
        by_name.setdefault(event.name, event)
    return Events(by_name)


def _lines(text: str) -> Iterator[Event]:
    complete, _, _ = text.rpartition("\n")
    for line in complete.split("\n"):
        words = line.split(" ")
        if len(words) < 2 or not words[0].isascii() or not words[0].isdigit():
            continue
        microseconds = int(words[0][:20])
        if microseconds >= _MICROSECONDS_LIMIT:
            continue
        pairs = (word.partition("=") for word in words[2:])
        values = {key: value for key, _, value in pairs}
        yield Event(words[1], datetime.fromtimestamp(microseconds / 1e6, UTC), values)
