"""`python -m tests.chaos`: kills and pauses under load, then a table of what was promised."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from tests.chaos.storm import storm

BROKEN = 3


def main(argv: list[str]) -> int:
    """Returns 0; 3 if a promise was not kept: then the logs stay, and it says where."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    folder = options.logs or Path(tempfile.mkdtemp(prefix="onejob-chaos-run-"))
    holds = False
    try:
        report = storm(folder, options.seed, options.faults, options.minutes, _say)
        print(report.table())
        holds = report.holds
    finally:
        if holds and not options.logs:
            shutil.rmtree(folder)
        else:
            print(f"the logs are in {folder}", file=sys.stderr)
    return 0 if holds else BROKEN


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/chaos", description=__doc__)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--faults", type=int, metavar="N", help="so many faults")
    length.add_argument("--minutes", type=float, metavar="N", help="as many as fit into that time")
    seed = random.randrange(1_000_000)
    parser.add_argument("--seed", type=int, metavar="S", default=seed, help="by chance if left out")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="a new one, which stays")
    return parser.parse_args(argv)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
