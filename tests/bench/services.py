"""How long the compose file takes to come up, its images being there: to /ready with a worker."""

import time
from pathlib import Path

from tests.bench.plan import Plan
from tests.bench.report import Row, Section, middle
from tests.compose.commands import machines_own
from tests.compose.project import Project, build

NAME = "compose"


def measure(plan: Plan, folder: Path) -> Section:
    """Up and down, several times; without building."""
    section, command = Section(NAME), machines_own()
    build()
    for number in range(plan.compose_rounds):
        (folder / str(number)).mkdir()
        project = Project(command, folder / str(number))
        began = time.monotonic()
        try:
            project.up()
            up = time.monotonic() - began
        finally:
            project.down()
        section.samples.setdefault("up", []).append(up)
    seconds = middle(section.samples, "up") or 0.0
    section.rows = [Row(f"compose up, with {command[0]}, until /ready", "s", seconds)]
    return section
