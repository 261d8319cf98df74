"""The Prefer header, and the health check that is no job."""

import pytest

from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.worker import PlayedWorker


@pytest.mark.parametrize(
    ("prefer", "for_app"),
    [
        (["respond-async"], []),
        (["wait=0"], []),
        (["respond-async, wait=x"], []),
        (["respond-async-container, wait=0"], ["respond-async"]),
        (["respond-async-proxy"], ["respond-async"]),
        (["RESPOND-ASYNC-PROXY; x=1"], ["respond-async"]),
        (["return=minimal"], ["return=minimal"]),
        (
            ["return=minimal, respond-async", "handling=strict"],
            ["return=minimal", "handling=strict"],
        ),
        (["respond-async-proxy, foo; bar=1"], ["respond-async", "foo; bar=1"]),
        (['note="a, respond-async-proxy"'], ['note="a, respond-async-proxy"']),
        ([""], []),
    ],
)
def test_preferences_known_here_are_consumed_and_others_go_through(
    api: Faces, hello: str, worker: PlayedWorker, prefer: list[str], for_app: list[str]
) -> None:
    answer = api.data("POST", "/hello", [("Prefer", value) for value in prefer])
    assert answer.status == 202
    head, _ = worker.request("hello", answer["X-Inference-Id"])
    assert [value for name, value in head.headers if name.lower() == "prefer"] == for_app


def test_without_interest_in_the_result_the_answer_is_empty(api: Faces, hello: str) -> None:
    answer = api.data("POST", "/hello", [("Prefer", "respond-async-proxy")], b"x")
    assert answer.status == 202
    assert answer.body == b""
    assert "Content-Type" not in answer
    assert answer["X-Inference-Id"]
    assert answer["Location"] == "/result/hello"


def test_other_preferences_get_the_usual_answer(api: Faces, hello: str) -> None:
    for value in ("respond-async", "return=minimal", "wait=0"):
        answer = api.data("POST", "/hello", [("Prefer", value)])
        assert answer.json["Id"] == answer["X-Inference-Id"]


def test_the_health_check_of_a_deployment_starts_nothing(
    api: Faces, hello: str, ledger: Ledger
) -> None:
    answer = api.data("GET", "/hello/health?deep=1")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    uid = ledger.deployments.get("hello").uid
    ledger.client.hset(f"onejob:deployment:{uid}", "state", "paused")
    answer = api.data("GET", "/hello/health")
    assert (answer.status, answer.json) == (503, {"status": "paused"})
    ledger.deployments.terminate("hello")
    answer = api.data("GET", "/hello/health")
    assert (answer.status, answer.json) == (503, {"status": "terminating"})
    assert not ledger.client.keys("onejob:payload:*")


@pytest.mark.parametrize("path", ["/hello/health/", "/hello/healthz", "/hello//health", "/hello"])
def test_other_paths_are_no_health_check(api: Faces, hello: str, path: str) -> None:
    assert api.data("GET", path).status == 202


def test_a_health_check_is_asked_for_by_get(api: Faces, hello: str) -> None:
    assert api.data("POST", "/hello/health").status == 202


def test_without_a_health_check_its_path_is_the_apps(api: Faces) -> None:
    container = {"image": "example/hello:1", "exposed_port": 80}
    api.deploy("off", containers=[container | {"healthcheck": {"enabled": False}}])
    api.deploy("own", containers=[container | {"healthcheck": {"path": "/up?x=1"}}])
    assert api.data("GET", "/off/health").status == 202
    assert api.data("GET", "/own/health").status == 202
    assert api.data("GET", "/own/up").status == 200
