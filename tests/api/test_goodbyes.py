"""Connections that a client wanted to close: they end at once, and no answer is lost by it."""

import time

import pytest

from app.server import LINGER_SECONDS
from tests.api.faces import Faces
from tests.api.wire import Connection

SEND_SECONDS = 0.01
TRIES = 3  # of which any may meet a machine that is busy
LAST = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_a_client_that_wanted_to_close_is_let_go_at_once(api: Faces) -> None:
    def seconds_to_let_go() -> float:
        with Connection(api.port) as connection:
            connection.send(LAST)
            assert connection.answer().status == 200
            assert connection.ended()
            began = time.monotonic()
            with pytest.raises(OSError, match=r"reset|Broken pipe"):
                while True:
                    connection.send(b"x")
                    time.sleep(SEND_SECONDS)  # only a send tells that it was let go
            return time.monotonic() - began

    assert any(seconds_to_let_go() < LINGER_SECONDS / 2 for _ in range(TRIES))


def test_an_answer_is_not_lost_by_what_comes_behind_the_last_request(api: Faces) -> None:
    for behind in (b"x", bytes(1024 * 1024)):
        with Connection(api.port) as connection:
            connection.send(LAST, behind)
            assert connection.answer().status == 200
