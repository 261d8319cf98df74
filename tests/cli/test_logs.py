"""`onejob logs`: at the end, as it comes, and where a stream breaks or there is none."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.commands.logs import Event, events
from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.worker import PlayedWorker
from tests.cli.conftest import Onejob
from tests.cli.stage import Player

LOG = b"one\ntwo \xff\nthree"
Ender = Callable[..., None]


@pytest.fixture
def end(ledger: Ledger, worker: PlayedWorker) -> Ender:
    """Ends a dispatched job that has printed something."""

    def end(job_id: str, cut: bool = False) -> None:
        grip = worker.run("hello", job_id)
        ledger.attempts.finish(grip, State.SUCCEEDED, Reason.EXIT_0, "done", {"exit_code": 0})
        worker.print(grip, LOG, cut=cut)
        ledger.attempts.release(grip)

    return end


def test_a_log_is_printed_byte_for_byte(onejob: Onejob, api: Faces, hello: str, end: Ender) -> None:
    job_id = api.submit(hello)
    end(job_id)
    answer = onejob("logs", hello, job_id)
    assert (answer.exit_code, answer.stdout_bytes, answer.stderr) == (0, LOG, "")


def test_that_its_beginning_is_gone_is_told(
    onejob: Onejob, api: Faces, hello: str, end: Ender
) -> None:
    job_id = api.submit(hello)
    end(job_id, cut=True)
    answer = onejob("logs", hello, job_id)
    assert answer.stderr == "onejob: the beginning of the log was cut off\n"


def test_before_the_end_it_says_so_with_7(onejob: Onejob, api: Faces, hello: str) -> None:
    answer = onejob("logs", hello, api.submit(hello))
    assert (answer.exit_code, answer.stdout) == (7, "")
    assert "the job is dispatched" in answer.stderr


def test_it_is_followed_to_the_end(
    onejob: Onejob, api: Faces, hello: str, player: Player, end: Ender
) -> None:
    job_id = api.submit(hello)
    player.do(hello, end)
    for _ in range(2):  # as it comes, and once it is over
        answer = onejob("logs", hello, job_id, "-f")
        assert (answer.exit_code, answer.stdout) == (0, "one\ntwo \ufffd\nthree\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"data: a\n\ndata:b\r\n\r\n", [Event("message", "a"), Event("message", "b")]),
        (b"data: a\ndata: b\n\n", [Event("message", "a\nb")]),
        (b": alive\n\nid: 7\nretry: 9\ndata\n\n", [Event("message", "")]),
        (b"event: end\ndata: {}\n\n", [Event("end", "{}")]),
        (b"event: end\n\n", [Event("end", "")]),
        (b"data:  \xff\n\n", [Event("message", " \ufffd")]),
        (b"data: half", []),
    ],
)
def test_events_are_read_as_the_standard_says(text: bytes, expected: list[Event]) -> None:
    assert list(events(text.splitlines(keepends=True))) == expected


def line(message: str) -> bytes:
    """An event of a line."""
    return f"data: {json.dumps({'message': message, 'stream': 'stdout'})}\n\n".encode()


class TestFollowing:
    """Against a server that streams what a test tells it to; the contract's form of the stream."""

    def test_lines_come_as_events_until_the_end(self, onejob: Onejob, streams: "Streams") -> None:
        streams.text = (
            b": hi\n\n" + line("one") + line("two") + b"event: ping\ndata: no\n\nevent: end\n\n"
        )
        answer = onejob("logs", "hello", "mine", "-f", "--url", streams.url)
        assert (answer.exit_code, answer.stdout, answer.stderr) == (0, "one\ntwo\n", "")

    def test_a_stream_that_breaks_goes_on_with_the_rest_at_the_end(
        self, onejob: Onejob, streams: "Streams"
    ) -> None:
        streams.text, streams.log = line("one") + b"data: tw", b"one\ntwo\nthree\n"
        answer = onejob("logs", "hello", "mine", "-f", "--url", streams.url)
        assert (answer.exit_code, answer.stdout) == (0, "one\ntwo\nthree\n")
        assert "the rest comes at the job's end" in answer.stderr

    def test_where_the_log_does_not_begin_like_that_all_of_it_is_printed(
        self, onejob: Onejob, streams: "Streams"
    ) -> None:
        streams.text, streams.log = line("one"), b"two\nthree\n"
        answer = onejob("logs", "hello", "mine", "-f", "--url", streams.url)
        assert (answer.exit_code, answer.stdout) == (0, "one\ntwo\nthree\n")
        assert "once more" in answer.stderr


class Streams:
    """A server that knows one job, which is over, and a stream of its log."""

    def __init__(self) -> None:
        self.text = b""  # of the stream; it ends there, without a word
        self.log = b""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        """The base URL of both faces."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        streams = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._answer("application/json", b'{"access_token": "it"}')

            def do_GET(self) -> None:
                if self.path.endswith("?follow=true"):
                    self._answer("text/event-stream; charset=utf-8", streams.text)
                elif self.path.endswith("/logs"):
                    self._answer("text/plain", streams.log)
                else:
                    self._answer("application/json", b'{"Status": "Completed", "Id": "mine"}')

            def _answer(self, content_type: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """The test's output is not for requests."""

        return Handler


@pytest.fixture
def streams() -> Iterator[Streams]:
    """A server of its own."""
    streams = Streams()
    thread = threading.Thread(target=streams.server.serve_forever, args=(0.01,))
    thread.start()
    yield streams
    streams.server.shutdown()
    thread.join()
    streams.server.server_close()
