"""Flower shows each job as a task, and a revoke there cancels the job."""

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.house import House, until

pytestmark = pytest.mark.docker

ONLINE = re.compile(r'^flower_worker_online{worker="worker@[^"]+"} 1.0$', re.MULTILINE)


@pytest.fixture(scope="module")
def flowered(house: House) -> Iterator[House]:
    """The house, with Flower."""
    house.stack.start_flower()
    until_it_knows_the_worker(house)
    yield house


def until_it_knows_the_worker(house: House) -> None:
    """Waits until Flower can ask the worker, and hears of what it does."""
    until(lambda: _knows(house))


def _knows(house: House) -> bool:
    try:
        return bool(ask(house, "/api/workers?refresh=1") and ONLINE.search(metrics(house)))
    except OSError:  # it is still starting
        return False


def metrics(house: House) -> str:
    """What Flower tells Prometheus."""
    url = f"{house.stack.layout.flower_url}/metrics"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def ask(house: House, path: str, method: str = "GET", password: str | None = None) -> Any:
    """An answer of Flower's API."""
    word = house.stack.credentials.flower_password if password is None else password
    token = base64.b64encode(f"onejob:{word}".encode()).decode()
    request = urllib.request.Request(
        house.stack.layout.flower_url + path,
        headers={"Authorization": f"Basic {token}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def task(house: House, name: str, job_id: str, state: str) -> dict[str, Any]:
    """What Flower knows of a job's task, once it has that state."""

    def look() -> Any:
        known = ask(house, "/api/tasks").get(f"{name}.{job_id}")
        return known if known and known["state"] == state else None

    found: dict[str, Any] = until(look, lambda: str(ask(house, "/api/tasks")))
    return found


def test_a_job_is_a_task_with_its_id_its_state_and_its_time(flowered: House) -> None:
    flowered.deploy("shown", "c = take_job(); time.sleep(1); c.sendall(OK)\n")
    job_id = flowered.faces.submit("shown")
    flowered.finished("shown", job_id)
    seen = task(flowered, "shown", job_id, "SUCCESS")
    assert seen["name"] == "onejob.run"
    assert 1 <= seen["runtime"] < 100


def test_prometheus_gets_its_metrics_without_a_password(flowered: House) -> None:
    assert ONLINE.search(metrics(flowered))


def test_a_job_that_failed_is_a_failed_task_that_says_why(flowered: House) -> None:
    flowered.deploy("broken", "c = take_job(); print('no disk'); sys.exit(3)\n")
    job_id = flowered.faces.submit("broken")
    flowered.finished("broken", job_id)
    seen = task(flowered, "broken", job_id, "FAILURE")
    assert "failed: exit_nonzero" in seen["exception"]
    assert "no disk" in seen["exception"]


@pytest.mark.parametrize("terminate", ["false", "true"])
def test_a_revoke_cancels_a_running_job(flowered: House, terminate: str) -> None:
    name = f"revoked-{terminate}"
    flowered.deploy(name, "c = take_job(); forever()\n")
    job_id = flowered.faces.submit(name)
    flowered.until(name, job_id, lambda s: s["State"] == "running")
    query = "?terminate=true" if terminate == "true" else ""
    ask(flowered, f"/api/task/revoke/{name}.{job_id}{query}", "POST")
    status = flowered.finished(name, job_id)
    assert (status["State"], status["Reason"]) == ("cancelled", "cancelled")
    assert flowered.faces.result(name, job_id).json["code"] == "cancelled"
    task(flowered, name, job_id, "FAILURE")


def test_a_revoke_cancels_a_job_that_waits(flowered: House) -> None:
    flowered.deploy("waiting", "c = take_job(); forever()\n")
    first, second = flowered.faces.submit("waiting"), flowered.faces.submit("waiting", "/", b"2")
    flowered.until("waiting", first, lambda s: s["State"] == "running")
    ask(flowered, f"/api/task/revoke/waiting.{second}", "POST")
    assert flowered.finished("waiting", second)["State"] == "cancelled"
    assert flowered.status("waiting", first)["State"] == "running"
    ask(flowered, f"/api/task/revoke/waiting.{first}", "POST")
    assert flowered.finished("waiting", first)["State"] == "cancelled"


def test_without_its_password_it_shows_nothing(flowered: House) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(flowered, "/api/tasks", password="wrong")
    assert caught.value.code == 401
