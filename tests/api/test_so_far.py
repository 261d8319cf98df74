"""What running replicas printed so far: who is asked, for how much, and who is waited for."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace

import pytest
from flask import Flask

from app.api import so_far
from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.live import WHOLE_BYTES
from app.settings import Settings
from app.web import create_app
from tests.api.faces import Faces
from tests.api.patient import REDIS_SECONDS
from tests.api.printing import Printing, until
from tests.api.server import CLIENT_ID, CLIENT_SECRET, TOKEN_SECRET
from tests.api.wire import Answer
from tests.api.worker import NODE, PlayedWorker
from tests.redis_server import RedisServer

WIDE = {"max_replica_count": 9, "queue_message_ttl_seconds": 300, "deadline_seconds": 60}
SOON_SECONDS = 25.0  # the API would wait for a worker for far longer


@pytest.fixture
def printing(api: Faces, hello: str, worker: PlayedWorker) -> Printing:
    return Printing(worker, hello, api.submit(hello, "/", b"", X_Inference_Id="j"))


@pytest.fixture(autouse=True)
def soon(api: Faces) -> Iterator[None]:
    """Nothing here is waited for in vain."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON_SECONDS


def app(redis_url: str) -> Flask:
    """The API, in this process."""
    secrets = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "token_secret": TOKEN_SECRET,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.web.REDIS_SECONDS", REDIS_SECONDS)
        return create_app(Settings(redis_url=redis_url, log_wait_seconds=60, **secrets))


def look_until(asked: Future[Answer], *crowd: Printing) -> None:
    """Their workers look on, as they do, until there is an answer."""
    while not wait([asked], 0.2).done:
        for printing in crowd:
            printing.tell([])


def test_a_job_that_began_again_since_it_was_listed_has_its_new_lines(
    redis_server: RedisServer, ledger: Ledger, printing: Printing
) -> None:
    (job,) = ledger.jobs.page(printing.grip.uid, 1).jobs
    listed = [replace(job, replica="as it was named")]
    printing.says(b"first\n")
    ledger.attempts.abandon(printing.grip, Reason.SIGNALLED, "it crashed")
    ledger.attempts.requeue(printing.grip)
    again = Printing(printing.worker, "hello", "j")
    again.says(b"second\n")
    with app(redis_server.url).app_context():
        found = so_far.of_many(printing.grip.uid, listed)
    assert found.told == {"j": again.pieces[0].stored()}
    assert [(job.attempt, job.replica) for job in found.jobs] == [(2, again.replica)]


def test_a_jobs_own_log_has_nothing_of_an_earlier_attempt(
    api: Faces, hello: str, ledger: Ledger, printing: Printing
) -> None:
    printing.says(b"first\n")
    ledger.live.want(printing.grip.uid, ["j"])
    ledger.attempts.abandon(printing.grip, Reason.SIGNALLED, "it crashed")
    ledger.attempts.requeue(printing.grip)
    printing.worker.claim(hello, "j")  # its image is being pulled
    assert api.control("GET", f"/job-deployments/{hello}/jobs/j/logs").status == 404


def test_where_nothing_runs_redis_is_not_asked() -> None:
    with app("redis://127.0.0.1:1").app_context():
        assert so_far.of_many("uid", []) == so_far.SoFar()


def test_nobody_waits_for_what_has_not_started(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    worker.claim(hello, job_id := api.submit(hello))  # its image is being pulled
    assert api.control("GET", f"/job-deployments/{hello}/jobs/{job_id}/logs").status == 404
    assert api.control("GET", f"/job-deployments/{hello}/logs").json == []


def test_nobody_waits_for_what_was_queued_again_since_it_was_listed(
    redis_server: RedisServer, ledger: Ledger, printing: Printing
) -> None:
    listed = ledger.jobs.page(printing.grip.uid, 1).jobs
    ledger.attempts.abandon(printing.grip, Reason.SIGNALLED, "it crashed")
    ledger.attempts.requeue(printing.grip)
    with app(redis_server.url).app_context():
        assert so_far.of_many(printing.grip.uid, listed) == so_far.SoFar()


def test_nobody_waits_for_a_machine_that_is_lost(
    api: Faces, hello: str, printing: Printing, ledger: Ledger
) -> None:
    ledger.client.zadd("onejob:nodes", {NODE: 1.0})  # it has been silent since 1970
    ledger.nodes.lose(NODE, 60, 10, False)
    assert printing.worker.job(hello, "j").state is State.FAILED
    assert api.control("GET", f"/job-deployments/{hello}/logs").json == []
    assert api.control("GET", f"/job-deployments/{hello}/jobs/j/logs").body == b""


def test_a_deployments_logs_want_no_more_than_they_read(api: Faces, worker: PlayedWorker) -> None:
    name = api.deploy("wide", scaling=WIDE)
    crowd = [Printing(worker, name, api.submit(name), time.time_ns()) for _ in range(5)]
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(api.control, "GET", f"/job-deployments/{name}/logs")
        for printing in crowd:
            until(printing.wanted)
            assert printing.wish() == 512 * 1024
            printing.says(b"here\n")
        look_until(asked, *crowd)
        assert len(asked.result().json) == 5


def test_what_was_told_for_who_wants_less_is_not_taken_for_all(
    api: Faces, hello: str, printing: Printing
) -> None:
    printing.says(b"1\n", b"2\n")
    printing.tell(printing.pieces[1:], anew=True, reach=1024)
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(api.control, "GET", f"/job-deployments/{hello}/jobs/j/logs")
        until(lambda: printing.wish() == WHOLE_BYTES)
        printing.tell(printing.pieces, anew=True)
        look_until(asked, printing)
        assert asked.result().body == b"1\n2\n"


def test_who_wants_most_is_heard_as_long_as_somebody_wants_some(
    printing: Printing, ledger: Ledger
) -> None:
    uid = printing.grip.uid
    ledger.live.want(uid, ["j"], 2000)
    ledger.live.want(uid, ["j"], 1000)
    printing.tell([], anew=True, reach=2000)
    assert printing.wish() == 2000
    ledger.client.unlink("onejob:due:followed")  # time goes by
    assert printing.wish() == 0
    ledger.live.want(uid, ["j"], 1000)
    assert printing.wish() == 1000
