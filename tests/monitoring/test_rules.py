"""Every alert fires when it shall and only then: Prometheus's own tool plays the series."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.prometheus import FOLDER, alerts, tool

Series = dict[str, str]  # values by series, one a minute: "1x60" is 1 all the time, "0+5x60" rises
MINUTES = 60

# For each alert: series with which it fires, and series with which it does not.
CASES: dict[str, tuple[Series, Series]] = {
    "OnejobApiDown": ({'up{job="onejob"}': "0x60"}, {'up{job="onejob"}': "1x60"}),
    "OnejobApiErrors": (
        {
            'onejob_http_requests_total{route="submit",origin="api",status="2xx"}': "0+90x60",
            'onejob_http_requests_total{route="submit",origin="api",status="5xx"}': "0+10x60",
        },
        {
            'onejob_http_requests_total{route="submit",origin="api",status="2xx"}': "0+99x60",
            'onejob_http_requests_total{route="submit",origin="api",status="5xx"}': "0+1x60",
            'onejob_http_requests_total{route="probe",origin="api",status="5xx"}': "0+99x60",
            'onejob_http_requests_total{route="result",origin="job",status="5xx"}': "0+99x60",
        },
    ),
    "OnejobRedisDown": (
        {'onejob_redis_up{instance="a"}': "0x60", 'onejob_redis_up{instance="b"}': "0x60"},
        {'onejob_redis_up{instance="a"}': "0x60", 'onejob_redis_up{instance="b"}': "1x60"},
    ),
    "OnejobRedisFileFailing": (
        {"onejob_redis_aof_enabled": "1x60", "onejob_redis_aof_write_ok": "0x60"},
        {"onejob_redis_aof_enabled": "1x60", "onejob_redis_aof_write_ok": "1x60"},
    ),
    "OnejobRedisMemoryHigh": (
        {
            "onejob_redis_memory_used_bytes": "86x60",
            "onejob_redis_memory_soft_limit_bytes": "100x60",
        },
        {
            "onejob_redis_memory_used_bytes": "84x60",
            "onejob_redis_memory_soft_limit_bytes": "100x60",
        },
    ),
    "OnejobRedisMemoryFull": (
        {
            "onejob_redis_memory_used_bytes": "101x60",
            "onejob_redis_memory_soft_limit_bytes": "100x60",
        },
        {
            "onejob_redis_memory_used_bytes": "101x60",
            "onejob_redis_memory_soft_limit_bytes": "0x60",
        },
    ),
    "OnejobRecoveryWaits": (
        {"onejob_recovery_waiting_nodes": "1x60"},
        {"onejob_recovery_waiting_nodes": "0x60"},
    ),
    "OnejobNoNodeForCompute": (
        {
            'onejob_compute_waiting_jobs{compute="gpu"}': "3x60",
            'onejob_compute_nodes{compute="gpu"}': "0x60",
            'onejob_compute_nodes{compute="cpu"}': "2x60",
        },
        {
            'onejob_compute_waiting_jobs{compute="gpu"}': "0x60",
            'onejob_compute_nodes{compute="gpu"}': "0x60",
            'onejob_compute_waiting_jobs{compute="cpu"}': "9x60",
            'onejob_compute_nodes{compute="cpu"}': "1x60",
        },
    ),
    "OnejobJobWaitsLong": (
        {'onejob_deployment_oldest_queued_seconds{deployment="d"}': "3000+60x60"},
        {'onejob_deployment_oldest_queued_seconds{deployment="d"}': "3500x60"},
    ),
    "OnejobDeadlineOverrun": (
        {"onejob_overrun_attempts": "1x60"},
        {"onejob_overrun_attempts": "0x60"},
    ),
    "OnejobJobsFailByMachine": (
        {
            'onejob_jobs_ended_total{state="failed",reason="node_lost"}': "0+1x60",
            'onejob_jobs_ended_total{state="succeeded",reason="exit_0"}': "0+9x60",
        },
        {
            'onejob_jobs_ended_total{state="failed",reason="node_lost"}': "0x60",
            'onejob_jobs_ended_total{state="failed",reason="exit_nonzero"}': "0+9x60",
        },
    ),
    "OnejobSweepBehind": (
        {'onejob_overdue{kind="ttl"}': "1x60"},
        {'onejob_overdue{kind="ttl"}': "0 1 0 0 1x3 0x60"},
    ),
    "OnejobNodeSilent": (
        {'onejob_node_silent_seconds{node="n"}': "0+60x60"},
        {'onejob_node_silent_seconds{node="n"}': "3x60"},
    ),
    "OnejobSlotsLost": (
        {'onejob_node_slots_lost{node="n"}': "2x60"},
        {'onejob_node_slots_lost{node="n"}': "0x60"},
    ),
    "OnejobNodeUnfit": (
        {'onejob_node_fit{node="n"}': "0x60", 'onejob_node_silent_seconds{node="n"}': "2x60"},
        {'onejob_node_fit{node="n"}': "0x60", 'onejob_node_silent_seconds{node="n"}': "900x60"},
    ),
    "OnejobUnsupervisedAttempts": (
        {'onejob_node_lapsed_leases{node="n"}': "4x60"},
        {'onejob_node_lapsed_leases{node="n"}': "0 4 0x60"},
    ),
    "OnejobEngineErrors": (
        {
            'onejob_engine_errors_total{verb="start",error="trouble"}': "0+2x60",
            'onejob_engine_call_seconds_count{verb="start"}': "0+10x60",
        },
        {
            'onejob_engine_errors_total{verb="image",error="image_not_found"}': "0+9x60",
            'onejob_engine_call_seconds_count{verb="image"}': "0+10x60",
        },
    ),
    "OnejobLiveRestoreOff": (
        {
            'onejob_node_live_restore{node="n"}': "0x60",
            'onejob_node_silent_seconds{node="n"}': "2x60",
        },
        {
            'onejob_node_live_restore{node="n"}': "1x60",
            'onejob_node_silent_seconds{node="n"}': "2x60",
        },
    ),
}


def check(folder: Path, alert: str, series: Series, at: str, fires: bool) -> None:
    """Fails unless the alert fires, or does not, at an instant of these series."""
    expected = [{"value": 1, "labels": "{}"}] if fires else []
    firing = f'max(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    test: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": at, "exp_samples": expected}],
    }
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(FOLDER / "alerts.yml")], "tests": [test]}))
    argv = [tool("promtool"), "test", "rules", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_every_alert_has_its_cases() -> None:
    assert set(CASES) == set(alerts())


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_when_it_shall(tmp_path: Path, alert: str) -> None:
    check(tmp_path, alert, CASES[alert][0], f"{MINUTES}m", fires=True)


@pytest.mark.parametrize("alert", CASES)
def test_it_does_not_fire_else(tmp_path: Path, alert: str) -> None:
    for minute in (5, 20, MINUTES):
        check(tmp_path, alert, CASES[alert][1], f"{minute}m", fires=False)


@pytest.mark.parametrize("alert", CASES)
def test_it_does_not_fire_at_the_first_sight(tmp_path: Path, alert: str) -> None:
    check(tmp_path, alert, CASES[alert][0], "0m", fires=False)


@pytest.mark.parametrize("alert", CASES)
def test_it_says_what_to_do_and_where_to_read_on(alert: str) -> None:
    rule = alerts()[alert]
    assert alert.startswith("Onejob")
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["for"]
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{alert.lower()}"
    assert len(rule["annotations"]["description"]) > 60


def test_the_files_are_what_prometheus_takes() -> None:
    for argv in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]):
        done = subprocess.run(
            [tool("promtool"), *argv], cwd=FOLDER, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
