"""The dashboard and its provisioning hold together. Grafana itself is not run here."""

from itertools import combinations
from typing import Any

import pytest
import yaml

from tests.compose.commands import FILE
from tests.monitoring.prometheus import DASHBOARD, FOLDER, dashboard

PROVISIONING = FOLDER / "grafana" / "provisioning"
COLUMNS = 24
PANELS = [panel["title"] for panel in dashboard()["panels"]]


def provisioned(path: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((PROVISIONING / path).read_text())
    assert read["apiVersion"] == 1
    return read


@pytest.fixture
def source() -> dict[str, Any]:
    """The one data source."""
    (found,) = provisioned("datasources/prometheus.yml")["datasources"]
    return dict(found)


def test_it_has_a_name_of_its_own() -> None:
    read = dashboard()
    assert (read["uid"], read["title"]) == ("onejob", "Onejob")
    assert read["schemaVersion"] >= 36
    assert read["refresh"] and read["time"]["from"]
    assert "id" not in read, "Grafana gives it"


def test_panels_have_their_own_numbers_and_titles() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    assert len(set(PANELS)) == len(PANELS)


def test_panels_lie_side_by_side() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    for place in places:
        assert place["x"] >= 0 and place["x"] + place["w"] <= COLUMNS
        assert place["y"] >= 0 and place["w"] > 0 and place["h"] > 0
    assert not [(one, other) for one, other in combinations(places, 2) if _overlap(one, other)]


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_asks_the_provisioned_source(title: str, source: dict[str, Any]) -> None:
    (panel,) = (panel for panel in dashboard()["panels"] if panel["title"] == title)
    wanted = {"type": source["type"], "uid": source["uid"]}
    assert panel["type"] in ("stat", "timeseries")
    assert panel["datasource"] == wanted
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        assert target["datasource"] == wanted
        assert target["expr"] and target["legendFormat"]


def test_what_is_provisioned_is_where_compose_puts_it(source: dict[str, Any]) -> None:
    services = yaml.safe_load(FILE.read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    (provider,) = provisioned("dashboards/onejob.yml")["providers"]
    assert mounts["./monitoring/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert DASHBOARD.parent == FOLDER / "grafana" / "dashboards"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
