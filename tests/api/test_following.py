"""GET …/jobs/{id}/logs while the job runs: so far, and followed to its end."""

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from app.api.following import STILL_HERE, Followers
from app.domain.job import Job, Reason
from app.domain.log import Piece, Stream
from app.ledger import Ledger, connect
from app.ledger.live import WHOLE_BYTES, Place
from tests.api.events import Events
from tests.api.faces import Faces
from tests.api.printing import AT, Printing, until
from tests.api.server import THREADS, ApiServer
from tests.api.test_metrics import series
from tests.api.wire import Answer
from tests.api.worker import PlayedWorker
from tests.redis_server import RedisServer


@pytest.fixture
def printing(api: Faces, hello: str, worker: PlayedWorker) -> Printing:
    return Printing(worker, hello, api.submit(hello, "/", b"", X_Inference_Id="j"))


def test_lines_come_while_the_job_runs_and_its_end_comes_last(
    api: Faces, hello: str, printing: Printing
) -> None:
    with Events(api, hello, "j") as events:
        until(printing.wanted)
        printing.says(b"one\n", b"tw")
        name, data = events.event()
        assert (name, data) == (
            "message",
            {
                "timestamp": AT,
                "container_name": "hello-0",
                "replica": printing.worker.job(hello, "j").replica,
                "stream": "stdout",
                "message": "one",
            },
        )
        printing.says(b"broken\n", stream=Stream.STDERR)
        assert events.message() == "broken"
        printing.says(b"o\n")
        assert events.message() == "two"
        printing.ends(b"last words\n", b"no end")
        assert [events.message(), events.message()] == ["last words", "no end"]
        name, end = events.event()
        assert name == "end"
        assert end == {
            "state": "succeeded",
            "reason": "exit_0",
            "detail": "the process exited",
            "exit_code": 0,
        }
        assert events.connection.ended()


def test_what_is_told_twice_arrives_once(api: Faces, hello: str, printing: Printing) -> None:
    with Events(api, hello, "j") as events:
        printing.says(b"1\n", b"2\n")
        assert [events.message(), events.message()] == ["1", "2"]
        printing.tell(printing.pieces)  # by the next supervisor
        printing.says(b"3\n")
        assert events.message() == "3"
        printing.ends(b"4\n")
        assert events.message() == "4"
        assert events.event()[0] == "end"


def test_who_comes_later_gets_all_of_it(api: Faces, hello: str, printing: Printing) -> None:
    with Events(api, hello, "j") as first:
        printing.says(b"1\n")
        assert first.message() == "1"
        with Events(api, hello, "j") as second:
            printing.says(b"2\n")
            assert [second.message(), second.message()] == ["1", "2"]
            assert first.message() == "2"
            printing.ends()
            assert first.event()[0] == second.event()[0] == "end"


def test_who_follows_where_only_the_last_part_was_told_gets_all_of_it(
    api: Faces, hello: str, printing: Printing
) -> None:
    printing.says(b"1\n", b"2\n")
    printing.tell(printing.pieces[1:], anew=True, reach=1024)  # for who wanted no more
    with Events(api, hello, "j") as events:
        until(lambda: printing.wish() == WHOLE_BYTES)
        printing.tell(printing.pieces, anew=True)
        assert [events.message(), events.message()] == ["1", "2"]
        printing.ends(b"3\n")
        assert events.message() == "3"


def test_a_job_that_is_over_is_followed_to_its_end_at_once(
    api: Faces, hello: str, printing: Printing
) -> None:
    printing.ends(b"1\n", b"2\n")
    with Events(api, hello, "j") as events:
        assert [events.message(), events.message()] == ["1", "2"]
        assert events.event()[0] == "end"


def test_a_job_can_be_followed_before_it_runs(api: Faces, hello: str, worker: PlayedWorker) -> None:
    job_id = api.submit(hello)
    with Events(api, hello, job_id) as events:
        printing = Printing(worker, hello, job_id)
        printing.says(b"1\n")
        name, data = events.event()
        assert (name, data["message"]) == ("message", "1")
        assert data["replica"] == worker.job(hello, job_id).replica
        printing.ends()
        assert events.event()[0] == "end"


def test_another_attempt_is_followed_too(
    api: Faces, hello: str, printing: Printing, worker: PlayedWorker
) -> None:
    with Events(api, hello, "j") as events:
        printing.says(b"first\n")
        assert events.message() == "first"
        attempts = worker.ledger.attempts
        attempts.abandon(printing.grip, Reason.SIGNALLED, "it crashed")
        attempts.requeue(printing.grip)
        again = Printing(worker, hello, "j")
        again.says(b"second\n")
        assert events.message() == "second"
        again.ends(b"third\n")
        assert events.message() == "third"
        assert events.event()[0] == "end"


def test_a_job_that_goes_with_its_deployment_ends_the_stream(
    api: Faces, hello: str, printing: Printing, ledger: Ledger
) -> None:
    with Events(api, hello, "j") as events:
        until(printing.wanted)
        ledger.client.unlink(f"onejob:job:{printing.grip.uid}:j")
        assert events.event() == ("end", {"state": None})


def test_nothing_is_told_where_nobody_follows(
    api: Faces, hello: str, printing: Printing, ledger: Ledger
) -> None:
    assert not printing.wanted()
    with Events(api, hello, "j"):
        until(printing.wanted)
    ledger.client.zadd("onejob:due:followed", {f"{printing.grip.uid}/j": 1.0})  # time goes by
    until(lambda: not printing.wanted())
    assert 0 < ledger.client.ttl("onejob:due:followed") <= 10


def test_what_is_told_has_a_bound_and_goes_by_itself(printing: Printing, ledger: Ledger) -> None:
    for n in range(5):
        piece = Piece(AT + n, Stream.STDOUT, b"x" * 300 + b"\n")
        ledger.live.relay(printing.grip, n, 1000, piece.stored())
    key = f"onejob:job:{printing.grip.uid}:j:live"
    raw: Any = ledger.client.hgetall(key)
    assert (raw[b"first"], raw[b"next"], int(raw[b"bytes"])) == (b"2", b"5", 3 * 323)
    assert 0 < ledger.client.ttl(key) <= 60
    ledger.client.expire(key, 5)
    ledger.live.follow(printing.grip.uid, "j", Place())
    assert ledger.client.ttl(key) > 5  # an app that is silent for long is still followed
    before = ledger.client.hgetall(key)
    ledger.live.relay(printing.grip, 4, 1000, b"the same again")
    assert ledger.client.hgetall(key) == before


# -- connections ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server that two may follow."""
    folder = tmp_path_factory.mktemp("narrow-follow")
    started = ApiServer.start(folder, redis_server.url, followers=2)
    yield started
    started.stop()


def test_who_follows_is_counted_once_when_the_answer_begins(
    api: Faces, hello: str, printing: Printing
) -> None:
    def counts() -> dict[str, float]:
        wanted = ("onejob_http_requests_total", "onejob_http_request_seconds_sum")
        return {
            f"{name} {dict(labels).get('status')}": value
            for (name, labels), value in series(api.port).items()
            if name in wanted and dict(labels)["route"] == "control"
        }

    before, began = counts(), time.perf_counter()
    with Events(api, hello, "j") as events:
        heads, until_head = counts(), time.perf_counter() - began
        printing.ends(b"last words\n")
        while events.event()[0] != "end":
            pass
        assert events.connection.ended()
    assert counts() == heads
    assert heads.pop("onejob_http_requests_total 2xx") == (
        before.pop("onejob_http_requests_total 2xx") + 1
    )
    took = "onejob_http_request_seconds_sum None"
    assert 0 < heads.pop(took) - before.pop(took) < until_head
    assert heads == before


def test_followers_take_no_threads(api: Faces, hello: str, printing: Printing) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(Events(api, hello, "j")) for _ in range(4 * THREADS)]
        assert api.control("GET", f"/job-deployments/{hello}").status == 200
        printing.says(b"to all\n")
        assert {events.message() for events in crowd} == {"to all"}


def test_another_server_tells_the_same(
    redis_server: RedisServer, tmp_path: Path, ledger: Ledger, worker: PlayedWorker
) -> None:
    server = ApiServer.start(tmp_path, redis_server.url, "-k", "gthread", followers=1)
    try:
        api = Faces.of(server.port, ledger)
        name = api.deploy()
        Printing(worker, name, api.submit(name, "/", b"", X_Inference_Id="j")).ends(b"1\n")
        path = f"/job-deployments/{name}/jobs/j/logs?follow=true"
        assert api.control("HEAD", path).body == b""
        for _ in range(2):  # the first gives its place back
            answer = api.control("GET", path)
            assert answer["Content-Type"] == "text/event-stream"
            events = re.findall(rb"^(?:event: (.+)\n)?data: (.+)\n$", answer.body, re.M)
            assert [(name, json.loads(data).get("message")) for name, data in events] == [
                (b"", "1"),
                (b"end", None),
            ]
    finally:
        server.stop()


@pytest.mark.parametrize("ours", [True, False], ids=["our server", "another server"])
@pytest.mark.parametrize("gone", [False, True], ids=["over", "gone"])
def test_a_place_is_free_before_the_client_sees_the_end(
    printing: Printing, ledger: Ledger, gone: bool, ours: bool
) -> None:
    printing.ends(b"1\n")
    followers, job = Followers(1), printing.worker.job("hello", "j")
    if gone:
        ledger.client.unlink(f"onejob:job:{printing.grip.uid}:j")
    for _ in range(2):
        events = followed(followers, ledger, job, ours)
        assert any(b"event: end\n" in event for event in events)  # read so far, and not closed


def test_too_many_are_refused_and_who_hangs_up_makes_room(
    narrow: ApiServer, ledger: Ledger, worker: PlayedWorker
) -> None:
    api = Faces.of(narrow.port, ledger)
    name = api.deploy()
    Printing(worker, name, api.submit(name, "/", b"", X_Inference_Id="j"))

    def followed() -> Answer:
        events = Events(api, name, "j")
        stack.callback(events.connection.close)
        return events.answer

    with ExitStack() as stack:
        with Events(api, name, "j"), Events(api, name, "j"):
            refused = Events(api, name, "j")
            answer = refused.answer
            refused.connection.close()
            assert (answer.status, answer["Retry-After"]) == (503, "5")
        until(lambda: followed().status == 200)


def test_a_server_that_stops_leaves_its_followers(
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    ledger: Ledger,
    worker: PlayedWorker,
) -> None:
    server = ApiServer.start(tmp_path_factory.mktemp("stops"), redis_server.url)
    try:
        api = Faces.of(server.port, ledger)
        name = api.deploy()
        Printing(worker, name, api.submit(name, "/", b"", X_Inference_Id="j"))
        with Events(api, name, "j") as events:
            server.ask_to_stop()
            with pytest.raises(EOFError):
                events.event()
    finally:
        server.stop()


# -- without Redis -------------------------------------------------------------------------------


def test_while_redis_hangs_one_asks_it_for_all_who_follow(printing: Printing) -> None:
    job = printing.worker.job("hello", "j")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.setblocking(False)
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}"
        ledger = Ledger(connect(url, timeout_seconds=0.1, repeat_timeouts=False))
        followers = Followers(5)
        crowd = [followed(followers, ledger, job) for _ in range(5)]
        assert {next(follower) for follower in crowd} == {STILL_HERE}
        assert {next(follower) for follower in crowd} == {b""}
        assert len(callers(mute)) == 1
        until(lambda: {next(follower) for follower in crowd} == {b""} and callers(mute))


def followed(followers: Followers, ledger: Ledger, job: Job, ours: bool = True) -> Iterator[bytes]:
    """What our server takes from the request's body to send it, or another from the answer."""
    body = SimpleNamespace(stream=iter(())) if ours else SimpleNamespace()
    with Flask(__name__).test_request_context(environ_overrides={"wsgi.input": body}):
        answer = followers.follow(ledger, job)
    return body.stream if ours else answer.iter_encoded()


def callers(server: socket.socket) -> list[object]:
    """Who has called there since: a question that gets no answer is the end of its connection."""
    found: list[object] = []
    with suppress(BlockingIOError):
        while True:
            connection, address = server.accept()
            connection.close()
            found.append(address)
    return found


# -- so far --------------------------------------------------------------------------------------


def test_what_was_printed_so_far_is_told_once(api: Faces, hello: str, printing: Printing) -> None:
    printing.says(b"1\n", b"half")
    path = f"/job-deployments/{hello}/jobs/j/logs"
    answer = api.control("GET", path)
    assert (answer.status, answer.body, answer["X-Log-Complete"]) == (200, b"1\nhalf", "false")
    lines = api.control("GET", f"{path}?format=json").json
    assert [line["message"] for line in lines] == ["1", "half"]


def test_what_was_told_long_ago_is_not_all_of_it(
    api: Faces, hello: str, printing: Printing
) -> None:
    printing.says(b"1\n")
    printing.falls_silent()
    path = f"/job-deployments/{hello}/jobs/j/logs"
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(api.control, "GET", path)
        until(printing.wanted)
        printing.says(b"2\n")
        assert asked.result().body == b"1\n2\n"


def test_the_last_part_has_whole_pieces_and_a_bound(printing: Printing, ledger: Ledger) -> None:
    uid, live = printing.grip.uid, ledger.live
    printing.says(b"1\n", b"22\n")
    printing.says(b"333\n")
    pieces = [piece.stored() for piece in printing.pieces]
    assert live.recent(uid, "j", 1, 1000) == (True, b"".join(pieces))
    for most in (len(pieces[2]), len(pieces[1] + pieces[2]) - 1):
        assert live.recent(uid, "j", 1, most) == (True, pieces[2])
    assert live.recent(uid, "j", 1, len(pieces[2]) - 1) == (True, b"")
    assert live.recent(uid, "j", 2, 1000) == (False, b"")  # of another attempt
    live.relay(printing.grip, 9, 1000, pieces[0], anew=True)
    assert live.recent(uid, "j", 1, 1000) == (False, pieces[0])  # the rest is on its way


def test_where_no_worker_tells_it_says_so(impatient: Faces, hello: str, printing: Printing) -> None:
    answer = impatient.control("GET", f"/job-deployments/{hello}/jobs/j/logs")
    assert (answer.status, answer["Retry-After"]) == (404, "1")
    assert "running" in answer.json["message"]
    assert printing.wanted()  # the next one finds it


def test_follow_is_yes_or_no(api: Faces, hello: str, printing: Printing) -> None:
    path = f"/job-deployments/{hello}/jobs/j/logs?follow="
    assert api.control("GET", f"{path}maybe").status == 400
    assert api.control("GET", f"/job-deployments/{hello}/jobs/nope/logs?follow=true").status == 404
