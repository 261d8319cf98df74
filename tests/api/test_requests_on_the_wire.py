"""What a client sends reaches the app byte for byte."""

import random

import pytest

from app.domain.transport import render_request
from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.wire import Answer, Connection, Headers, exchange
from tests.api.worker import PlayedWorker

MIB = 1024 * 1024
BINARY = bytes(range(256)) * 5


def posted(api: Faces, target: str, *headers: tuple[str, str], body: bytes = b"") -> Answer:
    """The answer to a POST, sent byte for byte."""
    size = ("Content-Length", str(len(body)))
    return exchange(api.port, api.head("POST", target, *headers, size), body)


def stored(
    api: Faces, worker: PlayedWorker, target: str, *headers: tuple[str, str], body: bytes = b""
) -> tuple[str, Headers, bytes]:
    """Target, headers and body of the request that the app will get for a POST."""
    answer = posted(api, target, *headers, body=body)
    assert answer.status == 202, answer
    head, got = worker.request("hello", answer["X-Inference-Id"])
    return head.target, head.headers, got


@pytest.mark.parametrize(
    ("sent", "reached"),
    [
        ("/hello", "/"),
        ("/hello/", "/"),
        ("/hello?", "/?"),
        ("/hello?a=b&a=c", "/?a=b&a=c"),
        ("/hello/a/b/", "/a/b/"),
        ("/hello//a///b", "//a///b"),
        ("/hello/a%2Fb%2fc", "/a%2Fb%2fc"),
        ("/hello/%ff%C3%28%00", "/%ff%C3%28%00"),
        ("/hello/../x/./y", "/../x/./y"),
        ("/hello/%2e%2e/x", "/%2e%2e/x"),
        ("/hello/a;b=c,d'(e)*!$&+@:", "/a;b=c,d'(e)*!$&+@:"),
        ("/hello/a?b?c/d//e#f", "/a?b?c/d//e#f"),
        ("/hello/x?q=http://a/b?c", "/x?q=http://a/b?c"),
        ("/hello/a%zz%", "/a%zz%"),
        ('/hello/\\|^`{}"<>[]', '/\\|^`{}"<>[]'),
        ("http://elsewhere.example/hello/a//b?c", "/a//b?c"),
        ("HTTPS://user@[::1]:80/hello?x=/y", "/?x=/y"),
        ("/hello/" + "p" * 7000 + "?" + "q" * 1000, "/" + "p" * 7000 + "?" + "q" * 1000),
    ],
)
def test_the_target_reaches_the_app_as_it_was(
    api: Faces, hello: str, worker: PlayedWorker, sent: str, reached: str
) -> None:
    assert stored(api, worker, sent)[0] == reached


@pytest.mark.parametrize("target", ["//hello/x", "/", "/?hello", "http://hello", "http://h?/hello"])
def test_a_target_without_a_deployment_is_404(api: Faces, hello: str, target: str) -> None:
    answer = posted(api, target)
    assert answer.status == 404
    assert answer.json["code"] == "not_found"


@pytest.mark.parametrize("target", ["hello", "?x=http://h/hello", "*", "/h\xe4llo", "/he llo", ""])
def test_what_is_no_target_is_400(api: Faces, hello: str, target: str) -> None:
    answer = posted(api, target)
    assert answer.status in (400, 404)
    assert answer.json["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"x", BINARY, b"\r\n\r\n", bytes(MIB), bytes(MIB + 1), b"0\r\n\r\n"],
    ids=lambda body: f"{len(body)} bytes",
)
def test_the_body_reaches_the_app_as_it_was(
    api: Faces, hello: str, worker: PlayedWorker, body: bytes
) -> None:
    assert stored(api, worker, "/hello", body=body)[2] == body


def test_30_mib_go_both_ways(api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger) -> None:
    body = random.Random(1).randbytes(30 * MIB)
    answer = posted(api, "/hello", body=body)
    job_id = answer["X-Inference-Id"]
    assert worker.request("hello", job_id)[1] == body
    assert worker.job("hello", job_id).payload_size == len(body)
    sizes = [ledger.client.hstrlen(k, "0") for k in ledger.client.keys("onejob:payload:*")]  # type: ignore[union-attr]
    assert sizes == [MIB]
    worker.respond("hello", job_id, body=body)
    assert api.result("hello", job_id).body == body


def test_headers_reach_the_app_as_they_were(api: Faces, hello: str, worker: PlayedWorker) -> None:
    sent = [
        ("X-Repeated", "one"),
        ("x-repeated", "two, three"),
        ("X_Under_Score", "kept"),
        ("X-UPPER-lower", "as written"),
        ("X-Empty", ""),
        ("X-Latin", "gr\xfc\xdfe \xff"),
        ("X-Utf8", "grüße ✓".encode().decode("latin-1")),
        ("Cookie", "a=b; c=d"),
        ("Cookie", "e=f"),
        ("Content-Type", 'text/plain;  charset="x"'),
        ("Content-Encoding", "gzip"),
        ("Accept", "*/*"),
        ("SCRIPT_NAME", "/hello"),
        ("PATH_INFO", "/other"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Ssl", "off"),
        ("Forwarded", "for=1.2.3.4"),
        ("Content_Length", "7"),
        ("!#$%&'*+-.^_`|~", "every letter of a token"),
    ]
    _, got, _ = stored(api, worker, "/hello/x", *sent)
    assert got[:-1] == sent
    assert got[-1][0] == "X-Inference-Id"


def test_headers_of_the_connection_are_dropped(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    dropped = [
        ("Connection", "keep-alive, X-Mine"),
        ("connection", "x-other ,close"),
        ("X-Mine", "1"),
        ("X-OTHER", "2"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Trailer", "X-T"),
        ("Upgrade", "websocket"),
        ("Expect", "100-continue"),
    ]
    with Connection(api.port) as connection:
        connection.send(api.head("GET", "/hello", *dropped, ("X-Kept", "yes")))
        answer = connection.answer()
    head, _ = worker.request("hello", answer["X-Inference-Id"])
    assert head.headers == [("X-Kept", "yes"), ("X-Inference-Id", answer["X-Inference-Id"])]


def test_the_key_never_lies_in_redis(api: Faces, hello: str, ledger: Ledger) -> None:
    posted(api, "/hello", body=b"x")
    secret = api.key.partition(".")[2].encode()
    client = ledger.client
    for key in client.keys("*"):  # type: ignore[union-attr]
        assert secret not in (client.dump(key) or b"")  # type: ignore[operator]


def test_200_headers(api: Faces, hello: str, worker: PlayedWorker) -> None:
    sent = [(f"X-{n}", f"value {n}") for n in range(200)]
    assert stored(api, worker, "/hello", *sent)[1][:-1] == sent


def test_a_header_of_64_kib(api: Faces, hello: str, worker: PlayedWorker) -> None:
    sent = ("X-Long", "v" * 64 * 1024)
    assert stored(api, worker, "/hello", sent)[1][0] == sent


def test_a_chunked_body_is_stored_as_one(api: Faces, hello: str, worker: PlayedWorker) -> None:
    chunks = b"5;name=value\r\nhello\r\n0006\r\n world\r\n0\r\nX-Trailer: dropped\r\n\r\n"
    head = api.head("POST", "/hello", ("Transfer-Encoding", "chunked"))
    with Connection(api.port) as connection:
        answer = connection.send(head, chunks).answer()
        # The connection goes on behind it.
        assert connection.send(api.head("GET", "/hello")).answer().status == 202
    stored_head, body = worker.request("hello", answer["X-Inference-Id"])
    assert body == b"hello world"
    rendered = render_request(stored_head, len(body), "127.0.0.1:8000").decode("latin-1")
    assert "Content-Length: 11\r\n" in rendered
    assert "chunked" not in rendered
    assert "X-Trailer" not in rendered


def test_a_get_with_a_body(api: Faces, hello: str, worker: PlayedWorker) -> None:
    answer = api.data("GET", "/hello", body=b"a body")
    assert worker.request("hello", answer["X-Inference-Id"])[1] == b"a body"


def test_a_request_without_a_length_has_no_body(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    answer = exchange(api.port, api.head("POST", "/hello"))
    assert worker.request("hello", answer["X-Inference-Id"])[1] == b""
