"""Bodies that are too large, or never whole, and requests that are none: nothing is accepted."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ledger import Ledger
from app.server import HEAD_LIMIT
from tests.api.faces import Faces
from tests.api.server import ApiServer
from tests.api.wire import Answer, Connection, exchange
from tests.redis_server import RedisServer

LIMIT = 3 * 1024 * 1024 + 5
CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.fixture(scope="session")
def strict(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server with a small limit."""
    folder = tmp_path_factory.mktemp("strict")
    started = ApiServer.start(folder, redis_server.url, request_limit_bytes=LIMIT)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def hasty(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server that hardly waits for a body: no client here could be sure to be faster."""
    folder = tmp_path_factory.mktemp("hasty")
    started = ApiServer.start(folder, redis_server.url, body_seconds=0.5)
    yield started
    started.stop()


@pytest.fixture
def api(strict: ApiServer, ledger: Ledger) -> Faces:
    """Both faces of that server, with a deployment."""
    faces = Faces.of(strict.port, ledger)
    faces.deploy("hello")
    return faces


@pytest.fixture(autouse=True)
def nothing_is_left(api: Faces, ledger: Ledger) -> Iterator[None]:
    """Fails a test that leaves a job or a body in Redis."""
    yield
    assert not ledger.client.keys("onejob:job:*")
    assert not ledger.client.keys("onejob:payload:*")


def length(size: int) -> tuple[str, str]:
    return "Content-Length", str(size)


def is_too_large(answer: Answer) -> bool:
    assert answer.status == 413
    assert answer.json["code"] == "payload_too_large"
    return str(LIMIT) in answer.json["message"]


def test_the_limit_itself_is_allowed(api: Faces) -> None:
    api.submit("hello", body=bytes(LIMIT))
    assert api.control("DELETE", "/job-deployments/hello").json["status"] == "deleted"


def test_a_length_over_the_limit_is_refused_before_the_body_is_sent(api: Faces) -> None:
    with Connection(api.port) as connection:
        connection.send(api.head("POST", "/hello", length(LIMIT + 1)))
        assert is_too_large(connection.answer())


def test_a_body_that_is_refused_is_not_asked_for(api: Faces) -> None:
    for size, line in ((LIMIT + 1, b"HTTP/1.1 413 "), (1, b"HTTP/1.1 404 ")):
        path = "/hello" if size > LIMIT else "/unknown"
        with Connection(api.port) as connection:
            expect = ("Expect", "100-continue")
            connection.send(api.head("POST", path, length(size), expect))
            assert connection.line().startswith(line)


@pytest.mark.parametrize("size", [LIMIT + 1, 10 * LIMIT, 10**30])
def test_a_length_over_the_limit_is_413(api: Faces, size: int) -> None:
    body = bytes(min(size, 2 * LIMIT))
    assert is_too_large(exchange(api.port, api.head("POST", "/hello", length(size)), body))


def test_a_chunked_body_over_the_limit_is_413(api: Faces) -> None:
    chunk = b"%x\r\n%s\r\n" % (1024 * 1024, bytes(1024 * 1024))
    assert is_too_large(exchange(api.port, api.head("POST", "/hello", CHUNKED), chunk * 4))


def test_the_control_plane_has_a_limit_of_its_own(api: Faces) -> None:
    for headers in (length(1024 * 1024 + 1), CHUNKED):
        token = ("Authorization", f"Bearer {api.token}")
        head = f"POST /v1/job-deployments HTTP/1.1\r\nHost: a\r\n{token[0]}: {token[1]}\r\n"
        head += f"{headers[0]}: {headers[1]}\r\n\r\n"
        body = b"100001\r\n" + b" " * 0x100001 + b"\r\n0\r\n\r\n"
        answer = exchange(api.port, head.encode(), body)
        assert answer.status == 413
        assert "1048576" in answer.json["message"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (length(10), b"half"),
        (length(LIMIT), bytes(2 * 1024 * 1024)),
        (CHUNKED, b"5\r\nhel"),
        (CHUNKED, b"5\r\nhello\r\n"),
        (CHUNKED, b"5\r\nhello\r\n0\r\n"),
        (CHUNKED, b"%x\r\n%s" % (LIMIT, bytes(2 * 1024 * 1024))),
        (length(10), b""),
    ],
    ids=["length", "large", "in a chunk", "no last", "no end", "large chunk", "no body"],
)
def test_a_body_that_ends_early_is_400(api: Faces, headers: tuple[str, str], body: bytes) -> None:
    with Connection(api.port) as connection:
        connection.send(api.head("POST", "/hello", headers), body)
        connection.sock.shutdown(socket.SHUT_WR)
        answer = connection.answer()
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert "early" in answer.json["message"] or "terminator" in answer.json["message"]


@pytest.mark.parametrize("route", ["/hello", "/v1/oauth2/token"])
@pytest.mark.parametrize(
    "body",
    [b"zz\r\n", b"\r\n", b"5\r\nhelloXX", b"-1\r\n", b"5;a\rb\r\nhello\r\n", b"0x5\r\nhello\r\n"],
)
def test_broken_chunks_are_400(api: Faces, route: str, body: bytes) -> None:
    with Connection(api.port) as connection:
        answer = connection.send(api.head("POST", route, CHUNKED), body).answer()
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
        assert answer["Connection"] == "close"
        assert connection.ended()


@pytest.mark.parametrize("route", ["/hello", "/v1/oauth2/token"])
@pytest.mark.parametrize("headers", [length(100), CHUNKED])
def test_a_body_that_stalls_is_400(
    api: Faces, hasty: ApiServer, route: str, headers: tuple[str, str]
) -> None:
    with Connection(hasty.port) as connection:
        connection.send(api.head("POST", route, headers), b"5\r\nhe")
        answer = connection.answer()
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
        assert connection.ended()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health\r\n\r\n", 400),
        (b"GET /health HTTP/3.0\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"get /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /health HTTP/1.1\r\nNo colon\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nA b: c\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nA: b\0c\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"GET /h HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /h HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /h HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET /h HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /h HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /h HTTP/1.1\r\nTransfer-Encoding: nonsense\r\n\r\n", 400),
        (b"GET /h HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /h HTTP/1.1\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n", 400),
        (b"GET /h HTTP/1.1\r\nExpect: a miracle\r\n\r\n", 417),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /h HTTP/1.1\r\nA: " + b"x" * 130 * 1024 + b"\r\n\r\n", 431),
        (b"GET /h HTTP/1.1\r\n" + b"A: b\r\n" * 1001 + b"\r\n", 431),
        (b"GET /h HTTP/1.1\r\n" + (b"A: " + b"x" * 60000 + b"\r\n") * 5 + b"\r\n", 431),
        (b"GET /h HTTP/1.1\r\nA: " + b"x" * 2 * HEAD_LIMIT, 431),
        (b"CONNECT hello:80 HTTP/1.1\r\nHost: hello:80\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else str(value),
)
def test_what_is_no_request_gets_a_json_error(api: Faces, raw: bytes, status: int) -> None:
    answer = exchange(api.port, raw)
    assert answer.status == status
    assert answer["Content-Type"] == "application/json"
    assert answer.json["code"] in ("invalid_request", "not_found")
    assert 0 < len(answer.json["message"]) < 400


PIECES = st.sampled_from(
    [
        *(b"GET", b"POST", b"\r\n", b"\r\n\r\n", b" ", b"HTTP/1.1", b":", b"/v1/oauth2/token"),
        *(b"/hello", b"Host: a\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
        *(b"5\r\nhello\r\n", b"0\r\n\r\n", b"\0", b"\xff", b"{}", b"http://h/hello"),
    ]
)


@given(st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_on_a_connection_are_a_fault(api: Faces, raw: bytes) -> None:
    with Connection(api.port) as connection:
        connection.send(raw)
        connection.sock.shutdown(socket.SHUT_WR)
        try:
            while True:
                answer = connection.answer()
                assert answer.status < 500
                assert answer.status < 400 or answer.json["code"]
        except EOFError:
            return


@pytest.mark.parametrize("host", ["", "a b", "[", "\xff\xfe", "x" * 300, "..", "a:b:c", "a/b"])
def test_an_odd_host_does_no_harm(api: Faces, host: str) -> None:
    head = f"GET /v1/job-deployments HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
    answer = exchange(api.port, head)
    assert answer.status in (400, 401)
    assert answer.json["message"]
