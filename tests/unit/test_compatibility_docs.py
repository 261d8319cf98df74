"""docs/compatibility.md names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "compatibility.md").read_text()


def test_the_tests_that_it_names_are_there() -> None:
    named = set(re.findall(r"\b((?:api|e2e|unit|ledger|workers)/test_\w+)", TEXT))
    assert named
    assert [name for name in sorted(named) if not (ROOT / "tests" / f"{name}.py").is_file()] == []
