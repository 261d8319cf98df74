"""What was found: a row for each figure, as a table, as Markdown, as JSON."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.stats import Ratio

Samples = dict[str, list[float]]
HEADINGS = ("measured", "ours", "bare", "ratio (90 %)", "limit", "holds", "Celery task")


@dataclass(frozen=True)
class Row:
    """One figure beside what it is compared with; the limit bounds the ratio if there is one."""

    what: str
    unit: str
    ours: float
    bare: float | None = None
    peer: float | None = None
    ratio: Ratio | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the limit is kept; None if there is none."""
        value = self.ratio.value if self.ratio else self.ours
        if self.at_most is not None:
            return value <= self.at_most
        return value >= self.at_least if self.at_least is not None else None

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of the headings."""
        ratio = self.ratio
        return (
            f"{self.what}, {self.unit}",
            _number(self.ours),
            _number(self.bare),
            f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else "",
            self._limit(),
            {None: "", True: "yes", False: "NO"}[self.holds],
            _number(self.peer),
        )

    def _limit(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most}"
        return f"≥ {self.at_least}" if self.at_least is not None else ""


@dataclass
class Section:
    """The rows of one measurement, its samples, and remarks for who reads them."""

    name: str
    rows: list[Row] = field(default_factory=list)
    samples: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: str | None = None  # why it broke off


@dataclass
class Report:
    """All of one run."""

    command: str
    date: str
    machine: dict[str, Any]
    load: list[list[float]]  # at the start and at the end
    sections: list[Section]

    @property
    def holds(self) -> bool:
        """Whether every limit is kept."""
        return not any(row.holds is False for section in self.sections for row in section.rows)

    def table(self) -> str:
        """For a terminal."""
        rows = [HEADINGS, *(row.cells() for section in self.sections for row in section.rows)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
        return "\n".join([self._heading(), "", *lines, "", *self._notes()])

    def markdown(self) -> str:
        """For docs/performance.md."""
        lines = [f"`{self.command}`, {self._heading()}", "", _bars(HEADINGS)]
        lines += [_bars(["---"] + ["--:"] * (len(HEADINGS) - 1))]
        lines += [_bars(row.cells()) for section in self.sections for row in section.rows]
        return "\n".join([*lines, "", *self._notes(), ""])

    def save(self, path: Path) -> None:
        """As JSON, with every sample."""
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    def _notes(self) -> list[str]:
        broken = [f"- {s.name} BROKE OFF: {s.failed}" for s in self.sections if s.failed]
        return broken + [f"- {note}" for section in self.sections for note in section.notes]

    def _heading(self) -> str:
        words = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        start, end = (f"{load[0]:.2f}" for load in self.load)
        return f"{self.date}; {words}; load {start} at the start, {end} at the end."


def middle(samples: Samples, name: str) -> float | None:
    """The median of what was measured under that name, None if nothing was."""
    return median(samples[name]) if samples.get(name) else None


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _padded(row: Iterable[str], widths: list[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]


def _bars(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
