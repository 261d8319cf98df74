"""Errors are JSON on every path, tell nothing that they should not, and none is ours."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from verda import VerdaClient
from verda.inference_client import InferenceClient

from app.domain.deployment import RESERVED_NAMES
from app.ledger import Ledger
from app.ledger.memory import LOOK_SECONDS
from tests.api.faces import Faces
from tests.api.sdk import refused, told
from tests.api.server import CLIENT_ID, CLIENT_SECRET, PRODUCT, ApiServer
from tests.api.wire import Answer, call
from tests.api.worker import OK, PlayedWorker
from tests.redis_server import RedisServer
from tests.stopped import stop

TRIES = 10  # of which any may meet a machine that is busy


def is_error(answer: Answer, status: int, code: str) -> bool:
    assert answer.status == status, answer
    assert answer["Content-Type"] == "application/json"
    assert answer.json["code"] == code
    return set(answer.json) == {"code", "message"} and bool(answer.json["message"])


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v1/x", "/v1//job-deployments", "/console", "/docs/x", "/static/x"],
)
def test_a_path_that_is_not_there_is_404(api: Faces, path: str) -> None:
    answer = call(api.port, "GET", path)
    assert is_error(answer, 404, "not_found")
    assert answer.json["message"] == f"there is nothing at {path!r}; /docs tells what there is"


def test_a_long_path_that_is_not_there_is_cut_short(api: Faces) -> None:
    answer = call(api.port, "GET", "/v1/" + "%ff%00x" * 500)
    assert is_error(answer, 404, "not_found")
    assert len(answer.json["message"]) < 1000


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/oauth2/token"),
        ("PUT", "/v1/job-deployments"),
        ("POST", "/v1/job-deployments/x"),
        ("POST", "/health"),
        ("BREW", "/ready"),
        ("OPTIONS", "/status/x"),
        ("OPTIONS", "/v1/job-deployments"),
    ],
)
def test_a_method_that_is_not_there_is_405(api: Faces, method: str, path: str) -> None:
    answer = call(api.port, method, path)
    assert is_error(answer, 405, "method_not_allowed")
    assert answer["Allow"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/hello", "/hello/x"])
def test_a_method_that_makes_no_job_is_405_and_told_which_do(
    api: Faces, hello: str, method: str, path: str
) -> None:
    answer = api.data(method, path)
    assert (answer.status, answer["Allow"]) == (405, "POST, GET, PUT, PATCH, DELETE")


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_no_deployment_takes_a_name_of_ours(api: Faces, ledger: Ledger, name: str) -> None:
    answer = api.control("POST", "/job-deployments", {"name": name})
    assert is_error(answer, 400, "invalid_request")
    assert answer.json["message"].startswith(f'name: "{name}" is not allowed')
    assert api.data("POST", f"/{name}/x", body=b"x").status in (404, 405)
    assert not ledger.client.keys("onejob:payload:*")


def test_the_names_of_ours_are_the_contracts() -> None:
    names = "v1 status result health ready metrics console docs static flower"
    assert set(names.split()) == RESERVED_NAMES


def test_a_fault_is_500_and_only_the_log_has_it(
    api: Faces, server: ApiServer, hello: str, ledger: Ledger
) -> None:
    uid = ledger.deployments.get("hello").uid
    ledger.client.hset(f"onejob:deployment:{uid}", "state", "running")
    ledger.client.hset(f"onejob:deployment:{uid}:specs", "1", '{"secret": "of the ledger"}')
    answer = api.data("POST", "/hello", body=b"x")
    assert is_error(answer, 500, "server_error")
    assert "secret" not in answer.json["message"]
    assert "ValidationError" in server.log


def test_what_redis_does_not_understand_is_a_fault_and_no_outage(
    api: Faces, hello: str, ledger: Ledger
) -> None:
    uid = ledger.deployments.get("hello").uid
    ledger.client.set(f"onejob:deployment:{uid}:queue", "no sorted set")
    assert is_error(api.data("POST", "/hello", body=b"x"), 500, "server_error")


def test_a_full_redis_is_503(api: Faces, hello: str, ledger: Ledger) -> None:
    ledger.client.config_set("maxmemory", "1")
    try:
        answer = api.data("POST", "/hello", body=b"x")
    finally:
        ledger.client.config_set("maxmemory", "0")
    assert is_error(answer, 503, "service_unavailable")
    assert "full" in answer.json["message"]
    assert answer["Retry-After"]


@pytest.fixture
def mortal_redis(redis_server: RedisServer) -> RedisServer:
    """The Redis, which has what it acknowledged in its file from now on, until it is restarted."""
    client = redis_server.connect()
    client.config_set("appendfsync", "always")
    client.close()
    return redis_server


@pytest.fixture(scope="module")
def brisk(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server that waits for Redis no longer than the product does."""
    started = ApiServer.start(tmp_path_factory.mktemp("brisk"), redis_server.url, app=PRODUCT)
    yield started
    started.stop()


@pytest.fixture(params=["down", "stalled"])
def without_redis(
    request: pytest.FixtureRequest,
    mortal_redis: RedisServer,
    brisk: ApiServer,
    ledger: Ledger,
    hello: str,
) -> Iterator[Faces]:
    """Both faces while Redis is away: not there, or there and silent."""
    api, pid = Faces.of(brisk.port, ledger), mortal_redis.pid
    assert pid is not None
    api.status("hello", "none")  # from then on it is connected
    if request.param == "down":
        mortal_redis.kill()
    else:
        stop(pid)
    yield api
    if request.param == "down":
        mortal_redis.restart()
    else:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("body", [b"x", bytes(3 * 1024 * 1024)], ids=["small", "large"])
def test_without_redis_it_is_503_soon(without_redis: Faces, body: bytes) -> None:
    def seconds_to_answer() -> float:
        began = time.monotonic()
        answer = without_redis.data("POST", "/hello/x", [("X-Inference-Id", "one")], body)
        seconds = time.monotonic() - began
        assert is_error(answer, 503, "service_unavailable")
        assert int(answer["Retry-After"]) >= 1
        return seconds

    assert any(seconds_to_answer() < 1 for _ in range(TRIES))


@pytest.mark.parametrize("without_redis", ["down"], indirect=True)
def test_without_redis_the_other_routes_say_so_too(without_redis: Faces) -> None:
    api = without_redis
    assert is_error(api.control("GET", "/job-deployments"), 503, "service_unavailable")
    url = f"http://127.0.0.1:{api.port}"
    sdk = VerdaClient(CLIENT_ID, CLIENT_SECRET, base_url=f"{url}/v1")
    told("service_unavailable", "does not answer", sdk.job_deployments.get)
    inference = InferenceClient(api.key, f"{url}/hello")
    refused(503, "service_unavailable", "a repeat with the same id", lambda: inference.run({}))
    assert is_error(api.result("hello", "one"), 503, "service_unavailable")
    ready = call(api.port, "GET", "/ready")
    assert is_error(ready, 503, "service_unavailable")
    assert ready["Retry-After"]
    assert call(api.port, "GET", "/health").json == {"status": "ok"}


def test_after_redis_is_back_all_goes_on(
    mortal_redis: RedisServer, api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit("hello", body=b"kept")
    mortal_redis.kill()
    assert api.data("POST", "/hello", body=b"x").status == 503
    mortal_redis.restart()
    assert worker.request("hello", job_id)[1] == b"kept"
    worker.respond("hello", job_id, OK, b"done")
    assert api.result("hello", job_id).body == b"done"
    assert api.data("POST", "/hello", body=b"x").status == 202


def test_ready_says_what_is_missing(api: Faces, ledger: Ledger) -> None:
    answer = call(api.port, "GET", "/ready")
    assert answer.status == 200
    assert answer.json["status"] == "degraded"
    assert "no worker" in answer.json["missing"][0]
    ledger.nodes.announce("a", {"compute": {}})
    assert call(api.port, "GET", "/ready").json == {
        "status": "ok",
        "missing": [],
        "notes": [],
    }


def test_ready_says_which_machines_take_no_jobs_and_which_are_silent(
    api: Faces, ledger: Ledger, hello: str, worker: PlayedWorker
) -> None:
    ledger.nodes.announce("bad", {"compute": {}, "problems": ["the engine does not answer"]})
    ledger.nodes.announce("good", {"compute": {}, "notes": ["live-restore is off"]})
    worker.run(hello, api.submit(hello))
    ledger.client.zadd("onejob:nodes", {"played": 1})
    ledger.client.sadd("onejob:recovering", "away")
    answer = call(api.port, "GET", "/ready")
    assert (answer.status, answer.json["status"]) == (200, "degraded")
    text = "\n".join(answer.json["missing"])
    assert "node bad takes no jobs: the engine does not answer" in text
    assert "node played is silent" in text
    assert "1 slots wait" in text
    assert "node away has not reported" in text
    assert answer.json["notes"] == ["node good: live-restore is off"]


def test_ready_says_which_machines_are_draining(api: Faces, ledger: Ledger) -> None:
    ledger.nodes.announce("a", {})
    ledger.nodes.announce("b", {})
    ledger.nodes.drain("a")
    note = "node a is draining: it takes no new jobs, and holds 0"
    ready = call(api.port, "GET", "/ready").json
    assert ready == {"status": "ok", "missing": [], "notes": [note]}
    ledger.nodes.drain("b")
    ready = call(api.port, "GET", "/ready").json
    assert ready["missing"] == ["every machine is draining: jobs wait"]


def test_a_compute_resource_is_available_where_a_machine_takes_jobs(
    api: Faces, ledger: Ledger
) -> None:
    cpu = {"cpus": 2, "memory_mb": 4096}
    ledger.nodes.announce("a", {"compute": {"big": cpu}, "problems": ["disk full"]})
    ledger.nodes.announce("b", {"compute": {"small": cpu}})
    ledger.nodes.announce("c", {"compute": {"old": cpu}})
    ledger.nodes.drain("c")
    answer = api.control("GET", "/serverless-compute-resources")
    assert (answer.status, answer.json) == (
        200,
        [
            {"name": "big", "size": 1, "is_available": False},
            {"name": "cpu", "size": 1, "is_available": False},  # of the API's own file
            {"name": "old", "size": 1, "is_available": False},
            {"name": "small", "size": 1, "is_available": True},
        ],
    )
    assert api.data("GET", "/v1/serverless-compute-resources").status == 401


@contextmanager
def above_the_soft_limit(ledger: Ledger) -> Iterator[None]:
    """83 % of what Redis may use are used; a few clients more are less than the rest."""
    ledger.client.setrange("ballast", 2**25, "x")
    used = int(ledger.client.info("memory")["used_memory"])  # type: ignore[index]
    ledger.client.config_set("maxmemory", used + used // 5)
    try:
        time.sleep(LOOK_SECONDS)  # each process of the API looks that often
        yield
    finally:
        ledger.client.config_set("maxmemory", "0")
        ledger.client.delete("ballast")
        time.sleep(LOOK_SECONDS)  # until then they refuse


def test_above_the_soft_limit_nothing_new_is_taken_and_what_was_is_served(
    api: Faces, hello: str, ledger: Ledger, worker: PlayedWorker
) -> None:
    job_id = api.submit(hello)
    with above_the_soft_limit(ledger):
        answer = api.data("POST", f"/{hello}", body=b"x")
        assert is_error(answer, 503, "service_unavailable")
        assert "full" in answer.json["message"]
        assert int(answer["Retry-After"]) >= 1
        assert call(api.port, "POST", f"/{hello}", [], b"x").status == 401
        worker.respond(hello, job_id, OK, b"done")
        assert api.result(hello, job_id).body == b"done"
    assert api.data("POST", f"/{hello}", body=b"x").status == 202


def test_a_repeat_needs_no_room(api: Faces, hello: str, ledger: Ledger) -> None:
    """Where no new work is taken, it is still answered as the contract says."""
    known = [("X-Inference-Id", "known")]
    first = api.data("POST", f"/{hello}/a?b", known, b"body")
    with above_the_soft_limit(ledger):
        repeat = api.data("POST", f"/{hello}/a?b", known, b"body")
        assert (repeat.status, repeat.json) == (202, first.json)
        assert repeat["Location"] == f"/result/{hello}"
        other = api.data("POST", f"/{hello}/a?b", known, b"other")
        assert is_error(other, 409, "conflict")
        unknown = api.data("POST", f"/{hello}/a?b", [("X-Inference-Id", "new")], b"body")
        assert is_error(unknown, 503, "service_unavailable")
