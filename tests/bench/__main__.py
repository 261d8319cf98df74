"""`python -m tests.bench`: measures, prints a table, and writes what it is asked to."""

import argparse
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from tests.bench import (
    backlog,
    crowd,
    fleet,
    latency,
    machine,
    memory,
    services,
    submit,
    throughput,
)
from tests.bench.plan import FULL, QUICK, SECTIONS, Plan
from tests.bench.report import Report, Section

MEASURES: dict[str, Callable[[Plan, Path], Section]] = {
    module.NAME: module.measure
    for module in (latency, throughput, submit, memory, fleet, backlog, crowd, services)
}
FAILED = 3


def main(argv: list[str]) -> int:
    """Returns 0; 3 if a limit is not kept (a quick run can not tell); 1 if one broke off."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    plan = QUICK if options.quick else FULL
    start, sections = machine.load(), []
    for name in options.only:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        sections.append(_measure(name, plan))
    report = Report(
        command=_command(options),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine.describe(),
        load=[start, machine.load()],
        sections=sections,
    )
    _write(report, options)
    if any(section.failed for section in sections):
        return 1
    return 0 if report.holds or options.quick else FAILED


def _measure(name: str, plan: Plan) -> Section:
    """A measurement that breaks off must not cost the others their figures."""
    with tempfile.TemporaryDirectory(prefix="onejob-bench-") as folder:
        try:
            return MEASURES[name](plan, Path(folder))
        except Exception as error:
            traceback.print_exc()
            return Section(name, failed=f"{type(error).__name__}: {error}")


def _write(report: Report, options: argparse.Namespace) -> None:
    print(report.table())
    if options.json:
        report.save(options.json)
    if options.markdown:
        options.markdown.write_text(report.markdown())
    if options.plot:
        from tests.bench import plot  # takes a second, and matplotlib

        plot.draw(report, options.plot)


def _command(options: argparse.Namespace) -> str:
    """As others may give it: without the names of this machine's files."""
    words = ["scripts/bench"] + (["--quick"] if options.quick else [])
    return " ".join(
        words + ([] if options.only == SECTIONS else [f"--only {','.join(options.only)}"])
    )


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to try it")
    parser.add_argument(
        "--only", type=_sections, default=SECTIONS, help=f"some of {','.join(SECTIONS)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture, .svg or .png")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table")
    return parser.parse_args(argv)


def _sections(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(SECTIONS)}")
    return names


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
