"""The exchange of a key of AWS for a registry's login, with an AWS that the test plays."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.domain.registries import EcrCredentials
from workers.ecr import TARGET, Logins, sign
from workers.engine import ImageDenied, ImagePullFailed

# The example credentials of AWS's own test suite for its signatures.
CREDENTIALS = EcrCredentials(
    name="c",
    type="aws-ecr",
    access_key_id="AKIDEXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    region="us-east-1",
    ecr_repo="1234.dkr.ecr.us-east-1.amazonaws.com",
)
HOUR = 3600


class PlayedAws:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: Any = token(12 * HOUR)
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def raw(self) -> bytes:
        told = self.answer
        return told if isinstance(told, bytes) else json.dumps(told).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        aws = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                aws.asked.append((dict(self.headers.items()), body))
                raw = aws.raw()
                self.send_response(aws.status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def token(seconds: float) -> dict[str, Any]:
    text = base64.b64encode(b"AWS:pass:word").decode()
    return {"authorizationData": [{"authorizationToken": text, "expiresAt": time.time() + seconds}]}


@pytest.fixture
def aws() -> Iterator[PlayedAws]:
    played = PlayedAws()
    yield played
    played.close()


def test_a_signature_is_the_one_that_aws_expects() -> None:
    """`get-vanilla` of AWS's test suite."""
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    host = {"Host": "example.amazonaws.com"}
    url = "https://example.amazonaws.com/"
    signed = sign("GET", url, host, b"", CREDENTIALS, "service", now)
    assert signed["X-Amz-Date"] == "20150830T123600Z"
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
        " SignedHeaders=host;x-amz-date,"
        " Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


def test_a_login_is_asked_for_once_as_long_as_it_is_good(aws: PlayedAws) -> None:
    logins = Logins()
    for _ in range(2):
        assert logins(CREDENTIALS, aws.url) == ("AWS", "pass:word")
    ((headers, body),) = aws.asked
    assert (headers["X-Amz-Target"], body) == (TARGET, b"{}")
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "host;x-amz-date;x-amz-target" in headers["Authorization"]


def test_one_that_is_about_to_end_is_asked_for_anew(aws: PlayedAws) -> None:
    logins, aws.answer = Logins(), token(60)
    for _ in range(2):
        logins(CREDENTIALS, aws.url)
    assert len(aws.asked) == 2


def test_other_credentials_have_their_own(aws: PlayedAws) -> None:
    logins = Logins()
    logins(CREDENTIALS, aws.url)
    logins(CREDENTIALS.model_copy(update={"secret_access_key": "other"}), aws.url)
    assert len(aws.asked) == 2


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (400, {"__type": "x#UnrecognizedClientException"}, ImageDenied, "UnrecognizedClientEx"),
        (403, b"nonsense", ImageDenied, "HTTP status 403, no reason told"),
        (500, {}, ImagePullFailed, "HTTP status 500"),
        (200, {}, ImagePullFailed, "gave no login"),
        (200, [], ImagePullFailed, "gave no login"),
        (200, b"nonsense", ImagePullFailed, "gave no login"),
        (200, {"authorizationData": [{"authorizationToken": "!"}]}, ImagePullFailed, "no login"),
    ],
)
def test_what_aws_refuses_is_told_without_the_key(
    aws: PlayedAws, status: int, answer: Any, kind: type[Exception], words: str
) -> None:
    aws.status, aws.answer = status, answer
    with pytest.raises(kind, match=words) as error:
        Logins()(CREDENTIALS, aws.url)
    assert "EXAMPLE" not in str(error.value)


def test_an_aws_that_can_not_be_reached_is_told() -> None:
    with socket.socket() as silent, pytest.raises(ImagePullFailed, match="refused"):
        silent.bind(("127.0.0.1", 0))  # and does not listen: nobody else can have its port
        Logins()(CREDENTIALS, f"http://127.0.0.1:{silent.getsockname()[1]}")
