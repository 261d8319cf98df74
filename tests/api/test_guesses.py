"""A submit that follows another takes its key and its deployment for granted: never wrongly."""

import json
import socket
from typing import Any

import pytest

from app.ledger import Ledger
from tests.api.faces import Faces, deployment
from tests.api.server import ApiServer
from tests.api.wire import Connection
from tests.api.worker import PlayedWorker

MIB = 1024 * 1024
TRIES = 5


@pytest.fixture
def used(api: Faces, hello: str) -> str:
    """A deployment that the API has just had a submit for."""
    api.submit(hello, X_Inference_Id="before")
    return hello


def revoke(ledger: Ledger, api: Faces) -> None:
    """Makes the key of both faces no key."""
    assert ledger.client.hdel("onejob:inference_keys", api.key.partition(".")[0]) == 1


def change(ledger: Ledger, name: str, *path: str, value: object) -> None:
    """Gives a deployment a next version in which one member of its spec is another."""
    record = ledger.deployments.get(name)
    spec = json.loads(record.spec.model_dump_json())
    member = spec
    for step in path[:-1]:
        member = member[int(step) if step.isdigit() else step]
    member[path[-1]] = value
    key, version = f"onejob:deployment:{record.uid}", str(record.version + 1)
    ledger.client.hset(f"{key}:specs", version, json.dumps(spec))
    ledger.client.hset(key, "version", version)


def delete(ledger: Ledger, name: str) -> None:
    """Deletes a deployment, with all of its jobs."""
    uid = ledger.deployments.terminate(name).uid
    while ledger.deployments.shrink(uid) != "gone":
        pass


def test_a_submit_that_follows_another_is_one_round_trip(api: Faces, ledger: Ledger) -> None:
    def scripts_of_the_second(name: str) -> tuple[int, bool]:
        fresh = Faces.of(api.port, ledger)
        fresh.submit(fresh.deploy(name))
        ledger.client.config_resetstat()
        fresh.submit(name, body=b"x" * 1024)
        stats: Any = ledger.client.info("commandstats")
        return stats["cmdstat_evalsha"]["calls"], "cmdstat_eval" in stats

    # What an earlier test had the API wait for may be asked for meanwhile.
    assert any(scripts_of_the_second(f"fresh-{n}") == (1, False) for n in range(TRIES))


@pytest.mark.parametrize("size", [0, 1024, MIB - 1, 3 * MIB])
def test_a_revoked_key_is_refused_at_once(api: Faces, used: str, ledger: Ledger, size: int) -> None:
    revoke(ledger, api)
    before = set(ledger.client.keys("*"))  # type: ignore[arg-type]
    answer = api.data("POST", f"/{used}", body=b"x" * size)
    assert (answer.status, answer.json["code"]) == (401, "unauthorized_request")
    assert set(ledger.client.keys("*")) == before  # type: ignore[arg-type]


def test_a_revoked_key_learns_nothing_about_its_request(
    api: Faces, used: str, ledger: Ledger
) -> None:
    revoke(ledger, api)
    assert api.data("POST", f"/{used}", [("X-Inference-Id", "a b")]).status == 401
    assert api.data("POST", f"/{used}", [("X-Inference-Id", "before")], b"other").status == 401
    ledger.deployments.terminate(used)
    assert api.data("POST", f"/{used}").status == 401
    delete(ledger, used)
    assert api.data("POST", f"/{used}").status == 401


def test_a_key_whose_secret_was_changed_is_refused_at_once(
    api: Faces, used: str, ledger: Ledger
) -> None:
    _, other = ledger.keys.create("other")
    entries: dict[bytes, bytes] = ledger.client.hgetall("onejob:inference_keys")  # type: ignore
    mine, theirs = (key.partition(".")[0] for key in (api.key, other))
    ledger.client.hset("onejob:inference_keys", mine, entries[theirs.encode()])
    assert api.data("POST", f"/{used}").status == 401


def test_another_secret_of_a_used_key_is_no_key(api: Faces, used: str) -> None:
    wrong = Faces(api.port, api.key + "x", api.token)
    with Connection(api.port) as connection:
        # And its body is not waited for.
        connection.send(wrong.head("POST", f"/{used}", ("Content-Length", "10")))
        assert connection.answer().status == 401


def test_a_bad_request_says_so_where_the_key_is_good(api: Faces, used: str) -> None:
    assert api.data("POST", f"/{used}", [("X-Inference-Id", "a b")]).status == 400
    with api.open("PROPFIND", f"/{used}") as connection:
        assert connection.answer().status == 405


def test_a_body_that_ends_early_makes_no_job(api: Faces, used: str, ledger: Ledger) -> None:
    before = set(ledger.client.keys("*"))  # type: ignore[arg-type]
    with Connection(api.port) as connection:
        connection.send(api.head("POST", f"/{used}", ("Content-Length", "10")), b"half")
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.answer().status == 400
    assert set(ledger.client.keys("*")) == before  # type: ignore[arg-type]


def test_a_deleted_deployment_is_gone_at_once(api: Faces, used: str, ledger: Ledger) -> None:
    ledger.deployments.terminate(used)
    assert api.data("POST", f"/{used}").status == 409
    delete(ledger, used)
    assert api.data("POST", f"/{used}").status == 404
    assert not ledger.client.keys("onejob:payload:*")


def test_a_deployment_made_again_under_its_name_gets_the_job(
    api: Faces, used: str, ledger: Ledger, worker: PlayedWorker
) -> None:
    old = ledger.deployments.get(used).uid
    delete(ledger, used)
    api.deploy(used)
    job_id = api.submit(used, "/x?y", b"body")
    job = worker.job(used, job_id)
    assert job.uid == ledger.deployments.get(used).uid != old
    head, body = ledger.payloads.read(job.payload)
    assert json.loads(head)[:2] == ["POST", "/x?y"]
    assert b"".join(body) == b"body"


def test_a_changed_time_to_wait_holds_at_once(
    api: Faces, used: str, ledger: Ledger, worker: PlayedWorker
) -> None:
    change(ledger, used, "scaling", "queue_message_ttl_seconds", value=7)
    job = worker.job(used, api.submit(used))
    assert (job.version, (job.expires_at - job.created_at).total_seconds()) == (2, 7)


def test_a_changed_health_check_holds_at_once(api: Faces, used: str, ledger: Ledger) -> None:
    assert api.data("GET", f"/{used}/alive").status == 202
    change(ledger, used, "containers", "0", "healthcheck", "path", value="/alive")
    before = set(ledger.client.keys("*"))  # type: ignore[arg-type]
    assert api.data("GET", f"/{used}/alive").status == 200
    assert set(ledger.client.keys("*")) == before  # type: ignore[arg-type]
    assert api.data("GET", f"/{used}/health").status == 202


def test_a_paused_deployment_is_paused_at_once(api: Faces, used: str, ledger: Ledger) -> None:
    uid = ledger.deployments.get(used).uid
    ledger.client.hset(f"onejob:deployment:{uid}", "state", "paused")
    assert api.data("GET", f"/{used}/health").status == 503
    assert api.status(used, api.submit(used)).json["State"] == "queued"


def test_a_spec_too_large_to_be_remembered(api: Faces, worker: PlayedWorker) -> None:
    container = deployment()["containers"][0]
    many = [{"name": f"A{n}", "value_or_reference_to_secret": "x" * 60_000} for n in range(2)]
    api.deploy("large", containers=[container | {"env": many}])
    for _ in range(2):
        assert worker.job("large", api.submit("large")).version == 1


def test_redis_that_forgot_everything_is_no_reason_to_accept(
    api: Faces, used: str, server: ApiServer, ledger: Ledger
) -> None:
    ledger.client.flushall()
    assert api.data("POST", f"/{used}").status == 401
    assert not ledger.client.keys("*")
