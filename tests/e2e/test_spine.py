"""A request becomes a job, the job runs in its own container, its response is the result."""

import hashlib
import os
import threading
from collections import Counter
from datetime import datetime
from typing import Any

import docker
import pytest
from verda import VerdaClient

from tests.e2e.by_sdk import JSON, NAME, run_a_job
from tests.e2e.house import APP, House, until
from tests.e2e.machines import ANSWERS, go_on
from tests.e2e.patient import answered

pytestmark = pytest.mark.docker

ECHO = """
c = None
s = listen()
answer_health(s)
c, _ = s.accept()
data = read_request(c)
head, _, body = data.partition(b"\\r\\n\\r\\n")
reply = b"HTTP/1.1 207 Not Your Status\\r\\nX-Twice: 1\\r\\nX-Twice: 2\\r\\nx-lower: \\xe9\\r\\n"
reply += b"Content-Type: application/x-echo\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(data)
c.sendall(reply + data)
"""


def test_the_unmodified_sdk_drives_the_whole_way(house: House) -> None:
    known = house.stack.credentials
    client = VerdaClient(
        known.client_id, known.client_secret, base_url=f"{house.stack.layout.url}/v1"
    )
    argv = ["python3", "-I", "-S", "-c", APP.read_text(), JSON]
    inference = run_a_job(client, known.inference_key, argv)

    def runs(prefer: str) -> tuple[Any, str]:
        answer = inference.run_sync({"question": "?"}, headers={"Prefer": prefer})
        return answer.output(), answer.headers["X-Exit-Code"]

    for prefer in ("wait=60", "respond-async-container"):
        assert answered(lambda p=prefer: runs(p)) == ({"answer": 42}, "0")
    answered(lambda: client.job_deployments.delete(NAME), "not_found")
    left = answered(client.job_deployments.get)
    assert NAME not in [summary.name for summary in left]


def test_request_and_response_go_through_byte_for_byte(house: House) -> None:
    house.deploy("echo", ECHO)
    body = bytes(range(256)) * 40
    target = "/echo//a%2Fb/%C3%A4/%ff?q=%20+&q="
    headers = [
        ("X-Twice", "one"),
        ("X-Twice", "two"),
        ("x_under_score", "kept"),
        ("X-Latin", "caf\xe9"),
        ("X-Inference-Id", "bytes-1"),
        ("Content-Length", str(len(body))),
        ("Connection", "close, X-Private"),
        ("X-Private", "for the proxy"),
    ]
    with house.faces.open("PATCH", target, *headers) as connection:
        assert connection.send(body).answer().status == 202
    status = house.finished("echo", "bytes-1")
    result = house.faces.result("echo", "bytes-1")
    assert (status["State"], status["ResponseStatus"]) == ("succeeded", 207)
    assert (result.status, result.reason) == (207, "Not Your Status")
    assert [v for n, v in result.headers if n == "X-Twice"] == ["1", "2"]
    assert result["x-lower"] == "\xe9"
    assert result["Content-Type"] == "application/x-echo"
    head, _, seen_body = result.body.partition(b"\r\n\r\n")
    assert seen_body == body
    lines = head.decode("latin-1").split("\r\n")
    assert lines[0] == "PATCH //a%2Fb/%C3%A4/%ff?q=%20+&q= HTTP/1.1"
    fields = [tuple(line.split(": ", 1)) for line in lines[1:]]
    for field in [*headers[:4], ("X-Inference-Id", "bytes-1")]:
        assert field in fields
    names = {name.lower() for name, _ in fields}
    assert not names & {"authorization", "x-private"}
    assert ("Connection", "close") in fields


def test_thirty_mebibytes_go_there_and_back(house: House) -> None:
    house.deploy("big", ECHO)
    body = os.urandom(30 * 1024 * 1024)
    status, result = house.run("big", "/", body)
    assert status["State"] == "succeeded"
    seen = result.body.partition(b"\r\n\r\n")[2]
    assert hashlib.sha256(seen).digest() == hashlib.sha256(body).digest()


def test_a_job_without_a_body_and_one_without_a_response(house: House) -> None:
    house.deploy("bare", "s = listen(); answer_health(s); c, _ = s.accept(); read_head(c)\n")
    job_id = house.faces.data("GET", "/bare")["X-Inference-Id"]
    status = house.finished("bare", job_id)
    result = house.faces.result("bare", job_id)
    assert (status["State"], status["Reason"], status["ExitCode"]) == ("succeeded", "exit_0", 0)
    assert (result.status, result.body) == (200, b"")


def test_the_client_is_served_before_the_container_is_gone(house: House) -> None:
    house.deploy("quick", "c = take_job(); c.sendall(OK)\n")
    job_id = house.faces.submit("quick")
    status = house.finished("quick", job_id)
    assert [entry["Event"] for entry in status["Timeline"]][:10] == [
        *("queued", "dispatched", "starting", "created", "started", "healthy", "sent"),
        *("responded", "exited", "succeeded"),
    ]
    assert house.faces.result("quick", job_id).body == b"ok"
    house.until("quick", job_id, lambda s: [e["Event"] for e in s["Timeline"]][-1] == "released")
    assert [name for name in house.containers() if job_id in name] == []
    assert [name for name in house.spools() if job_id in name] == []


def test_every_job_has_a_container_of_its_own(house: House) -> None:
    lines = """
c = take_job()
first = not os.path.exists('/tmp/was-here')
open('/tmp/was-here', 'w').close()
c.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' + str(first).encode())
"""
    house.deploy("fresh", lines)
    for _ in range(2):
        assert house.run("fresh")[1].body == b"True"


def test_no_more_replicas_than_allowed_exist_at_any_instant(house: House) -> None:
    house.deploy("capped", ANSWERS, scaling={"max_replica_count": 2})
    seen: Counter[int] = Counter()
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.05):
            seen[len([name for name in house.containers() if "-capped" in name])] += 1

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        ids = [house.faces.submit("capped", X_Inference_Id=f"n-capped-{n}") for n in range(8)]
        assert house.status("capped", ids[-1])["QueuePosition"] is not None
        until(lambda: seen[2])
        for job_id in ids:
            house.until("capped", job_id, lambda s: s["State"] == "running")
            go_on(house.places[0], job_id)
        states = [house.finished("capped", job_id)["State"] for job_id in ids]
    finally:
        done.set()
        sampler.join()
    assert set(states) == {"succeeded"}
    assert max(seen) == 2, seen
    finished = [house.status("capped", job_id)["FinishedAt"] for job_id in ids]
    assert finished[0] < finished[-1]


def test_the_replica_knows_its_job_and_its_deadline(house: House) -> None:
    names = ["JOB_ID", "JOB_DEPLOYMENT", "JOB_ATTEMPT", "JOB_DEADLINE", "PORT", "GREETING"]
    lines = f"c = take_job(); e = {{n: os.environ.get(n) for n in {names!r}}}\n"
    lines += "c.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' + repr(e).encode())\n"
    env = [{"name": "GREETING", "value_or_reference_to_secret": "hi", "type": "plain"}]
    house.deploy("knows", lines, container={"env": env})
    status, result = house.run("knows")
    seen = eval(result.body)
    assert seen["JOB_ID"] == status["Id"]
    assert (seen["JOB_DEPLOYMENT"], seen["JOB_ATTEMPT"], seen["PORT"]) == ("knows", "1", "8000")
    assert seen["GREETING"] == "hi"
    # The second one is counted from when a worker knew of the start.
    assert abs(_seconds(seen["JOB_DEADLINE"]) - _seconds(status["DeadlineAt"])) < 30


FOUND = """
c = take_job()
shm = os.statvfs("/dev/shm")
found = {
    "scratch": os.listdir("/scratch"),
    "shm": shm.f_blocks * shm.f_frsize,
}
open("/scratch/left", "w").close()
body = repr(found).encode()
c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
"""


def test_each_replica_finds_its_own_empty_directory_and_its_shared_memory(house: House) -> None:
    mounts = [
        {"type": "scratch", "mount_path": "/scratch"},
        {"type": "memory", "size_in_mb": 128},
    ]
    house.deploy("mounts", FOUND, container={"volume_mounts": mounts})
    for _ in range(2):
        status, result = house.run("mounts")
        assert status["State"] == "succeeded", status
        assert eval(result.body) == {"scratch": [], "shm": 128 * 2**20}


def test_without_a_health_check_the_app_gets_the_request_as_it_was_prepared(house: House) -> None:
    lines = ECHO.replace("answer_health(s)\n", "")
    house.deploy("unasked", lines, container={"healthcheck": {"enabled": False}})
    prefer = [("Prefer", "respond-async-container, a=b")]
    answer = house.faces.data("POST", "/unasked/x", prefer, b"work")
    assert (answer.status, answer.reason) == (207, "Not Your Status"), answer
    head = answer.body.decode("latin-1").split("\r\n")
    assert head[0] == "POST /x HTTP/1.1"
    assert head.count("Host: 127.0.0.1:8000") == 1
    assert [line for line in head if line.startswith("Prefer")] == [
        "Prefer: respond-async",
        "Prefer: a=b",
    ]
    assert head.count("Connection: close") == 1
    assert not [line for line in head if line.lower().startswith("authorization")]


def test_at_the_deadline_the_replica_is_destroyed(house: House) -> None:
    lines = "c = take_job(); on(signal.SIGTERM, signal.SIG_IGN); forever()\n"
    house.deploy("late", lines, scaling={"deadline_seconds": 2})

    def seconds() -> float:
        """How long the replica ran, as its status says."""
        status, result = house.run("late")
        assert (status["State"], status["Reason"]) == ("timed_out", "deadline")
        assert (result.status, result.json["code"]) == (504, "deadline_exceeded")
        return _seconds(status["FinishedAt"]) - _seconds(status["StartedAt"])

    assert any(seconds() < 2 + 2 + 2 for _ in range(3))  # a worker may stand still meanwhile


def test_an_image_that_is_nowhere_fails_the_job(house: House) -> None:
    house.deploy("nowhere", "", container={"image": "127.0.0.1:1/nothing:1"})
    status, result = house.run("nowhere")
    assert (status["State"], status["Reason"]) == ("failed", "image_pull_failed")
    assert (result.status, result.json["code"]) == (502, "job_failed")


def test_deleting_a_deployment_ends_its_jobs(house: House) -> None:
    house.deploy("doomed", "c = take_job(); forever()\n")
    ids = [house.faces.submit("doomed") for _ in range(3)]
    house.until("doomed", ids[0], lambda s: s["State"] == "running")
    house.faces.delete("/job-deployments/doomed")
    assert house.faces.status("doomed", ids[0]).status == 404
    assert [name for name in house.containers() if any(i in name for i in ids)] == []


def test_a_change_is_for_what_starts_afterwards(house: House) -> None:
    def env(word: str) -> dict[str, object]:
        return {"env": [{"name": "WORD", "value_or_reference_to_secret": word, "type": "plain"}]}

    def word(job_id: str) -> list[str]:
        (name,) = [name for name in house.containers() if job_id in name]
        found: list[str] = engine.inspect_container(name)["Config"]["Env"]
        return [pair for pair in found if pair.startswith("WORD=")]

    house.deploy("changed", "c = take_job(); forever()\n", container=env("old"))
    first, second = (house.faces.submit("changed") for _ in range(2))
    house.until("changed", first, lambda s: s["State"] == "running")
    change = {"containers": [env("new")], "scaling": {"max_replica_count": 2}}
    assert house.faces.control("PATCH", "/job-deployments/changed", change).status == 200
    house.until("changed", second, lambda s: s["State"] == "running")
    engine = docker.APIClient()
    assert (word(first), word(second)) == (["WORD=old"], ["WORD=new"])
    engine.close()
    assert house.status("changed", first)["State"] == "running"
    house.faces.delete("/job-deployments/changed")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
