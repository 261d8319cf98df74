"""Submit: any request to a deployment becomes a job, once for each id."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from verda.inference_client import InferenceClient

from app.domain.job import ID_PATTERN
from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.sdk import refused
from tests.api.server import ApiServer
from tests.api.wire import Headers, call, exchange
from tests.api.worker import PlayedWorker
from tests.redis_server import RedisServer


def payloads(ledger: Ledger) -> int:
    """How many bodies lie in Redis."""
    return len(ledger.client.keys("onejob:payload:*"))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "PATCH", "DELETE"])
def test_every_method_makes_a_job(
    api: Faces, hello: str, worker: PlayedWorker, method: str
) -> None:
    answer = api.data(method, "/hello/a/b?c=d", body=b"body")
    assert answer.status == 202
    assert answer.json == {
        "Id": answer["X-Inference-Id"],
        "StatusPath": "/status/hello",
        "ResultPath": "/result/hello",
    }
    assert answer["Location"] == "/result/hello"
    assert answer["Content-Type"] == "application/json"
    assert uuid.UUID(answer["X-Inference-Id"]).version == 4
    assert worker.job("hello", answer["X-Inference-Id"]).method == method


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PROPFIND"])
def test_no_other_method_makes_a_job(api: Faces, hello: str, ledger: Ledger, method: str) -> None:
    with api.open(method, "/hello/x") as connection:
        answer = connection.answer(head_only=method == "HEAD")
    assert answer.status == 405
    assert answer["Content-Type"] == "application/json"
    assert payloads(ledger) == 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Bearer a.b")],
        [("Authorization", "Bearer \xff.\xfe")],
        [("Authorization", "Basic YTpi")],
        [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
    ],
)
@pytest.mark.parametrize("path", ["/hello/x", "/unknown", "/status/hello", "/result/hello"])
def test_an_inference_key_is_needed(api: Faces, hello: str, headers: Headers, path: str) -> None:
    answer = call(api.port, "GET", path, headers)
    assert answer.status == 401
    assert answer.json["code"] == "unauthorized_request"
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_key_with_another_secret_is_no_key(api: Faces, hello: str) -> None:
    wrong = api.key[:-1] + ("a" if api.key[-1] != "a" else "b")
    assert call(api.port, "GET", "/hello", [("Authorization", f"Bearer {wrong}")]).status == 401


def test_an_access_token_is_no_key_and_a_key_no_token(api: Faces, hello: str) -> None:
    token = [("Authorization", f"Bearer {api.token}")]
    assert call(api.port, "GET", "/hello/x", token).status == 401
    assert call(api.port, "GET", "/v1/job-deployments", [api.bearer]).status == 401


def test_one_id_sent_many_times_at_once_is_one_job(api: Faces, hello: str, ledger: Ledger) -> None:
    chosen = [("X-Inference-Id", "one")]
    with ThreadPoolExecutor(8) as pool:
        posts = [pool.submit(api.data, "POST", "/hello", chosen, b"x" * 2**20) for _ in range(16)]
        assert {post.result().status for post in posts} == {202}
    uid = ledger.deployments.get("hello").uid
    assert ledger.client.zcard(f"onejob:deployment:{uid}:jobs") == 1
    assert payloads(ledger) == 1


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_read_in_any_case(api: Faces, hello: str, scheme: str) -> None:
    headers = [("Authorization", f"{scheme} {api.key}")]
    assert call(api.port, "POST", "/hello", headers).status == 202


@pytest.mark.parametrize("name", ["nothing", "Hello", "hello%20", "%68ello", "hello;x", "hello#x"])
def test_an_unknown_deployment_is_404(api: Faces, hello: str, name: str) -> None:
    with api.open("GET", f"/{name}/x") as connection:
        answer = connection.answer()
    assert answer.status == 404
    assert answer.json["code"] == "not_found"


@pytest.mark.parametrize("job_id", ["a", "A-1._z", "x" * 128, "..", "-"])
def test_the_client_may_choose_the_id(api: Faces, hello: str, job_id: str) -> None:
    answer = api.data("POST", "/hello", [("X-Inference-Id", job_id)], b"x")
    assert answer.status == 202
    assert answer["X-Inference-Id"] == answer.json["Id"] == job_id
    assert api.status("hello", job_id).json["Id"] == job_id


@pytest.mark.parametrize("job_id", ["", "a b", "x" * 129, "a/b", "a:b", "\xe4", "a%20", "a\tb"])
def test_an_id_that_can_not_be_one_is_refused(api: Faces, hello: str, job_id: str) -> None:
    for path in ("/hello", "/status/hello", "/result/hello"):
        answer = api.data("GET", path, [("X-Inference-Id", job_id)])
        assert answer.status == 400
        assert answer.json["code"] == "invalid_request"
        assert "X-Inference-Id" in answer.json["message"]
        assert "128" in answer.json["message"]


def test_two_ids_are_none(api: Faces, hello: str) -> None:
    headers = [("X-Inference-Id", "a"), ("X-Inference-Id", "a")]
    assert api.data("POST", "/hello", headers).status == 400


def test_a_repeat_gets_the_same_answer_and_makes_no_second_job(
    api: Faces, hello: str, ledger: Ledger
) -> None:
    first, second = (
        api.data("POST", "/hello/x?y", [("X-Inference-Id", "one")], b"body") for _ in range(2)
    )
    assert (first.status, first.body) == (second.status, second.body)
    assert first["X-Inference-Id"] == second["X-Inference-Id"]
    uid = ledger.deployments.get("hello").uid
    assert ledger.client.zcard(f"onejob:deployment:{uid}:jobs") == 1
    assert payloads(ledger) == 1


def test_a_repeat_may_have_other_headers(api: Faces, hello: str, worker: PlayedWorker) -> None:
    for trace in ("1", "2"):
        headers = [("X-Inference-Id", "one"), ("X-Trace", trace)]
        assert api.data("POST", "/hello", headers, b"body").status == 202
    assert ("X-Trace", "1") in worker.request("hello", "one")[0].headers


def test_a_repeat_of_an_ended_job_makes_no_second_one(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    api.submit("hello", X_Inference_Id="one")
    worker.respond("hello", "one", body=b"done")
    assert api.data("POST", "/hello/", [("X-Inference-Id", "one")], b"").status == 202
    assert api.result("hello", "one").body == b"done"


def test_an_id_is_remembered_as_long_as_the_status(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    api.submit("hello", X_Inference_Id="one")
    worker.respond("hello", "one", body=b"done")
    job = worker.job("hello", "one")
    for token in (job.payload, job.response):  # their retention is over, the record's is not
        ledger.client.delete(f"onejob:payload:{token}")
    chosen = [("X-Inference-Id", "one")]
    assert api.data("POST", "/hello/", chosen, b"").status == 202
    assert api.data("POST", "/hello/", chosen, b"other").status == 409
    assert api.status("hello", "one").json["State"] == "succeeded"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/hello/x?y", b"body"),
        ("POST", "/hello/X?y", b"body"),
        ("POST", "/hello/x", b"body"),
        ("POST", "/hello/x?y=", b"body"),
        ("POST", "/hello/x?y", b"Body"),
        ("POST", "/hello/x?y", b""),
    ],
)
def test_an_id_of_another_request_is_a_conflict(
    api: Faces, hello: str, ledger: Ledger, method: str, path: str, body: bytes
) -> None:
    chosen = [("X-Inference-Id", "one")]
    assert api.data("POST", "/hello/x?y", chosen, b"body").status == 202
    answer = api.data(method, path, chosen, body)
    assert answer.status == 409
    assert answer.json["code"] == "conflict"
    assert payloads(ledger) == 1


def test_the_same_id_of_another_deployment_is_another_job(api: Faces, hello: str) -> None:
    api.deploy("other")
    chosen = [("X-Inference-Id", "one")]
    assert api.data("POST", "/hello", chosen, b"a").status == 202
    assert api.data("POST", "/other", chosen, b"b").status == 202


def test_a_deployment_that_is_being_deleted_takes_no_job(
    api: Faces, hello: str, ledger: Ledger
) -> None:
    ledger.deployments.terminate("hello")
    answer = api.data("POST", "/hello", body=b"x")
    assert answer.status == 409
    assert answer.json["code"] == "conflict"
    assert payloads(ledger) == 0


def test_a_paused_deployment_takes_jobs_and_starts_none(
    api: Faces, hello: str, ledger: Ledger
) -> None:
    uid = ledger.deployments.get("hello").uid
    ledger.client.hset(f"onejob:deployment:{uid}", "state", "paused")
    assert api.status("hello", api.submit("hello")).json["State"] == "queued"


def test_a_full_queue_is_429(
    redis_server: RedisServer, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = ApiServer.start(tmp_path_factory.mktemp("full"), redis_server.url, queue_limit=1)
    try:
        api = Faces.of(server.port, ledger)
        api.deploy("hello")
        api.submit("hello")  # has the slot
        first = api.submit("hello", body=b"first")
        answer = api.data("POST", "/hello", body=b"second")
        assert answer.status == 429
        assert answer.json["code"] == "rate_limit_exceeded"
        assert int(answer["Retry-After"]) >= 1
        assert payloads(ledger) == 2
        sdk = InferenceClient(api.key, f"{server.url}/hello")
        refused(429, "rate_limit_exceeded", "1 jobs wait", lambda: sdk.run({}))
        # A repeat asks for no place in the queue.
        assert api.data("POST", "/hello/", [("X-Inference-Id", first)], b"first").status == 202
    finally:
        server.stop()


def test_a_job_is_published_by_its_ids_alone(
    api: Faces, hello: str, redis_client: redis.Redis
) -> None:
    api.submit("hello", body=b"payload", X_Inference_Id="one")
    (message,) = redis_client.lrange("compute.cpu", 0, -1)  # type: ignore[misc]
    assert b"hello.one" in message
    assert b"payload" not in message


def test_jobs_are_accepted_after_redis_has_lost_what_celery_keeps_there(
    api: Faces, hello: str, redis_client: redis.Redis
) -> None:
    api.submit("hello")
    for key in redis_client.keys("_kombu*"):  # type: ignore[union-attr]
        redis_client.delete(key)
    assert api.data("POST", "/hello").status == 202


def test_nothing_of_a_refused_submit_stays_in_redis(api: Faces, hello: str, ledger: Ledger) -> None:
    before = set(ledger.client.keys("*"))  # type: ignore[arg-type]
    assert api.data("POST", "/hello", [("X-Inference-Id", "a b")], b"x").status == 400
    assert api.data("POST", "/unknown", body=b"x").status == 404
    assert exchange(api.port, api.head("POST", "/hello", ("Content-Length", "x"))).status == 400
    assert set(ledger.client.keys("*")) == before  # type: ignore[arg-type]


def test_made_up_ids_are_allowed_ids() -> None:
    assert ID_PATTERN.fullmatch(str(uuid.uuid4()))
