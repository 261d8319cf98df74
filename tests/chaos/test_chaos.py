"""A short storm; `scripts/chaos` makes longer ones."""

from pathlib import Path

import pytest

from tests.chaos.storm import storm

# It takes three minutes on two cores that it shares with other tests, seven on busier ones.
pytestmark = [pytest.mark.docker, pytest.mark.root, pytest.mark.timeout(1200)]


def test_25_faults_break_no_promise(tmp_path: Path) -> None:
    report = storm(tmp_path, seed=1, faults=25)
    print(report.table())
    assert report.holds, report.table()
