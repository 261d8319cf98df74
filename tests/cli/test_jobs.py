"""Jobs on the command line: listed, seen, fetched, ended, done again."""

import json

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger, keys
from tests.api.faces import Faces
from tests.api.worker import PlayedWorker
from tests.cli.conftest import Onejob
from tests.cli.door import door
from tests.cli.stage import Player

HEAD = b"HTTP/1.1 418 I'm a teapot\r\nContent-Type: application/x-tea\r\n\r\n"


def test_jobs_are_a_table_or_json(onejob: Onejob, api: Faces, worker: PlayedWorker) -> None:
    api.deploy("hello", scaling={**SCALING, "max_replica_count": 5})
    done, failed = api.submit("hello"), api.submit("hello")
    worker.respond("hello", done)
    worker.respond("hello", failed, exit_code=3)
    waits = api.submit("hello")
    lines = [line.split() for line in onejob("jobs", "hello").output.splitlines()]
    assert lines[0] == ["ID", "STATE", "REASON", "ATTEMPT", "CREATED", "TOOK"]
    assert [line[:3] for line in lines[1:]] == [
        [waits, "dispatched", "-"],
        [failed, "failed", "exit_nonzero"],
        [done, "succeeded", "exit_0"],
    ]
    some = json.loads(onejob("jobs", "hello", "--state", "failed", "-o", "json").stdout)
    assert [job["Id"] for job in some] == [failed]


def test_a_list_goes_over_pages(
    onejob: Onejob, api: Faces, hello: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.commands.jobs.PAGE", 2)
    made = [api.submit(hello) for _ in range(5)]
    listed = json.loads(onejob("jobs", hello, "--all", "-o", "json").stdout)
    assert [job["Id"] for job in listed] == made[::-1]
    three = json.loads(onejob("jobs", hello, "--limit", "3", "-o", "json").stdout)
    assert [job["Id"] for job in three] == made[:1:-1]


def test_status_tells_where_it_stands(
    onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
) -> None:
    first, second = api.submit(hello, "/x?y"), api.submit(hello)
    assert "Place    1" in onejob("status", hello, second).output
    worker.respond(hello, first, exit_code=3)
    told = onejob("status", hello, first)
    assert told.exit_code == 0
    for words in ("failed", "exit_nonzero", "exit code 3", "POST /x?y", "HTTP 200", " released"):
        assert words in told.output
    known = json.loads(onejob("status", hello, first, "-o", "json").stdout)
    assert known == api.control("GET", f"/job-deployments/hello/jobs/{first}").json


def test_status_needs_only_one_kind_of_credentials(
    onejob: Onejob, api: Faces, hello: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = api.submit(hello)
    monkeypatch.delenv("ONEJOB_CLIENT_ID")
    assert "dispatched" in onejob("status", hello, job_id).output
    monkeypatch.delenv("ONEJOB_INFERENCE_KEY")
    assert onejob("status", hello, job_id).exit_code == 4


def test_text_of_an_app_can_not_move_the_cursor(
    onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit(hello)
    worker.finish(hello, job_id, State.FAILED, Reason.SIGNALLED, "said \x1b[2Jboo\r\n", signal=9)
    told = onejob("status", hello, job_id).output
    assert "\\x1b[2Jboo\\r\\n" in told
    assert "\x1b" not in told


class TestResult:
    def test_it_is_the_response_byte_for_byte(
        self, onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
    ) -> None:
        job_id, body = api.submit(hello), bytes(range(256)) * 1000
        worker.respond(hello, job_id, HEAD, body)
        answer = onejob("result", hello, job_id)
        assert (answer.exit_code, answer.stdout_bytes, answer.stderr) == (0, body, "")

    def test_it_goes_into_a_file(
        self, onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker, tmp_path: object
    ) -> None:
        job_id, path = api.submit(hello), f"{tmp_path}/it"
        worker.respond(hello, job_id, body=b"\xff\x00")
        answer = onejob("result", hello, job_id, "-o", path)
        assert (answer.exit_code, answer.output) == (0, "")
        with open(path, "rb") as file:
            assert file.read() == b"\xff\x00"
        nowhere = onejob("result", hello, job_id, "-o", f"{tmp_path}/no/where")
        assert (nowhere.exit_code, "No such file" in nowhere.stderr) == (2, True)

    def test_a_failed_job_gives_what_there_is_and_1(
        self, onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
    ) -> None:
        with_one, without = api.submit(hello), api.submit(hello)
        worker.respond(hello, with_one, HEAD, b"half", exit_code=3)
        worker.finish(hello, without, State.TIMED_OUT, Reason.DEADLINE, "the deadline came")
        answer = onejob("result", hello, with_one)
        assert (answer.exit_code, answer.stdout) == (1, "half")
        assert answer.stderr.startswith("failed  HTTP 418  exit_nonzero: ")
        answer = onejob("result", hello, without)
        assert (answer.exit_code, answer.stdout) == (1, "")
        assert answer.stderr == "timed_out  deadline: the deadline came\n"

    def test_an_apps_error_is_no_error_of_the_job(
        self, onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
    ) -> None:
        job_id = api.submit(hello)
        worker.respond(hello, job_id, b"HTTP/1.1 302 Found\r\nLocation: /v1\r\n\r\n", b"moved")
        answer = onejob("result", hello, job_id)
        assert (answer.exit_code, answer.stdout) == (0, "moved")

    def test_a_result_that_is_kept_no_more_is_not_found(
        self, onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
    ) -> None:
        job_id = api.submit(hello)
        worker.respond(hello, job_id, body=b"gone")
        ledger.client.delete(keys.payload(worker.job(hello, job_id).response or ""))
        answer = onejob("result", hello, job_id)
        assert (answer.exit_code, answer.stdout) == (3, "")
        assert "the result was kept until" in answer.stderr

    def test_before_the_end_it_says_so_with_7(self, onejob: Onejob, api: Faces, hello: str) -> None:
        job_id = api.submit(hello)
        for words in ((), ("--wait", "--timeout", "0")):
            answer = onejob("result", hello, job_id, *words)
            assert (answer.exit_code, answer.stdout) == (7, "")
            assert "the job is dispatched" in answer.stderr
        assert onejob("result", hello, job_id, "--timeout", "1").exit_code == 2

    def test_an_error_of_the_server_is_never_taken_for_the_response(
        self, onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
    ) -> None:
        job_id = api.submit(hello)
        worker.respond(hello, job_id, body=b"mine")
        with door(api.port, ["through", "busy", "connection", "through"]) as port:
            answer = onejob("result", hello, job_id, "--url", f"http://127.0.0.1:{port}")
        assert (answer.exit_code, answer.stdout, answer.stderr) == (0, "mine", "")

    def test_a_full_disk_is_told(
        self, onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
    ) -> None:
        job_id = api.submit(hello)
        worker.respond(hello, job_id, body=b"mine")
        answer = onejob("result", hello, job_id, "-o", "/dev/full")
        assert (answer.exit_code, "No space left" in answer.stderr) == (2, True)

    def test_it_can_be_waited_for(
        self, onejob: Onejob, api: Faces, hello: str, player: Player
    ) -> None:
        job_id = api.submit(hello)
        player.respond(hello, body=b"late")
        answer = onejob("result", hello, job_id, "--wait")
        assert (answer.exit_code, answer.stdout, answer.stderr) == (0, "late", "")


def test_cancel_ends_it_or_says_that_it_goes_on(
    onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
) -> None:
    running, waits = api.submit(hello), api.submit(hello)
    worker.run(hello, running)
    answer = onejob("cancel", hello, waits)
    assert (answer.exit_code, answer.output) == (0, f"job {waits} is cancelled\n")
    answer = onejob("cancel", hello, running, "--timeout", "0")
    assert answer.exit_code == 7
    assert answer.output == f"job {running} is running, and is being cancelled\n"


def test_retry_prints_the_id_of_a_new_job(
    onejob: Onejob, api: Faces, hello: str, worker: PlayedWorker
) -> None:
    job_id = api.submit(hello, "/again", b"once more")
    assert onejob("retry", hello, job_id).exit_code == 6  # it is not over
    worker.respond(hello, job_id)
    new_id = onejob("retry", hello, job_id).output.strip()
    assert new_id != job_id
    head, body = worker.request(hello, new_id)
    assert (head.target, body) == ("/again", b"once more")


@pytest.mark.parametrize(
    "words",
    [
        "describe nothing",
        "delete nothing",
        "jobs nothing",
        "run nothing",
        "update nothing --size 2",
        "status hello nothing",
        "result hello nothing",
        "logs hello nothing",
        "logs -f hello nothing",
        "cancel hello nothing",
        "retry hello nothing",
        "describe ../hello",
        "status hello ..",
    ],
)
def test_what_is_not_there_ends_with_3_and_one_line(onejob: Onejob, hello: str, words: str) -> None:
    answer = onejob(*words.split())
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert answer.stderr.startswith("onejob: ")
    assert answer.stderr.count("\n") == 1


def test_wrong_credentials_end_with_4(
    onejob: Onejob, hello: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEJOB_CLIENT_SECRET", "wrong")
    monkeypatch.setenv("ONEJOB_INFERENCE_KEY", "wrong")
    assert onejob("list").exit_code == 4
    assert onejob("run", hello).exit_code == 4


def test_no_server_ends_with_5(onejob: Onejob) -> None:
    answer = onejob("list", "--url", "http://127.0.0.1:1")
    assert (answer.exit_code, answer.stdout) == (5, "")
    assert answer.stderr == "onejob: the server does not answer: Connection refused\n"


def test_what_the_server_does_not_do_ends_with_6_in_its_words(onejob: Onejob, hello: str) -> None:
    again = onejob("create", hello, "--image", "a/b:1")
    assert again.exit_code == 6
    assert "hello" in again.stderr
    wrong = onejob("create", "it", "--image", "a/b", "--max-replicas", "0")
    assert wrong.exit_code == 6
    assert "containers[0].image" in wrong.stderr
    assert "scaling.max_replica_count" in wrong.stderr


SCALING = {"max_replica_count": 1, "queue_message_ttl_seconds": 300, "deadline_seconds": 60}
