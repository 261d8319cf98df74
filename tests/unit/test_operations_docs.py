"""docs/operations.md says something on every reason, and its links lead somewhere."""

import re
from pathlib import Path

from app.domain.job import Reason

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
TEXT = DOCS.read_text()


def anchors(text: str) -> set[str]:
    """Where a link into a page of Markdown can lead."""
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_reason_has_a_line_that_says_what_it_means_and_what_to_do() -> None:
    table = TEXT.partition("\n## Reasons\n")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+\S) \|$", table, re.M))
    assert list(rows) == [str(reason) for reason in Reason]
    for row in rows.values():
        means, to_do = row.split(" | ")
        assert means and to_do


def test_its_links_lead_somewhere() -> None:
    for page, anchor in re.findall(r"\]\(([\w./]*)#?([\w-]*)\)", TEXT):
        target = (DOCS.parent / page).resolve() if page else DOCS
        assert target.is_file(), page
        assert not anchor or anchor in anchors(target.read_text()), anchor
