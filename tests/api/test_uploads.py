"""Requests as clients really send them: archives with an id of their own, streams, slashes."""

import io
import tarfile
from collections.abc import Iterator

import pytest
import requests

from tests.api.faces import Faces
from tests.api.wire import Connection, call
from tests.api.worker import PlayedWorker

BYTES = ("Content-Type", "application/octet-stream")
PIECE = 64 * 1024


@pytest.fixture(scope="module")
def archive() -> bytes:
    """A tar file of more than two of the ledger's chunks, with names and bytes of all kinds."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, size in (("data/\u00fc.bin", 2_500_000), ("empty", 0)):
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(range(256)) * (size // 256 + 1)))
    return packed.getvalue()


def stream(data: bytes) -> Iterator[bytes]:
    """The same bytes, of which nobody knows yet how many will come."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_archive_with_the_clients_own_id(
    api: Faces, hello: str, worker: PlayedWorker, archive: bytes, streamed: bool
) -> None:
    for _ in range(2):  # the second is a repeat, and makes no second job
        answer = requests.post(
            f"http://127.0.0.1:{api.port}/hello/train",
            data=stream(archive) if streamed else io.BytesIO(archive),
            headers=dict([api.bearer, BYTES, ("X-Inference-Id", "run_2026-09-30.1")]),
            timeout=30,
        )
        assert (answer.status_code, answer.json()["Id"]) == (202, "run_2026-09-30.1")
    head, body = worker.request("hello", "run_2026-09-30.1")
    assert body == archive
    assert BYTES in head.headers


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_asks_before_it_sends(
    api: Faces, hello: str, worker: PlayedWorker, archive: bytes, chunked: bool
) -> None:
    size = ("Content-Length", str(len(archive)))
    framing = ("Transfer-Encoding", "chunked") if chunked else size
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(archive), archive)
    with Connection(api.port) as connection:
        connection.send(api.head("PUT", "/hello/x", framing, ("Expect", "100-continue")))
        assert connection.line() == b"HTTP/1.1 100 Continue\r\n"
        assert connection.line() == b"\r\n"
        answer = connection.send(chunks if chunked else archive).answer()
    head, body = worker.request("hello", answer["X-Inference-Id"])
    assert body == archive
    assert "expect" not in {name.lower() for name, _ in head.headers}


def test_http_1_0_with_a_body(api: Faces, hello: str, worker: PlayedWorker, archive: bytes) -> None:
    head = api.head("POST", "/hello/x", ("Content-Length", str(len(archive))))
    with Connection(api.port) as connection:
        answer = connection.send(head.replace(b"HTTP/1.1", b"HTTP/1.0"), archive).answer()
    assert worker.request("hello", answer["X-Inference-Id"])[1] == archive


def test_64_kib_of_headers(api: Faces, hello: str, worker: PlayedWorker) -> None:
    sent = [(f"X-{n}", "v" * 327) for n in range(200)]
    with api.open("GET", "/hello", *sent) as connection:
        answer = connection.answer()
    assert worker.request("hello", answer["X-Inference-Id"])[0].headers[:-1] == sent


def test_our_own_routes_take_a_slash_at_the_end(api: Faces, hello: str) -> None:
    job_id = api.submit("hello")
    chosen = [("X-Inference-Id", job_id)]
    assert api.data("GET", "/status/hello/", chosen).json["Id"] == job_id
    assert api.data("GET", "/result/hello/", chosen)["X-Job-State"] == "dispatched"
    assert api.control("GET", "/job-deployments/").json[0]["name"] == "hello"
    assert api.control("GET", "/job-deployments/hello/").json["name"] == "hello"


@pytest.mark.parametrize("path", ["//status/hello", "/status//hello", "/status/hello//", "/Status"])
def test_our_own_routes_are_not_guessed(api: Faces, hello: str, path: str) -> None:
    answer = call(api.port, "GET", path, [api.bearer, ("X-Inference-Id", "one")])
    assert (answer.status, answer.json["code"]) == (404, "not_found")
