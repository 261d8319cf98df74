"""GET /v1/job-deployments/{name}/logs and /system-logs, over all jobs of a deployment."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from app.domain.job import Reason, State
from app.domain.log import Stream
from app.ledger import Ledger
from app.ledger.attempts import Grip
from tests.api.faces import Faces
from tests.api.printing import Printing, until
from tests.api.wire import Answer
from tests.api.worker import PlayedWorker

SECOND = 10**9


def ask(api: Faces, name: str, what: str = "logs", **query: Any) -> Answer:
    return api.control("GET", f"/job-deployments/{name}/{what}?{urlencode(query, doseq=True)}")


def messages(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [entry["message"] for entry in answer.json]


def run(api: Faces, worker: PlayedWorker, name: str, text: bytes, at: int = 0) -> str:
    """The replica of a job that printed this."""
    return worker.printed(name, text, at, api.submit(name))


def test_lines_of_all_jobs_come_newest_first(api: Faces, hello: str, worker: PlayedWorker) -> None:
    before = time.time_ns()
    first = run(api, worker, hello, b"a1\na2\n")
    second = run(api, worker, hello, b"b1\nb2\n")
    answer = ask(api, hello)
    assert messages(answer) == ["b2", "b1", "a2", "a1"]
    assert [entry["replica"] for entry in answer.json] == [second, second, first, first]
    entry = answer.json[0]
    assert entry["container_name"] == f"{hello}-0"
    assert before < entry["timestamp"] < time.time_ns()
    assert messages(ask(api, hello, order="asc")) == ["a1", "a2", "b1", "b2"]


def test_lines_of_jobs_that_ran_side_by_side_are_in_their_order(
    api: Faces, worker: PlayedWorker
) -> None:
    name, at = api.deploy("wide", scaling=SIDE_BY_SIDE), time.time_ns()
    ids = [api.submit(name) for _ in range(2)]
    grips = [worker.run(name, job_id) for job_id in ids]
    for grip, text, start in zip(grips, (b"1\n3", b"2\n4"), (at, at + 5), strict=True):
        worker.ledger.attempts.finish(grip, State.SUCCEEDED, Reason.EXIT_0, "well", {})
        worker.print(grip, text, at=start)
    assert messages(ask(api, name, order="asc")) == ["1", "3", "2", "4"]
    assert messages(ask(api, name)) == ["4", "2", "3", "1"]


SIDE_BY_SIDE = {
    "max_replica_count": 9,
    "queue_message_ttl_seconds": 300,
    "deadline_seconds": 60,
}


def test_no_more_than_the_limit_and_those_next_to_the_end(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    for text in (b"1\n2\n3\n", b"4\n5\n6\n"):
        run(api, worker, hello, text)
    assert messages(ask(api, hello, limit=4)) == ["6", "5", "4", "3"]
    assert messages(ask(api, hello, limit=2, order="asc")) == ["1", "2"]
    for _ in range(3):
        run(api, worker, hello, b"".join(b"%d\n" % n for n in range(40)))
    assert len(ask(api, hello).json) == 50


def test_words_containers_and_pods_are_looked_for(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    first = run(api, worker, hello, b"good\nbad luck\n")
    second = run(api, worker, hello, b"bad day\n")
    run(api, worker, hello, b"bad too\n")
    assert messages(ask(api, hello, search_text="bad")) == ["bad too", "bad day", "bad luck"]
    assert messages(ask(api, hello, pod=first)) == ["bad luck", "good"]
    both = ask(api, hello, pod=[first, second], search_text="bad")
    assert messages(both) == ["bad day", "bad luck"]
    assert messages(ask(api, hello, container_name="other")) == []
    assert len(messages(ask(api, hello, container_name=f"{hello}-0"))) == 4


def test_only_what_lies_in_the_window_is_told(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    now = time.time_ns()
    run(api, worker, hello, b"old\n", at=now - 70 * SECOND)
    age(ledger, worker, hello, 200)
    run(api, worker, hello, b"new\n", at=now)
    assert messages(ask(api, hello)) == ["new", "old"]
    assert messages(ask(api, hello, since="50s")) == ["new"]
    assert messages(ask(api, hello, since="1m50s")) == ["new", "old"]
    assert messages(ask(api, hello, start=now - 71 * SECOND, end=now - 69 * SECOND)) == ["old"]
    assert messages(ask(api, hello, end=(now - 69 * SECOND) // SECOND)) == ["old"]
    at = datetime.fromtimestamp(now / 1e9 - 50, UTC)
    assert messages(ask(api, hello, start=at.isoformat())) == ["new"]
    assert messages(ask(api, hello, end=at.isoformat().replace("+00:00", "Z"))) == ["old"]


def test_a_quarter_of_an_hour_is_told_unless_the_query_says(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    now = time.time_ns()
    run(api, worker, hello, b"16 minutes ago\n", at=now - 16 * 60 * SECOND)
    run(api, worker, hello, b"14 minutes ago\n", at=now - 14 * 60 * SECOND)
    assert messages(ask(api, hello)) == ["14 minutes ago"]
    assert messages(ask(api, hello, since="15m")) == ["14 minutes ago"]
    assert len(messages(ask(api, hello, since="17m"))) == 2


def age(ledger: Ledger, worker: PlayedWorker, name: str, seconds: float) -> None:
    """All jobs so far were accepted that much earlier."""
    uid = ledger.deployments.get(name).uid
    for job in ledger.jobs.page(uid, 10).jobs:
        created = job.created_at.timestamp() - seconds
        ledger.client.hset(f"onejob:job:{uid}:{job.id}", "created_at", f"{created:.6f}")


@pytest.mark.parametrize(
    "query",
    [
        *("since=x", "since=5", "since=99999999999d", "start=200&end=100"),
        *("start=yesterday", "start=2026-01-01T00:00:00", "end=1e9"),
        *("order=up", "limit=0", "limit=1001", "limit=x"),
    ],
)
@pytest.mark.parametrize("what", ["logs", "system-logs"])
def test_a_query_that_makes_no_sense_is_told(api: Faces, hello: str, query: str, what: str) -> None:
    answer = api.control("GET", f"/job-deployments/{hello}/{what}?{query}")
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert query.split("=")[0] in answer.json["message"]


def test_all_that_is_wrong_is_told_at_once(api: Faces, hello: str) -> None:
    message = ask(api, hello, since="x", limit=0, order="up").json["message"]
    assert all(name in message for name in ("since", "limit", "order"))


@pytest.mark.parametrize("what", ["logs", "system-logs"])
def test_an_unknown_deployment_is_404_and_none_is_told_without_a_token(
    api: Faces, hello: str, what: str
) -> None:
    assert ask(api, "nope", what).status == 404
    assert api.data("GET", f"/v1/job-deployments/{hello}/{what}").status == 401
    assert ask(api, hello, what).json == []


def test_a_log_whose_retention_is_over_is_passed_over(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    gone = api.submit(hello)
    worker.printed(hello, b"gone\n", job_id=gone)
    run(api, worker, hello, b"here\n")
    ledger.client.unlink(f"onejob:payload:{worker.job(hello, gone).log}")
    assert messages(ask(api, hello)) == ["here"]


# -- while they run ------------------------------------------------------------------------------


@pytest.fixture
def two(api: Faces, worker: PlayedWorker) -> tuple[str, Printing, Printing]:
    """A deployment, and two of its replicas that run side by side."""
    name, at = api.deploy("wide", scaling=SIDE_BY_SIDE), time.time_ns()
    first = Printing(worker, name, api.submit(name), at)
    return name, first, Printing(worker, name, api.submit(name), at + 5)


def test_what_runs_is_told_in_one_order_with_what_ended(
    api: Faces, worker: PlayedWorker, two: tuple[str, Printing, Printing]
) -> None:
    name, first, second = two
    ended = run(api, worker, name, b"0\n", at=first.began - 1)
    first.says(b"1\n")
    second.says(b"3\n", stream=Stream.STDERR)
    first.says(b"2\n")
    answer = ask(api, name)
    assert messages(answer) == ["3", "2", "1", "0"]
    assert answer.json[0] == {
        "timestamp": second.began,
        "container_name": f"{name}-0",
        "replica": second.replica,
        "stream": "stderr",
        "message": "3",
    }
    assert [line["replica"] for line in answer.json[1:]] == [first.replica] * 2 + [ended]
    assert messages(ask(api, name, order="asc", limit=3)) == ["0", "1", "2"]
    assert messages(ask(api, name, pod=second.replica)) == ["3"]
    assert messages(ask(api, name, search_text="2")) == ["2"]
    assert messages(ask(api, name, end=first.began)) == ["1", "0"]


def test_workers_hear_of_it_and_are_waited_for(
    api: Faces, two: tuple[str, Printing, Printing]
) -> None:
    name, first, second = two
    first.says(b"1\n")
    first.falls_silent()
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask, api, name)
        for printing, text in ((first, b"2\n"), (second, b"3\n")):
            until(printing.wanted)
            printing.says(text)
        assert messages(asked.result()) == ["3", "2", "1"]


def test_nothing_of_one_grows_old_while_another_is_waited_for(
    api: Faces, two: tuple[str, Printing, Printing]
) -> None:
    name, first, second = two
    first.says(b"1\n")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask, api, name)
        until(second.wanted)
        first.says(b"2\n")
        second.says(b"3\n")
        assert messages(asked.result()) == ["3", "2", "1"]


def test_a_machine_that_does_not_answer_hides_nothing_that_is_known(
    impatient: Faces, worker: PlayedWorker, two: tuple[str, Printing, Printing]
) -> None:
    name, first, second = two
    run(impatient, worker, name, b"kept\n", at=first.began - 1)
    first.says(b"told\n")
    first.falls_silent()
    second.says(b"told, and its end is near\n")
    second.exits(b"untold\n")
    answer = ask(impatient, name, order="asc")
    assert messages(answer) == ["kept", "told", "told, and its end is near"]


def test_lines_of_a_job_that_ends_meanwhile_come_once(
    api: Faces, two: tuple[str, Printing, Printing]
) -> None:
    name, first, second = two
    first.says(b"1\n")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask, api, name, order="asc")
        until(second.wanted)  # the answer waits for this one
        first.ends(b"2\n")
        second.exits(b"3\n")
        second.goes()
        assert messages(asked.result()) == ["1", "2", "3"]


# -- what the platform did -----------------------------------------------------------------------


def reasons(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [entry["reason"] for entry in answer.json]


def test_what_was_done_to_a_job_is_told_step_by_step(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit(hello)
    worker.finish(hello, job_id, State.FAILED, Reason.OOM_KILLED, "limit 64 MiB")
    answer = ask(api, hello, "system-logs", order="asc")
    assert reasons(answer) == [
        "queued", "dispatched", "starting", "started", "sent", "oom_killed", "released",
    ]  # fmt: skip
    end = answer.json[-2]
    assert end["message"] == "failed: limit 64 MiB"
    assert {entry["involved_object"] for entry in answer.json} == {job_id}
    assert abs(end["timestamp"] - time.time_ns()) < 60 * SECOND
    assert all(entry["count"] == 1 and entry["message"] for entry in answer.json)
    assert reasons(ask(api, hello, "system-logs"))[0] == "released"


def test_events_are_found_by_reason_and_job(api: Faces, hello: str, worker: PlayedWorker) -> None:
    first, second = api.submit(hello), api.submit(hello, "/", b"2")
    worker.finish(hello, first, State.SUCCEEDED, Reason.EXIT_0, "well")
    asked = ask(api, hello, "system-logs", involved_object=second, order="asc")
    assert reasons(asked) == ["queued", "dispatched"]
    asked = ask(api, hello, "system-logs", reason=["exit_0", "sent"], order="asc")
    assert reasons(asked) == ["sent", "exit_0"]
    assert len(ask(api, hello, "system-logs", limit=3).json) == 3


def test_only_events_of_the_window_are_told(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    job_id = api.submit(hello)
    worker.finish(hello, job_id, State.SUCCEEDED, Reason.EXIT_0, "well")
    first, *_, last = ask(api, hello, "system-logs", order="asc").json
    assert reasons(ask(api, hello, "system-logs", end=first["timestamp"])) == ["queued"]
    assert reasons(ask(api, hello, "system-logs", start=last["timestamp"])) == ["released"]
    later = last["timestamp"] + SECOND
    assert reasons(ask(api, hello, "system-logs", start=later, end=later)) == []


def test_another_attempt_is_told_as_such(api: Faces, hello: str, worker: PlayedWorker) -> None:
    job_id = api.submit(hello)
    grip: Grip = worker.claim(hello, job_id)
    worker.ledger.attempts.abandon(grip, Reason.ENGINE_LOST, "it vanished")
    worker.ledger.attempts.requeue(grip)
    told = ask(api, hello, "system-logs", reason="retried").json
    assert [entry["message"] for entry in told] == ["it vanished"]


def test_waiting_jobs_do_not_hide_what_runs(api: Faces, hello: str, worker: PlayedWorker) -> None:
    running = api.submit(hello)
    worker.run(hello, running)
    for n in range(210):
        api.submit(hello, f"/{quote(str(n))}")
    asked = ask(api, hello, "system-logs", involved_object=running, order="asc")
    assert reasons(asked) == ["queued", "dispatched", "starting", "started", "sent"]
