"""GET …/jobs/{id}/logs while the job runs: so far, and followed to its end."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app.domain.job import Reason, State
from app.domain.log import Piece, Stream
from app.ledger import Ledger
from app.ledger.attempts import Grip
from app.ledger.live import Place
from tests.api.events import Events
from tests.api.faces import Faces
from tests.api.server import THREADS, ApiServer
from tests.api.wire import Answer
from tests.api.worker import LEASE_SECONDS, NODE, PlayedWorker
from tests.redis_server import RedisServer

AT = 1_700_000_000_000_000_000
MOST = 1024 * 1024


class Printing:
    """An attempt that runs and prints."""

    def __init__(self, worker: PlayedWorker, name: str, job_id: str) -> None:
        self.worker, self.ledger = worker, worker.ledger
        self.grip: Grip = worker.run(name, job_id)
        self.pieces: list[Piece] = []
        self._batches = 0

    def wanted(self) -> bool:
        """Whether its worker hears that somebody follows."""
        return self.ledger.attempts.renew(NODE, LEASE_SECONDS, [self.grip]) == ["followed"]

    def says(self, *texts: bytes, stream: Stream = Stream.STDOUT) -> None:
        """Prints, and its worker tells that."""
        new = [Piece(AT + len(self.pieces) + n, stream, text) for n, text in enumerate(texts)]
        self.pieces += new
        self.tell(new)

    def tell(self, pieces: list[Piece]) -> None:
        """Its worker tells something."""
        self._batches += 1
        batch = b"".join(piece.stored() for piece in pieces)
        self.ledger.live.relay(self.grip, self._batches, MOST, batch)

    def ends(self, *last: bytes) -> None:
        """Prints its last, which nobody tells, and succeeds."""
        at = AT + len(self.pieces)
        self.pieces += [Piece(at + n, Stream.STDOUT, text) for n, text in enumerate(last)]
        attempts = self.ledger.attempts
        fields: dict[str, str | int] = {"exit_code": 0}
        attempts.finish(self.grip, State.SUCCEEDED, Reason.EXIT_0, "the process exited", fields)
        upload = self.ledger.payloads.upload(b"")
        upload.write(b"".join(piece.stored() for piece in self.pieces))
        attempts.keep_log(self.grip, upload, sum(len(p.text) for p in self.pieces), False)
        attempts.release(self.grip)


def until(holds: Callable[[], object]) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)  # Redis tells of no change


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


# -- so far --------------------------------------------------------------------------------------


def test_what_was_printed_so_far_is_told_once(api: Faces, hello: str, printing: Printing) -> None:
    printing.says(b"1\n", b"half")
    path = f"/job-deployments/{hello}/jobs/j/logs"
    answer = api.control("GET", path)
    assert (answer.status, answer.body, answer["X-Log-Complete"]) == (200, b"1\nhalf", "false")
    lines = api.control("GET", f"{path}?format=json").json
    assert [line["message"] for line in lines] == ["1", "half"]


def test_where_no_worker_tells_it_says_so(api: Faces, hello: str, printing: Printing) -> None:
    answer = api.control("GET", f"/job-deployments/{hello}/jobs/j/logs")
    assert (answer.status, answer["Retry-After"]) == (404, "1")
    assert "running" in answer.json["message"]
    assert printing.wanted()  # the next one finds it


def test_follow_is_yes_or_no(api: Faces, hello: str, printing: Printing) -> None:
    path = f"/job-deployments/{hello}/jobs/j/logs?follow="
    assert api.control("GET", f"{path}maybe").status == 400
    assert api.control("GET", f"/job-deployments/{hello}/jobs/nope/logs?follow=true").status == 404
