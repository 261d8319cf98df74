"""Answers that wait for their job: the connection is held, and costs the others nothing."""

import select
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.domain.errors import NotFound
from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.server import GRACE, SOON_SECONDS, THREADS, ApiServer
from tests.api.test_metrics import series
from tests.api.wire import Answer, Connection
from tests.api.worker import OK, PlayedWorker
from tests.redis_server import RedisServer

CONTAINER = "respond-async-container"
HEAD = b"HTTP/1.1 203 Half True\r\nContent-Type: application/json\r\nX-Two: a\r\nx-two: b\r\n\r\n"
BODY = bytes(range(256)) * 5000
LIMIT = 1.0  # seconds, of the server with one place
ACCEPT_SECONDS = 20


def sent(
    api: Faces, worker: PlayedWorker, job_id: str, prefer: str, name: str = "hello"
) -> Connection:
    """A connection whose request was accepted, unanswered so far."""
    head = api.head("POST", f"/{name}", ("Prefer", prefer), ("X-Inference-Id", job_id))
    connection = Connection(api.port).send(head)
    give_up = time.monotonic() + ACCEPT_SECONDS
    while not accepted(worker, name, job_id):
        assert time.monotonic() < give_up, f"{job_id} was not accepted"
        time.sleep(0.01)  # while it is held it says nothing
    return connection


def accepted(worker: PlayedWorker, name: str, job_id: str) -> bool:
    try:
        return bool(worker.job(name, job_id))
    except NotFound:
        return False


def has_more(connection: Connection) -> bool:
    """Whether something came on this connection, be it the end."""
    return bool(select.select([connection.sock], [], [], 0)[0])


def posted(api: Faces, job_id: str, prefer: str) -> Answer:
    return api.data("POST", "/hello", [("Prefer", prefer), ("X-Inference-Id", job_id)])


def undated(answer: Answer) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers if name != "Date"]


def is_the_usual(answer: Answer, job_id: str) -> bool:
    where = {"StatusPath": "/status/hello", "ResultPath": "/result/hello"}
    return answer.status == 202 and bool(answer.json == {"Id": job_id} | where)


@pytest.fixture(scope="session")
def narrow(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server that holds one connection, for a second."""
    folder = tmp_path_factory.mktemp("narrow")
    started = ApiServer.start(folder, redis_server.url, hold_seconds=LIMIT, held_connections=1)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def other(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The application under gunicorn's own thread worker."""
    started = ApiServer.start(tmp_path_factory.mktemp("other"), redis_server.url, "-k", "gthread")
    yield started
    started.stop()


@pytest.fixture(params=["ours", "gthread"])
def either(
    request: pytest.FixtureRequest, server: ApiServer, other: ApiServer, ledger: Ledger
) -> Faces:
    """Both faces, under our server and under another, with a deployment."""
    faces = Faces.of((server if request.param == "ours" else other).port, ledger)
    faces.deploy("hello")
    return faces


@pytest.mark.parametrize("prefer", [CONTAINER, "wait=60", "respond-async, wait=60"])
def test_a_held_answer_is_the_result_byte_for_byte(
    either: Faces, worker: PlayedWorker, prefer: str
) -> None:
    with sent(either, worker, "one", prefer) as connection:
        assert not has_more(connection)
        worker.respond("hello", "one", HEAD, BODY)
        answer = connection.answer()
    assert (answer.status, answer.reason, answer.body) == (203, "Half True", BODY)
    assert answer["X-Inference-Id"] == "one"
    assert [answer.all("X-Two"), answer["X-Job-State"]] == [["a", "b"], "succeeded"]
    result = either.result("hello", "one")
    assert (undated(answer), answer.body) == (undated(result), result.body)


@pytest.mark.parametrize(
    ("state", "reason", "status", "code"),
    [
        (State.FAILED, Reason.EXIT_NONZERO, 502, "job_failed"),
        (State.TIMED_OUT, Reason.DEADLINE, 504, "deadline_exceeded"),
        (State.CANCELLED, Reason.CANCELLED, 410, "cancelled"),
    ],
)
def test_a_job_without_a_response_is_answered_as_its_result_is(
    api: Faces,
    hello: str,
    worker: PlayedWorker,
    state: State,
    reason: Reason,
    status: int,
    code: str,
) -> None:
    with sent(api, worker, "one", CONTAINER) as connection:
        worker.finish("hello", "one", state, reason, "a sentence")
        answer = connection.answer()
    assert (answer.status, answer.json["code"]) == (status, code)
    result = api.result("hello", "one")
    assert (undated(answer), answer.body) == (undated(result), result.body)


def test_a_response_of_a_failed_job_is_relayed(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    with sent(api, worker, "one", "wait=60") as connection:
        worker.respond("hello", "one", HEAD, b"half", exit_code=3)
        answer = connection.answer()
    assert (answer.status, answer.body, answer["X-Exit-Code"]) == (203, b"half", "3")


def test_a_job_that_is_cancelled_while_it_is_waited_for(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    with sent(api, worker, "one", CONTAINER) as connection:
        assert api.control("POST", "/job-deployments/hello/jobs/one/cancel").status == 200
        answer = connection.answer()
    assert (answer.status, answer.json["code"]) == (410, "cancelled")
    assert answer["X-Inference-Id"] == "one"


def test_a_job_that_goes_with_its_deployment_is_cancelled(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    with sent(api, worker, "one", CONTAINER) as connection:
        assert api.control("DELETE", "/job-deployments/hello").status == 200
        answer = connection.answer()
    assert (answer.status, answer.json["code"]) == (410, "cancelled")
    assert answer["X-Inference-Id"] == "one"


def test_a_job_that_is_over_already_is_answered_at_once(
    either: Faces, worker: PlayedWorker
) -> None:
    either.submit("hello", X_Inference_Id="one")
    worker.respond("hello", "one", body=b"done")
    for prefer in ("wait=60", CONTAINER):
        answer = posted_root(either, prefer)
        assert (answer.status, answer.body) == (200, b"done")


def posted_root(api: Faces, prefer: str) -> Answer:
    """The answer to a repeat of `submit`'s request."""
    headers = [("Prefer", prefer), ("X-Inference-Id", "one")]
    return api.data("POST", "/hello/", headers, b"")


def test_a_job_that_does_not_end_in_time_gets_the_usual_answer(either: Faces) -> None:
    began = time.monotonic()
    assert is_the_usual(posted(either, "one", "wait=1"), "one")
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("prefer", [CONTAINER, "wait=60"])
def test_nobody_waits_longer_than_the_limit(narrow: ApiServer, ledger: Ledger, prefer: str) -> None:
    api = Faces.of(narrow.port, ledger)
    api.deploy("hello")
    began = time.monotonic()
    assert is_the_usual(posted(api, "one", prefer), "one")
    assert time.monotonic() - began >= LIMIT


@pytest.mark.parametrize("prefer", ["wait=0", "wait=soon", "wait", "wait=-1", "respond-async"])
def test_who_does_not_want_to_wait_does_not(
    narrow: ApiServer, ledger: Ledger, worker: PlayedWorker, prefer: str
) -> None:
    api = Faces.of(narrow.port, ledger)
    api.deploy("hello")
    api.submit("hello", X_Inference_Id="one")
    worker.respond("hello", "one", body=b"who waits gets this")
    assert is_the_usual(posted_root(api, prefer), "one")


def test_without_interest_in_the_result_nobody_waits(api: Faces, hello: str) -> None:
    answer = posted(api, "one", "respond-async-proxy, wait=60")
    assert (answer.status, answer.body) == (202, b"")


def test_200_held_connections_leave_the_threads_to_the_others(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    count = 200
    assert count > 10 * THREADS
    with ExitStack() as stack:
        held = [stack.enter_context(sent(api, worker, f"job-{n}", CONTAINER)) for n in range(count)]
        for n in range(0, count, 10):
            assert api.status("hello", f"job-{n}").json["Status"] == "Queue"
        assert not any(has_more(connection) for connection in held)
        assert api.control("DELETE", "/job-deployments/hello?timeout=0").status == 200
        assert [connection.answer().status for connection in held] == [410] * count


def test_beyond_its_places_a_server_answers_as_usual_and_a_hang_up_frees_one(
    redis_server: RedisServer,
    ledger: Ledger,
    worker: PlayedWorker,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("places")
    server = ApiServer.start(folder, redis_server.url, held_connections=1)
    try:
        api = Faces.of(server.port, ledger)
        api.deploy("hello")
        hang_up_frees_a_place(api, worker, places=1)
    finally:
        server.stop()


def test_another_server_holds_some_of_its_threads(
    other: ApiServer, ledger: Ledger, worker: PlayedWorker
) -> None:
    api = Faces.of(other.port, ledger)
    api.deploy("hello")
    hang_up_frees_a_place(api, worker, places=THREADS // 2)


def hang_up_frees_a_place(api: Faces, worker: PlayedWorker, places: int) -> None:
    """Takes all places, and leaves them by hanging up."""
    api.submit("hello", X_Inference_Id="one")
    worker.respond("hello", "one", body=b"who waits gets this")
    give_up = time.monotonic() + ACCEPT_SECONDS
    while not places_are_taken(api, worker, places):
        assert time.monotonic() < give_up, "there are more places"
    while posted_root(api, "wait=60").body != b"who waits gets this":
        assert time.monotonic() < give_up, "the place was not freed"
        time.sleep(0.05)  # nothing tells that the server has noticed


def places_are_taken(api: Faces, worker: PlayedWorker, places: int) -> bool:
    """Takes all places for a moment; False if somebody else was quicker after the accept."""
    with ExitStack() as stack:
        held = [
            stack.enter_context(sent(api, worker, str(uuid.uuid4()), "wait=60"))
            for _ in range(places)
        ]
        usual = is_the_usual(posted_root(api, "wait=60"), "one")
        return usual and not any(has_more(connection) for connection in held)


def test_who_is_held_while_redis_is_away_gets_the_result_when_it_is_back(
    api: Faces, hello: str, redis_server: RedisServer, worker: PlayedWorker, server: ApiServer
) -> None:
    with sent(api, worker, "one", "wait=60") as connection:
        redis_server.until_all_is_read()  # the API knows that it was accepted
        redis_server.kill()
        try:
            server.until_it_says("nobody can say which jobs are over")
            assert not has_more(connection)
        finally:
            redis_server.restart()
        worker.respond("hello", "one", body=b"done")
        assert connection.answer().body == b"done"


def test_who_is_held_longer_than_redis_is_there_was_accepted_all_the_same(
    api: Faces, hello: str, redis_server: RedisServer, worker: PlayedWorker
) -> None:
    with sent(api, worker, "one", "wait=2") as connection:
        redis_server.until_all_is_read()  # the API knows that it was accepted
        redis_server.kill()
        try:
            assert is_the_usual(connection.answer(), "one")
        finally:
            redis_server.restart()


def test_a_held_connection_carries_further_requests(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    with sent(api, worker, "one", CONTAINER) as connection:
        worker.respond("hello", "one", body=b"first")
        assert connection.answer().body == b"first"
        repeat = api.head("POST", "/hello", ("Prefer", "wait=60"), ("X-Inference-Id", "one"))
        assert connection.send(repeat).answer().body == b"first"
        assert connection.send(api.head("GET", "/hello/x")).answer().status == 202


def test_a_request_that_was_sent_ahead_waits_for_the_held_one_and_costs_nothing(
    api: Faces, server: ApiServer, hello: str, worker: PlayedWorker
) -> None:
    with sent(api, worker, "one", "wait=60") as connection:
        before = server.processor_seconds()
        connection.send(api.head("GET", "/status/hello", ("X-Inference-Id", "one")))
        assert is_the_usual(posted(api, "two", "wait=1"), "two")
        assert server.processor_seconds() - before < 0.5  # of a second: no busy loop
        assert not has_more(connection)
        worker.respond("hello", "one", body=b"first")
        assert connection.answer().body == b"first"
        assert connection.answer().json["State"] == "succeeded"


def test_a_body_reaches_the_app_of_a_held_request(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    chunked = ("Transfer-Encoding", "chunked")
    head = api.head("POST", "/hello/x", ("Prefer", CONTAINER), ("X-Inference-Id", "one"), chunked)
    with Connection(api.port) as connection:
        connection.send(head, chunks)
        while not accepted(worker, "hello", "one"):
            time.sleep(0.01)  # while it is held it says nothing
        request, body = worker.request("hello", "one")
        worker.respond("hello", "one", body=b"done")
        assert connection.answer().body == b"done"
    assert body == b"hello world"
    assert [value for name, value in request.headers if name == "Prefer"] == ["respond-async"]


def test_a_server_that_is_asked_to_stop_answers_who_is_held_at_once(
    redis_server: RedisServer,
    ledger: Ledger,
    worker: PlayedWorker,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = ApiServer.start(tmp_path_factory.mktemp("stopped"), redis_server.url, *GRACE)
    try:
        api = Faces.of(server.port, ledger)
        api.deploy("hello")
        with ExitStack() as stack:
            held = [
                stack.enter_context(sent(api, worker, f"job-{n}", CONTAINER))
                for n in range(2 * THREADS)
            ]
            assert server.seconds_to_stop() < SOON_SECONDS
            for n, connection in enumerate(held):
                assert is_the_usual(connection.answer(), f"job-{n}")
                assert connection.ended()
    finally:
        server.stop()


def test_http_1_0_may_wait_too(api: Faces, hello: str, worker: PlayedWorker) -> None:
    api.submit("hello", X_Inference_Id="one")
    worker.respond("hello", "one", OK, b"done")
    size = ("Content-Length", "0")
    head = api.head("POST", "/hello/", ("Prefer", "wait=60"), ("X-Inference-Id", "one"), size)
    with Connection(api.port) as connection:
        assert connection.send(head.replace(b"HTTP/1.1", b"HTTP/1.0")).answer().body == b"done"
        assert connection.ended()


# -- how it is counted -------------------------------------------------------------------------


def submits(api: Faces) -> tuple[Counter[str], float]:
    """The submits that were answered, by origin and status, and how long all of them took."""
    counts, seconds = Counter[str](), 0.0
    for (name, labels), value in series(api.port).items():
        known = dict(labels)
        if known.get("route") == "submit" and name == "onejob_http_requests_total":
            counts[f"{known['origin']} {known['status']}"] = int(value)
        elif known.get("route") == "submit" and name == "onejob_http_request_seconds_sum":
            seconds += value
    return counts, seconds


def test_a_held_request_counts_once_as_what_it_is_answered_with_and_with_all_its_time(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    counts, seconds = submits(api)
    with sent(api, worker, "one", "wait=60") as connection:
        began = time.perf_counter()
        assert submits(api) == (counts, seconds), "it has no answer yet"
        worker.respond("hello", "one", b"HTTP/1.1 418 No\r\n\r\n", b"")
        waited = time.perf_counter() - began
        assert connection.answer().status == 418
    after, all_seconds = submits(api)
    assert after - counts == {"job 4xx": 1}
    assert all_seconds - seconds >= waited


def test_a_held_request_whose_job_goes_on_counts_as_the_usual_answer(
    api: Faces, hello: str
) -> None:
    counts, seconds = submits(api)
    assert is_the_usual(posted(api, "one", "wait=1"), "one")
    after, all_seconds = submits(api)
    assert after - counts == {"api 2xx": 1}
    assert all_seconds - seconds >= 1


def test_who_gets_no_place_counts_once(
    redis_server: RedisServer, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("no-place")
    server = ApiServer.start(folder, redis_server.url, held_connections=0)
    try:
        api = Faces.of(server.port, ledger)
        api.deploy("hello")
        assert is_the_usual(posted(api, "one", "wait=60"), "one")
        assert +submits(api)[0] == {"api 2xx": 1}
    finally:
        server.stop()


def test_who_hangs_up_has_no_answer_to_count(api: Faces, hello: str, worker: PlayedWorker) -> None:
    before = submits(api)
    with sent(api, worker, "one", "wait=60") as connection:
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.ended()
    assert submits(api) == before


@pytest.mark.parametrize("how", ["result", "wait=60"])
def test_what_became_of_a_job_is_no_error_of_the_api(
    api: Faces, hello: str, worker: PlayedWorker, how: str
) -> None:
    api.submit("hello", X_Inference_Id="one")
    worker.respond("hello", "one", b"HTTP/1.1 503 Busy\r\n\r\n", b"")
    api.submit("hello", X_Inference_Id="two")
    worker.finish("hello", "two", State.FAILED, Reason.EXIT_NONZERO, "a sentence")
    route = "result" if how == "result" else "submit"

    def errors() -> dict[str, float]:
        known = series(api.port)
        name = "onejob_http_requests_total"
        return {
            origin: known[name, (("origin", origin), ("route", route), ("status", "5xx"))]
            for origin in ("api", "job")
        }

    before = errors()
    for job_id, status in (("one", 503), ("two", 502)):
        if how == "result":
            answer = api.result("hello", job_id)
        else:
            headers = [("Prefer", how), ("X-Inference-Id", job_id)]
            answer = api.data("POST", "/hello/", headers, b"")
        assert answer.status == status
    assert errors() == {"api": before["api"], "job": before["job"] + 2}
