"""A real Prometheus scrapes a real server: our targets, alerts and panels get what they ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.faces import Faces
from tests.api.server import ApiServer
from tests.e2e.house import until
from tests.monitoring.prometheus import Prometheus, alerts, own_names, panel_expressions
from tests.redis_server import RedisServer
from tests.workers.rig import Rig, Usher, works
from tests.workers.test_sweep import due
from workers.engine import EngineUnavailable
from workers.heartbeat import Heartbeat
from workers.measured_engine import MeasuredEngine
from workers.site import Site

# A server that does well has nothing to show there; and there is no Flower beside it.
MAY_BE_EMPTY = ("flower_", "onejob_overdue", "onejob_attempts_repeated", "onejob_node_lapsed")


def fails(usher: Usher) -> None:
    usher.start()
    usher.send()
    usher.respond()
    usher.exit(3)


def measured(rig: Rig) -> Site:
    site = rig.site()
    object.__setattr__(site, "engine", MeasuredEngine(rig.engine, site.tally))
    return site


def live(rig: Rig, name: str) -> None:
    """A bit of everything that a server does: jobs that end well and not, and some that wait."""
    site = measured(rig)
    for number, script in enumerate((works, works, fails)):
        rig.script = script
        rig.submit(f"{name}{number}")
        due(rig, f"{name}{number}")
        rig.ledger.jobs.due_hints("cpu", "no-queue", 5)
        rig.supervise(f"{name}{number}", site)
    rig.engine.fail("owned", EngineUnavailable("silence"))
    with pytest.raises(EngineUnavailable):
        site.engine.owned(rig.node)
    Heartbeat(site).beat(0)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has scraped a server at least twice, between which jobs came and ended."""
    redis = RedisServer.start(tmp_path_factory.mktemp("redis"), appendfsync="everysec")
    redis.connect().config_set("maxmemory", "1gb")
    api = ApiServer.start(tmp_path_factory.mktemp("api"), redis.url, api_workers=2)
    rig = Rig(redis.url, tmp_path_factory.mktemp("node") / "spool", cap=5)
    live(rig, "a")
    targets = {"onejob": f"127.0.0.1:{api.port}"}
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), targets)
    try:
        prometheus.until_ready()
        prometheus.until('up{job="onejob"} == 1')
        live(rig, "b")
        Faces.of(api.port, rig.ledger).control("GET", "/job-deployments")
        for number in range(7):
            rig.submit(f"waits{number}")
        prometheus.stand_still("onejob_jobs_accepted_total == 13")
        yield prometheus
    finally:
        prometheus.stop()
        rig.close()
        api.stop()
        redis.stop()


def test_every_target_is_up(prometheus: Prometheus) -> None:
    def up() -> dict[str, str]:
        """The last errors of those that are up, by their names."""
        targets = prometheus.get("targets")["activeTargets"]
        ups = [target for target in targets if target["health"] == "up"]
        return {target["labels"]["job"]: target["lastError"] for target in ups}

    until(lambda: "onejob" in up())  # a scrape may fail on a busy machine
    assert set(up().values()) == {""}


def test_every_rule_is_loaded_and_has_no_error(prometheus: Prometheus) -> None:
    prometheus.until('prometheus_rule_group_last_evaluation_samples{rule_group=~".*onejob.*"}')
    groups = prometheus.get("rules")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert set(rules) == set(alerts())
    assert {
        name: rule.get("lastError") for name, rule in rules.items() if "lastError" in rule
    } == {}
    assert {rule["health"] for rule in rules.values()} <= {"ok", "unknown"}
    assert [name for name, rule in rules.items() if rule["state"] == "firing"] == []


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_asks_for_series_that_are_there(prometheus: Prometheus, alert: str) -> None:
    expression = alerts()[alert]["expr"]
    prometheus.query(expression)
    for name in own_names(expression):
        assert prometheus.query(name), f"nothing is named {name}"


@pytest.mark.parametrize("expression", panel_expressions())
def test_a_panel_shows_something(prometheus: Prometheus, expression: str) -> None:
    shown = prometheus.query(expression)
    if not any(word in expression for word in MAY_BE_EMPTY):
        assert shown
        assert any(series["value"][1] != "NaN" for series in shown), shown
    for name in own_names(expression):
        assert prometheus.query(name), f"nothing is named {name}"


def test_what_it_saw_is_what_happened(prometheus: Prometheus, tmp_path: Path) -> None:
    def one(expression: str) -> float:
        (series,) = prometheus.query(expression)
        return float(series["value"][1])

    assert one('onejob_jobs_ended_total{reason="exit_0"}') == 4
    assert one('onejob_jobs_ended_total{reason="exit_nonzero"}') == 2
    assert one("onejob_waiting_jobs") == 7
    assert one('onejob_deployment_queued_jobs{deployment="dep"}') == 2
    assert one("onejob_run_seconds_count") == 6
    assert one('onejob_engine_errors_total{verb="owned"}') == 2
    assert one("onejob_redis_memory_soft_limit_bytes") == int(0.8 * 2**30)
