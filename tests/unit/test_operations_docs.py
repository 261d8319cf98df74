"""docs/operations.md says something on every reason, and its links lead somewhere."""

import re
from pathlib import Path

from app.domain.job import Reason

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "operations.md"
ALERTS = ROOT / "compose" / "monitoring" / "alerts.yml"
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


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    alerts = re.findall(r"alert: (\w+)$", ALERTS.read_text(), re.M)
    part = TEXT.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\w+)$", part, re.M)) == sorted(alerts)
    for alert in alerts:
        assert f"docs/operations.md#{alert.lower()}\n" in ALERTS.read_text()
