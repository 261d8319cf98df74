"""Accepting a job: the id is bound, record and payload are stored, the job is queued; at once."""

import os
import signal
import threading

import pytest
import redis

from app.domain.errors import Conflict, NotFound, RateLimited, ServiceUnavailable
from app.domain.job import State
from app.ledger import Ledger, connect
from tests.ledger.scene import Scene, check_places, ids, submission
from tests.redis_server import RedisServer
from tests.stopped import stop

MIB = 1024 * 1024


def test_a_job_is_stored_with_its_record_and_payload(scene: Scene) -> None:
    scene.submit("a", b"body", method="PUT", target="/x?y=%C3%BC", prefer="respond-async-proxy")
    job = scene.job("a")
    assert (job.id, job.uid, job.deployment) == ("a", scene.uid, "dep")
    assert (job.method, job.target, job.digest) == ("PUT", "/x?y=%C3%BC", "d1")
    assert (job.prefer, job.compute, job.version) == ("respond-async-proxy", "cpu", 1)
    assert (job.attempt, job.fence, job.payload_size) == (1, 0, 4)
    assert (job.expires_at - job.created_at).total_seconds() == 600
    head, body = scene.ledger.payloads.read(job.payload)
    assert (head, b"".join(body)) == (b"head", b"body")
    check_places(scene)


def test_the_first_job_gets_the_slot_and_the_second_waits(scene: Scene) -> None:
    assert ids(scene.submit("a").hints) == ["a"]
    assert ids(scene.submit("b").hints) == []
    assert (scene.state("a"), scene.state("b")) == (State.DISPATCHED, State.QUEUED)
    assert scene.events("a") == ["queued", "dispatched"]
    check_places(scene)


def test_a_hint_carries_what_its_message_needs(scene: Scene) -> None:
    (hint,) = scene.submit("a").hints
    assert (hint.uid, hint.id, hint.deployment, hint.compute) == (scene.uid, "a", "dep", "cpu")


def test_the_same_request_again_gets_the_same_answer_and_no_second_job(scene: Scene) -> None:
    scene.submit("a")
    before = scene.raw("a")
    again = scene.submit("a", b"x" * MIB)
    assert again.repeated
    assert again.hints == []
    assert scene.raw("a") == before
    assert scene.redis.zcard(f"onejob:deployment:{scene.uid}:jobs") == 1
    assert len(scene.redis.keys("onejob:payload:*")) == 1  # the second upload is not kept


def test_a_repeat_is_recognised_in_every_state(scene: Scene) -> None:
    scene.end(scene.started("a"))
    assert scene.submit("a").repeated
    assert scene.state("a") is State.SUCCEEDED


def test_another_request_with_the_same_id_conflicts(scene: Scene) -> None:
    scene.submit("a")
    with pytest.raises(Conflict, match="was used for another request"):
        scene.submit("a", b"x" * MIB, digest="d2")
    assert scene.job("a").digest == "d1"
    assert len(scene.redis.keys("onejob:payload:*")) == 1


def test_an_id_is_scoped_to_its_deployment(scene: Scene) -> None:
    other = Scene(scene.ledger, "other")
    scene.submit("a")
    assert not other.submit("a", digest="d2").repeated


def test_a_deployment_that_is_being_deleted_takes_no_job(scene: Scene) -> None:
    scene.submit("a")
    scene.ledger.deployments.terminate("dep")
    with pytest.raises(Conflict, match="is being deleted"):
        scene.submit("b")
    assert scene.submit("a").repeated  # a safe retry stays safe
    with pytest.raises(NotFound):
        scene.job("b")


def test_a_deployment_that_is_gone_is_not_found(scene: Scene) -> None:
    scene.ledger.deployments.terminate("dep")
    assert scene.ledger.deployments.shrink(scene.uid) == "gone"
    with pytest.raises(NotFound):
        scene.submit("a", b"x" * MIB)
    assert scene.redis.keys("*") == []


def test_a_paused_deployment_queues(scene: Scene) -> None:
    scene.change(state="paused")
    assert scene.submit("a").hints == []
    assert scene.state("a") is State.QUEUED


def test_a_full_queue_refuses_with_a_pause_to_keep(scene: Scene) -> None:
    scene.submit("a", queue_limit=1)
    scene.submit("b", queue_limit=1)
    with pytest.raises(RateLimited, match="1 jobs wait") as caught:
        scene.submit("c", queue_limit=1)
    assert caught.value.retry_after_seconds > 0
    assert len(scene.redis.keys("onejob:payload:*")) == 2
    assert scene.submit("b", queue_limit=1).repeated


def test_a_job_is_not_accepted_without_all_of_its_body(scene: Scene) -> None:
    upload = scene.ledger.payloads.upload(b"head")
    upload.write(b"x" * (3 * MIB))
    scene.redis.hdel(f"onejob:payload:{upload.token}", "1")
    with pytest.raises(ServiceUnavailable, match="send it again"):
        scene.ledger.jobs.accept(scene.deployment, "a", submission(), upload)
    assert scene.redis.keys("onejob:payload:*") == []
    assert scene.redis.zcard(f"onejob:deployment:{scene.uid}:jobs") == 0


def test_the_same_call_twice_is_one_job_and_brings_its_hint_again(scene: Scene) -> None:
    upload = scene.ledger.payloads.upload(b"head")
    upload.write(b"x" * (MIB + 1))
    accept = scene.ledger.jobs.accept
    assert ids(accept(scene.deployment, "a", submission(), upload).hints) == ["a"]
    again = accept(scene.deployment, "a", submission(), upload)
    assert not again.repeated
    assert ids(again.hints) == ["a"]
    assert scene.events("a") == ["queued", "dispatched"]
    assert scene.redis.ttl(f"onejob:payload:{upload.token}") == -1
    check_places(scene)


def test_the_same_call_again_after_the_job_was_claimed_starts_nothing(scene: Scene) -> None:
    upload = scene.ledger.payloads.upload(b"head")
    scene.ledger.jobs.accept(scene.deployment, "a", submission(), upload)
    scene.grip("a")
    again = scene.ledger.jobs.accept(scene.deployment, "a", submission(), upload)
    assert (again.repeated, again.hints) == (False, [])
    assert scene.state("a") is State.STARTING


def test_the_payload_of_an_accepted_job_has_no_end(scene: Scene) -> None:
    scene.submit("a", b"x" * (MIB + 1))
    assert scene.redis.ttl(f"onejob:payload:{scene.job('a').payload}") == -1


def test_a_part_that_arrives_late_puts_no_end_on_an_accepted_payload(scene: Scene) -> None:
    upload = scene.ledger.payloads.upload(b"head")
    upload.write(b"body")
    scene.ledger.jobs.accept(scene.deployment, "a", submission(), upload)
    late = scene.ledger.payloads.upload(b"head", upload.token)
    late.write(b"body")
    late.finish()
    assert scene.redis.ttl(f"onejob:payload:{upload.token}") == -1


def test_accepting_costs_one_round_trip(scene: Scene, redis_server: RedisServer) -> None:
    scene.submit("warm")
    scene.redis.config_resetstat()
    scene.submit("a")
    assert scene.redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    assert _sent(scene.redis) == {"evalsha", "config|resetstat", "config"} & _sent(scene.redis)


def test_a_call_that_a_stall_made_the_client_repeat_is_one_job(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, timeout_seconds=1, retries=60)
    client.flushall()
    scene = Scene(Ledger(client))
    scene.submit("warm")
    client.config_resetstat()
    resume = threading.Thread(target=_resume_for_the_second_call, args=(redis_server,))
    assert redis_server.pid is not None
    stop(redis_server.pid)
    resume.start()
    try:
        accepted = scene.submit("a")
    finally:
        resume.join()
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] >= 2
    assert not accepted.repeated
    assert scene.events("a") == ["queued"]
    check_places(scene)
    client.close()


def _resume_for_the_second_call(server: RedisServer) -> None:
    assert server.pid is not None
    try:
        server.until_a_client_gives_up()
    finally:
        os.kill(server.pid, signal.SIGCONT)


def _sent(client: redis.Redis) -> set[str]:
    """Commands that only a client sends, never one of our scripts."""
    names = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    return {n for n in names if n.startswith(("eval", "script", "multi", "exec", "config"))}
