"""One picture of a report: a panel for each measurement."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as pyplot  # the backend is chosen before it

from tests.bench.report import Report, Row, Section

COLOURS = {"ours": "#1b6ca8", "bare": "#8a8d91", "peer": "#d98a29"}
LABELS = {"ours": "Onejob", "bare": "bare loop or view", "peer": "obvious Celery task"}
WIDTH = 0.27
PANEL_INCHES = 4.2
LEAST_INCHES = 6.5  # for the legend


def draw(report: Report, path: Path) -> None:
    """Draws it into a file, whose name's end tells the format."""
    sections = [s for s in report.sections if s.rows and s.name in _PANELS]
    if not sections:
        return
    size = (max(PANEL_INCHES * len(sections), LEAST_INCHES), PANEL_INCHES)
    figure, panels = pyplot.subplots(1, len(sections), figsize=size, squeeze=False)
    for panel, section in zip(panels[0], sections, strict=True):
        _PANELS[section.name](panel, section)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False)
    figure.suptitle(f"{report.date}, {report.machine['cores']} cores", fontsize=9)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _latency(panel: Any, section: Section) -> None:
    _bars(
        panel,
        section.rows,
        [row.what.replace("POST → ", "").replace(", ", ",\n") for row in section.rows],
    )
    for place, step in enumerate(("response", "ended", "gone")):
        for who, samples in section.samples[step].items():
            at = place + _shift(who)
            panel.plot([at] * len(samples), samples, ".", color="black", alpha=0.3, ms=3)
    panel.set_title("from the POST, one at a time")
    panel.set_ylabel("ms (median, and every sample)")


def _throughput(panel: Any, section: Section) -> None:
    rows = [row for row in section.rows if row.ratio]
    _bars(panel, rows, [row.what for row in rows])
    panel.set_title("jobs per second")
    panel.set_ylabel("jobs/s (median)")


def _submit(panel: Any, section: Section) -> None:
    rows = [row for row in section.rows if row.unit == "submits/s"]
    short = {"kept connections": "kept", "one connection each": "one each"}
    ways = (row.what.split(", ") for row in rows)
    _bars(panel, rows, [f"{worker}\n{short[kind]}" for worker, kind in ways])
    panel.set_title("submits per second")
    panel.set_ylabel("submits/s (median)")


def _memory(panel: Any, section: Section) -> None:
    rows = [row for row in section.rows if row.unit == "MiB/job"]
    _bars(panel, rows, [row.what.partition(",")[0] for row in rows])
    panel.set_yscale("log")
    panel.tick_params(axis="x", labelrotation=30, labelsize=7)
    panel.set_title("memory of each running job")
    panel.set_ylabel("MiB (proportional)")


def _fleet(panel: Any, section: Section) -> None:
    names = [row.what.partition(", ")[2].replace(", ", ",\n") for row in section.rows]
    _bars(panel, section.rows, names)
    panel.set_title("jobs per second, eight at once")
    panel.set_ylabel("jobs/s (median)")


_PANELS: dict[str, Callable[[Any, Section], None]] = {
    "latency": _latency,
    "throughput": _throughput,
    "submit": _submit,
    "memory": _memory,
    "fleet": _fleet,
}


def _bars(panel: Any, rows: list[Row], names: list[str]) -> None:
    for who in COLOURS:
        values = [getattr(row, who) or 0.0 for row in rows]
        places = [place + _shift(who) for place in range(len(rows))]
        panel.bar(places, values, WIDTH, color=COLOURS[who], label=LABELS[who])
    panel.set_xticks(range(len(rows)), names, fontsize=7)
    panel.spines[["top", "right"]].set_visible(False)


def _shift(who: str) -> float:
    return (list(COLOURS).index(who) - 1) * WIDTH
