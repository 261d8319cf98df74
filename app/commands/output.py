"""How answers are shown: JSON as the server said it, or columns of text."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

NOTHING = "-"
GAP = 2
_CONTROL = ("Cc", "Cf", "Zl", "Zp")


def show_json(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2))


def show_table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns, each as wide as it has to be; the titles too where there is no row."""
    lines = [list(titles), *([text(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        cells = (cell.ljust(width + GAP) for cell, width in zip(line, widths, strict=True))
        click.echo("".join(cells).rstrip())


def show_members(members: Iterable[tuple[str, Any]]) -> None:
    """A line for each: its name, its value. What there is none of is left out."""
    pairs = [(name, text(value)) for name, value in members if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name.ljust(width)}  {value}")


def text(value: Any) -> str:
    """A value in a line; what could move a terminal's cursor is shown as it is escaped."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(_printable(letter) for letter in str(value))


def second(at: str | None) -> str | None:
    """An RFC 3339 instant to the second."""
    return f"{at[:19]}Z" if at else None


def seconds_between(start: str | None, end: str | None) -> str | None:
    """How long it took, up to now where there is no end yet."""
    if start is None:
        return None
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return f"{max(0.0, (until - datetime.fromisoformat(start)).total_seconds()):.1f} s"


def _printable(letter: str) -> str:
    if unicodedata.category(letter) in _CONTROL:
        return letter.encode("unicode_escape").decode()
    return letter
