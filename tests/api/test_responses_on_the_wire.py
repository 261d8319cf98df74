"""What the app answers reaches the client byte for byte, but for what is ours to say."""

import pytest

from tests.api.faces import Faces
from tests.api.wire import Answer
from tests.api.worker import PlayedWorker

MIB = 1024 * 1024
BINARY = bytes(range(256)) * 5


def answered(api: Faces, worker: PlayedWorker, head: bytes, body: bytes = b"") -> Answer:
    """The answer of /result for a job whose app answered this."""
    job_id = api.submit("hello")
    worker.respond("hello", job_id, head, body)
    return api.result("hello", job_id)


@pytest.mark.parametrize(
    "body", [b"", b"x", BINARY, bytes(3 * MIB + 7)], ids=lambda body: f"{len(body)} bytes"
)
def test_the_apps_body_reaches_the_client_as_it_was(
    api: Faces, hello: str, worker: PlayedWorker, body: bytes
) -> None:
    answer = answered(api, worker, b"HTTP/1.1 200 OK\r\n\r\n", body)
    assert answer.body == body
    assert answer["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 200, "OK"),
        (b"HTTP/1.0 201 Very Much Created", 201, "Very Much Created"),
        (b"HTTP/1.1 404 Nope", 404, "Nope"),
        (b"HTTP/1.1 418 I'm a teapot", 418, "I'm a teapot"),
        (b"HTTP/1.1 500 Oh no", 500, "Oh no"),
        (b"HTTP/1.1 599 Gr\xfc\xdfe", 599, "Gr\xfc\xdfe"),
        (b"HTTP/1.1 302 Found", 302, "Found"),
        (b"HTTP/1.1 799 Odd", 799, "Odd"),
    ],
)
def test_the_apps_own_status_and_reason(
    api: Faces, hello: str, worker: PlayedWorker, line: bytes, status: int, reason: str
) -> None:
    answer = answered(api, worker, line + b"\r\nX: y\r\n\r\n", b"text")
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.body == b"text"
    assert answer["X-Job-State"] == "succeeded"


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 200 a\0b"])
def test_a_reason_that_can_not_be_sent_is_ours(
    api: Faces, hello: str, worker: PlayedWorker, line: bytes
) -> None:
    assert answered(api, worker, line + b"\r\n\r\n").status == 200


def test_the_apps_headers_reach_the_client_as_they_were(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    sent = [
        ("Set-Cookie", "a=b; Expires=Wed, 09 Jun 2027 10:18:14 GMT"),
        ("set-cookie", "c=d"),
        ("Content-Type", "application/json"),
        ("X_Under", "score"),
        ("ETag", 'W/"x"'),
        ("X-Latin", "gr\xfc\xdfe \xff\x80"),
        ("X-Empty", ""),
        ("Location", "relative/../path"),
        ("Cache-Control", "no-store"),
        ("Vary", "*"),
        ("Content-Encoding", "gzip"),
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent)
    answer = answered(api, worker, f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("latin-1"), b"{}")
    assert [pair for pair in answer.headers if pair in sent] == sent


def test_headers_that_are_ours_to_say_are_not_the_apps(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nDate: yesterday\r\nServer: mine\r\nConnection: close, X-Hop\r\n"
        b"X-Hop: 1\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\nKeep-Alive: x\r\n"
        b"Upgrade: h2c\r\nTrailer: X\r\nProxy-Authenticate: Basic\r\nX-Inference-Id: forged\r\n"
        b"X-Inference-Id: twice\r\nX-Job-State: failed\r\nX-Exit-Code: 7\r\nX-Kept: yes\r\n\r\n"
    )
    answer = answered(api, worker, head, b"four")
    names = {name.lower() for name, _ in answer.headers}
    assert not names & {"x-hop", "transfer-encoding", "keep-alive", "upgrade", "trailer"}
    assert "proxy-authenticate" not in names
    assert answer["Connection"] == "keep-alive"
    assert answer["Server"] != "mine"
    assert answer["Date"] != "yesterday"
    assert answer["Content-Length"] == "4"
    assert answer["X-Inference-Id"] not in ("forged", "twice")
    assert answer["X-Job-State"] == "succeeded"
    assert answer["X-Exit-Code"] == "0"
    assert answer["X-Kept"] == "yes"
    assert answer.body == b"four"


def test_without_a_content_type_it_is_bytes(api: Faces, hello: str, worker: PlayedWorker) -> None:
    answer = answered(api, worker, b"HTTP/1.1 200 OK\r\n\r\n", b"x")
    assert answer["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(
    api: Faces, hello: str, worker: PlayedWorker, status: int
) -> None:
    job_id = api.submit("hello")
    worker.respond("hello", job_id, f"HTTP/1.1 {status} X\r\nETag: y\r\n\r\n".encode(), b"body")
    with api.open("GET", "/result/hello", ("X-Inference-Id", job_id)) as connection:
        answer = connection.answer()
        assert answer.status == status
        assert answer["ETag"] == "y"
        assert "Content-Length" not in answer
        # Not one byte of a body: the next answer begins right behind the head.
        assert connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").answer().status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"X-Split: a\r b",
        b"X-Nul: a\0b",
        b"X Space: y",
        b"no colon",
        b": no name",
        b"X-Del: \x7f",
        b"\xff: y",
    ],
)
def test_a_header_that_can_not_be_sent_is_left_out(
    api: Faces, hello: str, worker: PlayedWorker, line: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Before: 1\r\n" + line + b"\r\nX-After: 2\r\n\r\n"
    answer = answered(api, worker, head, b"body")
    assert (answer.status, answer.body) == (200, b"body")
    assert answer["X-Before"] == "1"
    assert answer["X-After"] == "2"
    ours = {"server", "date", "connection", "content-type", "content-length"}
    ours |= {"x-inference-id", "x-job-state", "x-exit-code", "x-before", "x-after"}
    assert {name.lower() for name, _ in answer.headers} == ours


@pytest.mark.parametrize("head", [b"garbage", b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.1 100 Go\r\n\r\n"])
def test_a_head_that_is_none_is_a_failed_job(
    api: Faces, hello: str, worker: PlayedWorker, head: bytes
) -> None:
    job_id = api.submit("hello")
    fields = worker.store(b"HTTP/1.1 200 OK\r\n\r\n", b"")
    worker.ledger.client.hset(f"onejob:payload:{fields['response']}", "head", head)
    worker.succeed("hello", job_id, fields)
    answer = api.result("hello", job_id)
    assert (answer.status, answer.json["code"]) == (502, "job_failed")


def test_a_stored_body_that_is_cut_off_ends_the_connection(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit("hello")
    fields = worker.store(b"HTTP/1.1 200 OK\r\n\r\n", bytes(2 * MIB))
    worker.ledger.client.hdel(f"onejob:payload:{fields['response']}", "1")
    worker.succeed("hello", job_id, fields)
    connection = api.open("GET", "/result/hello", ("X-Inference-Id", job_id))
    with connection, pytest.raises(EOFError, match=f"{MIB} of {2 * MIB}"):
        connection.answer()
