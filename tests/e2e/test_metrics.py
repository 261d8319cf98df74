"""What a real job leaves in /metrics: of the ledger at once, of the worker with its heartbeat."""

import pytest

from tests.api.test_metrics import series
from tests.e2e.house import House, until

pytestmark = pytest.mark.docker
LEDGERS = ("queue", "prepare", "healthy", "run", "job")


def test_a_job_is_measured_on_its_whole_way(house: House) -> None:
    port = house.faces.port
    before = series(port)
    house.deploy("measured", "c = take_job(); time.sleep(1); c.sendall(OK)\n")
    status, _ = house.run("measured")
    assert status["State"] == "succeeded"
    after = series(port)

    def risen(name: str, **labels: str) -> float:
        key = (f"onejob_{name}", tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0)

    assert risen("jobs_accepted_total") == 1
    assert risen("jobs_ended_total", state="succeeded", reason="exit_0") == 1
    for histogram in LEDGERS:
        assert risen(f"{histogram}_seconds_count") == 1, histogram
    assert 1 <= risen("run_seconds_sum") < 100
    assert risen("job_seconds_sum") >= risen("run_seconds_sum")
    assert after["onejob_nodes", (("state", "alive"),)] == 1
    until(lambda: _calls(port, "remove") > before.get(_calls_of("remove"), 0))
    for verb in ("image", "create", "start", "logs"):
        assert _calls(port, verb) > before.get(_calls_of(verb), 0), verb


def _calls_of(verb: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return "onejob_engine_call_seconds_count", (("verb", verb),)


def _calls(port: int, verb: str) -> float:
    return series(port).get(_calls_of(verb), 0)
