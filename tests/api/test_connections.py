"""Connections: who keeps one, who loses one, and that no client holds a thread by doing nothing."""

import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from app.ledger import Ledger
from app.server import LINGER_PAUSE_SECONDS
from tests.api.faces import Faces
from tests.api.server import CLIENT_ID, GRACE, SOON_SECONDS, THREADS, ApiServer
from tests.api.wire import Answer, Connection, call, exchange
from tests.api.worker import OK, PlayedWorker
from tests.redis_server import RedisServer
from tests.stopped import stopped

# Refused at once; what is still to come of it is read and dropped for a while.
UNFINISHED = b"POST /hello/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
PROMPT_SECONDS = 1.5  # an answer that waited for somebody else takes longer
TRIES = 10  # of which any may meet a machine that is busy


@pytest.fixture(scope="session")
def impatient(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server that gives slow clients up soon."""
    started = ApiServer.start(
        tmp_path_factory.mktemp("impatient"), redis_server.url, head_seconds=0.5, body_seconds=0.5
    )
    yield started
    started.stop()


@pytest.fixture
def hasty(impatient: ApiServer, api: Faces) -> Faces:
    """Both faces of that server."""
    return Faces(impatient.port, api.key, api.token)


def is_prompt(seconds: Callable[[], float], limit: float = PROMPT_SECONDS) -> bool:
    """Whether it can be done in that time: who waits for somebody, does so in each try."""
    return any(seconds() < limit for _ in range(TRIES))


def health_seconds(port: int) -> float:
    """How long an answer takes that needs neither Redis nor anyone else."""
    began = time.monotonic()
    assert call(port, "GET", "/health").status == 200
    return time.monotonic() - began


def test_a_connection_carries_request_after_request(api: Faces, hello: str) -> None:
    with Connection(api.port) as connection:
        for body in (b"one", b"", b"three"):
            size = ("Content-Length", str(len(body)))
            assert connection.send(api.head("POST", "/hello/x", size), body).answer().status == 202


def test_requests_may_be_sent_ahead(api: Faces, hello: str) -> None:
    get = api.head("GET", "/hello/x")
    post = api.head("POST", "/hello/y", ("Content-Length", "3")) + b"abc"
    with Connection(api.port) as connection:
        connection.send(get, post, get)
        assert [connection.answer().status for _ in range(3)] == [202, 202, 202]


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        (("POST", "/hello/x", ("X-Inference-Id", "a b")), b"", 400),
        (("POST", "/unknown/x"), b"", 404),
        (("HEAD", "/hello/x"), b"", 405),
        (("POST", "/v1/job-deployments"), b"{}", 401),
        (("GET", "/nothing/../x"), b"", 404),
    ],
)
def test_an_error_keeps_the_connection_where_its_request_was_read(
    api: Faces, hello: str, head: tuple[str, ...], body: bytes, status: int
) -> None:
    size = ("Content-Length", str(len(body)))
    with Connection(api.port) as connection:
        connection.send(api.head(head[0], head[1], *head[2:], size), body)  # type: ignore[arg-type]
        answer = connection.answer(head_only=head[0] == "HEAD")
        assert answer.status == status
        assert answer["Connection"] == "keep-alive"
        assert connection.send(api.head("GET", "/hello/x")).answer().status == 202


def test_a_refusal_does_not_wait_for_a_body_that_nobody_reads(api: Faces) -> None:
    def refusal() -> float:
        began = time.monotonic()
        with Connection(api.port) as connection:
            connection.send(UNFINISHED)  # without credentials: this costs an attacker nothing
            answer = connection.answer()
            assert answer.status == 401
            assert answer["Connection"] == "close"
            assert connection.ended()
        return time.monotonic() - began

    assert is_prompt(refusal)


def test_bytes_behind_an_unread_body_are_no_second_request(api: Faces, hello: str) -> None:
    inner = api.head("POST", "/hello/smuggled")
    outer = b"POST /hello/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    with Connection(api.port) as connection:
        connection.send(outer, inner)
        assert connection.answer().status == 401
        assert connection.ended()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /hello/x HTTP/1.1\r\nHost: a\r\n", 401),
        ("POST /v1/job-deployments HTTP/1.1\r\nHost: a\r\n", 401),
        ("POST /v1/oauth2/token HTTP/1.1\r\nHost: a\r\n", 413),
        ("POST /nothing HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n", 401),
        ("PUT /status/x HTTP/1.1\r\nHost: a\r\n", 405),
    ],
)
def test_a_refusal_reaches_a_client_that_sends_all_of_a_large_body_first(
    api: Faces, head: str, status: int
) -> None:
    body = bytes(8 * 1024 * 1024)

    def refusal() -> Answer | None:
        with Connection(api.port) as connection:
            try:
                connection.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode(), body)
            except ConnectionError:  # a busy machine may hold us up for longer than it is read
                return None
            return connection.answer()

    answer = next((answer for _ in range(TRIES) if (answer := refusal())), None)
    assert answer is not None
    assert answer.status == status
    assert answer.json["message"]


def test_clients_that_keep_their_side_open_do_not_stop_the_others(api: Faces) -> None:
    # gunicorn's own worker waits for each, up to 2 s, on the thread that accepts connections.
    def beside_them() -> float:
        with ExitStack() as held:
            for _ in range(3):
                connection = held.enter_context(Connection(api.port))
                connection.send(UNFINISHED)
                assert connection.answer().status == 401
            return health_seconds(api.port)

    assert is_prompt(beside_them)


def test_a_client_that_keeps_its_side_open_is_let_go(api: Faces) -> None:
    def is_let_go() -> bool:
        with Connection(api.port) as connection:
            connection.send(UNFINISHED)
            assert connection.answer().status == 401
            assert connection.ended()
            try:
                for _ in range(4):
                    time.sleep(LINGER_PAUSE_SECONDS + 0.2)  # only a send tells that it was let go
                    connection.send(b"x")
            except ConnectionError:
                return True
            return False

    assert any(is_let_go() for _ in range(TRIES))


def test_a_server_that_stood_still_itself_reads_what_came_meanwhile(
    api: Faces, server: ApiServer
) -> None:
    def goes_on() -> bool:
        with Connection(api.port) as connection:
            connection.send(UNFINISHED)
            assert connection.answer().status == 401
            assert connection.ended()
            with stopped(server.worker_pids[-1]):
                connection.send(b"x")
                time.sleep(LINGER_PAUSE_SECONDS + 0.2)  # a pause of ours would be over
            try:
                health_seconds(api.port)  # it has looked at who pauses
                connection.send(b"x")
            except ConnectionError:
                return False
            return True

    assert any(goes_on() for _ in range(TRIES))


def test_connections_without_a_request_hold_no_thread(api: Faces) -> None:
    def beside_them() -> float:
        with ExitStack() as held:
            for _ in range(2 * THREADS):
                held.enter_context(Connection(api.port))
            return health_seconds(api.port)

    assert is_prompt(beside_them)


@pytest.mark.parametrize(
    "start",
    [
        b"POST /v1/oauth2/to",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST /v1/oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{",
        b"POST /v1/oauth2/token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
def test_requests_that_are_never_finished_hold_no_thread_for_long(
    impatient: ApiServer, start: bytes
) -> None:
    def beside_them() -> float:
        with ExitStack() as held:
            connections = [
                held.enter_context(Connection(impatient.port)).send(start)
                for _ in range(2 * THREADS)
            ]
            seconds = health_seconds(impatient.port)
            assert {connection.answer().status for connection in connections} <= {400, 408}
        return seconds

    assert is_prompt(beside_them, 4)


def test_a_body_that_trickles_is_given_up(hasty: Faces, hello: str, ledger: Ledger) -> None:
    give_up = time.monotonic() + SOON_SECONDS
    with Connection(hasty.port) as connection:
        connection.send(hasty.head("POST", "/hello/x", ("Content-Length", "1000")))
        connection.sock.settimeout(0.1)
        while time.monotonic() < give_up:
            connection.send(b"x")
            try:
                if connection.sock.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        else:
            pytest.fail("a byte now and then is enough")
        connection.sock.settimeout(SOON_SECONDS)
        answer = connection.answer()
    assert answer.status == 400
    assert "in time" in answer.json["message"]
    assert not ledger.client.keys("onejob:payload:*")


def test_a_slow_body_of_a_good_size_is_waited_for(hasty: Faces, hello: str) -> None:
    piece, pieces = bytes(8 * 1024), 12

    def status() -> int:
        with Connection(hasty.port) as connection:
            size = ("Content-Length", str(len(piece) * pieces))
            connection.send(hasty.head("POST", "/hello/x", size))
            with suppress(ConnectionError):  # on a busy machine a pause may be too long
                for _ in range(pieces):
                    time.sleep(0.1)  # all pauses are more than twice the server's patience
                    connection.send(piece)
            return connection.answer().status

    assert any(status() == 202 for _ in range(TRIES))


def test_clients_that_do_not_take_their_answer_hold_no_thread_for_long(
    api: Faces, hasty: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit("hello")
    worker.respond("hello", job_id, OK, bytes(16 * 1024 * 1024))

    def beside_them() -> float:
        with ExitStack() as held:
            for _ in range(THREADS):
                connection = held.enter_context(Connection(hasty.port))
                connection.send(api.head("GET", "/result/hello", ("X-Inference-Id", job_id)))
            return health_seconds(hasty.port)

    assert is_prompt(beside_them, 4)


def test_a_large_body_after_expect_continue(api: Faces, hello: str) -> None:
    body = bytes(range(256)) * 100
    with Connection(api.port) as connection:
        headers = [("Content-Length", str(len(body))), ("Expect", "100-continue")]
        connection.send(api.head("POST", "/hello/x", *headers))
        assert connection.line() == b"HTTP/1.1 100 Continue\r\n"
        assert connection.line() == b"\r\n"
        assert connection.send(body).answer().status == 202


def test_http_1_0(api: Faces, hello: str) -> None:
    head = api.head("POST", "/hello/x", ("Content-Length", "3")).replace(b"HTTP/1.1", b"HTTP/1.0")
    with Connection(api.port) as connection:
        answer = connection.send(head, b"abc").answer()
        assert answer.status == 202
        assert answer["Connection"] == "close"
        assert connection.ended()


def test_a_server_that_is_asked_to_stop_does_not_wait_for_idle_clients(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = ApiServer.start(tmp_path_factory.mktemp("stopped"), redis_server.url, *GRACE)
    try:
        with Connection(server.port):
            assert call(server.port, "GET", "/health").status == 200  # the other was accepted, too
            assert server.seconds_to_stop() < SOON_SECONDS
    finally:
        server.stop()


def test_a_request_in_flight_is_answered_when_the_server_is_asked_to_stop(
    redis_server: RedisServer, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = ApiServer.start(tmp_path_factory.mktemp("stopping"), redis_server.url, *GRACE)
    try:
        api = Faces.of(server.port, ledger)
        api.deploy("hello")
        with Connection(server.port) as connection:
            headers = [("Content-Length", "3"), ("Expect", "100-continue")]
            connection.send(api.head("POST", "/hello/x", *headers))
            assert connection.line() == b"HTTP/1.1 100 Continue\r\n"  # a thread has it
            assert connection.line() == b"\r\n"
            server.ask_to_stop()
            assert connection.send(b"abc").answer().status == 202
    finally:
        server.stop()


def test_a_server_without_handles_left_goes_on_once_it_has_some(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = ApiServer.start(tmp_path_factory.mktemp("handles"), redis_server.url)
    try:
        (worker_pid,) = server.worker_pids
        used = len(os.listdir(f"/proc/{worker_pid}/fd"))
        _, hard = resource.prlimit(worker_pid, resource.RLIMIT_NOFILE)
        resource.prlimit(worker_pid, resource.RLIMIT_NOFILE, (used + 3, hard))
        with ExitStack() as held:
            for _ in range(10):
                held.enter_context(Connection(server.port))
            server.until_it_says("no connection can be accepted")
        assert call(server.port, "GET", "/health").status == 200
        assert server.worker_pids == [worker_pid]
    finally:
        server.stop()


def test_what_is_refused_is_not_written_to_the_log(server: ApiServer, api: Faces) -> None:
    secret = f"{CLIENT_ID}-and-a-secret"
    answer = exchange(api.port, f"GET /health HTTP/1.1\r\nAuthorization {secret}\r\n\r\n".encode())
    assert answer.status == 400
    assert "InvalidHeader" in server.log
    assert secret not in server.log
