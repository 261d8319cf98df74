"""The figures of one run, as a table: what must be zero or within a bound, and what there was."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """One figure that has a bound."""

    what: str
    value: float
    at_most: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is within its bound."""
        return self.value <= self.at_most

    def __str__(self) -> str:
        value, bound = (f"{n:.2f}".rstrip("0").rstrip(".") for n in (self.value, self.at_most))
        said = f"{value}{self.unit}" + ("" if self.at_most == 0 else f" of at most {bound}")
        return f"  {self.what:<44} {said:<22} {'' if self.holds else 'BROKEN'}".rstrip()


@dataclass
class Report:
    """One run."""

    seed: int
    seconds: float
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # kind, state, reason
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not self.complaints and all(figure.holds for figure in self.figures)

    def table(self) -> str:
        """All of it, for a person."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        total = self.faults.total()
        yield f"chaos: {total} faults in {self.seconds:.0f} s, seed {self.seed}"
        yield "faults"
        yield from (f"  {what:<44} {count}" for what, count in sorted(self.faults.items()))
        yield "jobs, and how they ended"
        for (kind, state, reason), count in sorted(self.ends.items()):
            yield f"  {kind:<12} {f'{state}, {reason}':<31} {count}"
        yield "promises"
        yield from map(str, self.figures)
        yield "notes"
        yield from (f"  {note}" for note in self.notes)
        yield from (f"NOT AS PROMISED: {complaint}" for complaint in self.complaints)
