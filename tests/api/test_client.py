"""The command line's own client against the server."""

import dataclasses
import socket
import threading

import pytest

from app.client import Client, Refused
from tests.api.faces import Faces, deployment
from tests.api.server import CLIENT_ID, CLIENT_SECRET
from tests.api.worker import PlayedWorker


@pytest.fixture
def client(api: Faces) -> Client:
    return Client(f"http://127.0.0.1:{api.port}", CLIENT_ID, CLIENT_SECRET, api.key)


def test_both_faces(client: Client, worker: PlayedWorker) -> None:
    made = client.control("POST", "/job-deployments", deployment())
    assert (made.status, made.json()["name"]) == (201, "hello")
    submitted = client.data("POST", "/hello/x?y=z", {"X-Mine": "1"}, b"body")
    job_id = submitted.headers["x-inference-id"]
    head, body = worker.request("hello", job_id)
    assert (head.target, body) == ("/x?y=z", b"body")
    worker.respond("hello", job_id, body=b"\xff")
    assert client.data("GET", "/result/hello", {"X-Inference-Id": job_id}).body == b"\xff"


def test_errors_are_the_servers(client: Client) -> None:
    with pytest.raises(Refused, match="unknown") as refused:
        client.control("GET", "/job-deployments/unknown")
    assert (refused.value.status, refused.value.code) == (404, "not_found")


def test_a_token_that_is_known_no_more_is_renewed(client: Client) -> None:
    client._token = "old"
    assert client.control("GET", "/job-deployments").json() == []


def test_wrong_credentials_are_refused(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        dataclasses.replace(client, client_secret="wrong").control("GET", "/job-deployments")
    assert (refused.value.status, refused.value.code) == (401, "unauthorized_request")


def test_its_secrets_are_not_shown(client: Client) -> None:
    client.control("GET", "/job-deployments")
    shown = repr(client)
    assert client._token
    assert not any(s in shown for s in (CLIENT_SECRET, client.inference_key, client._token))


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"]
)
def test_what_is_no_answer_is_an_os_error(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "a", "b", "c")
        with pytest.raises(OSError):
            client.data("GET", "/hello")
        thread.join()
