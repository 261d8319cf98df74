"""PATCH /v1/job-deployments/<name>."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.api.changes import Change, container, env
from tests.api.faces import Faces, deployment
from tests.api.test_fields import TABLE
from tests.api.test_validation import PATHS, anything
from tests.api.wire import Answer, call
from tests.api.worker import PlayedWorker
from tests.unit.test_deployment import DEPLOYMENTS

NOT_GIVEN = [container(image={})]
PLAIN = {"name": "A", "value_or_reference_to_secret": "b", "type": "plain"}
# A value that is no reference to anything, so that any test server can take it.
SELF_CONTAINED = DEPLOYMENTS.filter(
    lambda spec: (
        not any(
            mount["type"] in ("secret", "shared")
            for mount in spec["containers"][0].get("volume_mounts") or ()
        )
        and not any(
            variable.get("type") == "secret" for variable in spec["containers"][0].get("env") or ()
        )
    )
).map(
    lambda spec: {
        **{member: value for member, value in spec.items() if "registry" not in member},
        "compute": {**spec["compute"], "name": "cpu"},
    }
)


def patch(api: Faces, body: Any, name: str = "hello") -> Answer:
    """The answer to a change."""
    return api.control("PATCH", f"/job-deployments/{name}", body)


def changed(api: Faces, body: Any, name: str = "hello") -> dict[str, Any]:
    """The deployment after a change, which is also what is read afterwards."""
    answer = patch(api, body, name)
    assert answer.status == 200, answer
    assert api.control("GET", f"/job-deployments/{name}").json == answer.json
    return dict(answer.json)


def read(api: Faces, name: str = "hello") -> dict[str, Any]:
    """The deployment as it is."""
    return dict(api.control("GET", f"/job-deployments/{name}").json)


def refusal(api: Faces, body: Any, name: str = "hello") -> str:
    """The message of a refusal, which changed nothing."""
    before = read(api, name)
    answer = patch(api, body, name)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer
    assert read(api, name) == before
    return str(answer.json["message"])


@pytest.mark.parametrize(
    ("sent", "member"),
    [
        ({"scaling": {"max_replica_count": 7}}, "scaling"),
        ({"scaling": {"queue_message_ttl_seconds": 7}}, "scaling"),
        ({"scaling": {"deadline_seconds": 7}}, "scaling"),
        ({"compute": {"size": 2}}, "compute"),
        ({"startup_seconds": 7}, "startup_seconds"),
        ({"retry_policy": {"max_attempts": 2, "on": ["signalled"]}}, "retry_policy"),
        ({"container_registry_settings": {"is_private": True}}, "container_registry_settings"),
    ],
    ids=str,
)
def test_a_member_that_is_sent_is_changed_and_the_rest_stays(
    api: Faces, hello: str, sent: Change, member: str
) -> None:
    before, after = read(api), changed(api, sent)
    for value in (sent[member] if isinstance(sent[member], dict) else {}).items():
        assert value in after[member].items()
    assert after[member] != before[member]
    assert {**after, member: before[member]} == before


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    "sent",
    [
        {"exposed_port": 9000},
        {"should_use_cached_image": False},
        {"healthcheck": {"enabled": False}},
        {"healthcheck": {"path": "/up"}},
        {"entrypoint_overrides": {"enabled": True, "cmd": ["x"]}},
        {"env": [PLAIN]},
        {"volume_mounts": [{"type": "scratch", "mount_path": "/x"}]},
    ],
    ids=str,
)
def test_the_container_is_named_or_left_unnamed(
    api: Faces, hello: str, sent: Change, named: bool
) -> None:
    before = read(api)["containers"][0]
    given_name = {"name": "hello-0"} if named else {"name": None}
    (after,) = changed(api, {"containers": [given_name | sent]})["containers"]
    assert after != before
    (member,) = sent
    kept = {"image", "name", "env", "volume_mounts", "entrypoint_overrides"} - {member}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


@pytest.mark.parametrize("image", ["example/hello:2", {"image": "example/hello:2"}])
def test_a_new_image_says_since_when(api: Faces, hello: str, image: Any) -> None:
    before = read(api)
    after = changed(api, {"containers": [{"image": image}]})
    assert after["containers"][0]["image"]["image"] == "example/hello:2"
    assert after["containers"][0]["image"]["last_updated_at"] > before["created_at"]
    assert after["created_at"] == before["created_at"]
    again = changed(api, {"startup_seconds": 3})
    assert again["containers"] == after["containers"]


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"name": "hello"},
        {"name": None, "containers": None, "compute": None, "scaling": None, "more": 1},
        {"scaling": {"deadline_seconds": None}},
        {"containers": [{"name": "hello-0"}]},
        {"containers": [{"image": {"image": "example/hello:1", "last_updated_at": "x"}}]},
        {"containers": [{"name": "hello-0", "image": ""}]},  # Verda's Go client says so
    ],
    ids=str,
)
def test_nothing_new_is_no_change(api: Faces, hello: str, ledger: Ledger, sent: Change) -> None:
    before = read(api)
    assert changed(api, sent) == before
    assert ledger.deployments.get("hello").version == 1


@given(spec=SELF_CONTAINED)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_read_can_be_sent_back_unchanged(
    api: Faces, ledger: Ledger, spec: dict[str, Any]
) -> None:
    made = api.control("POST", "/job-deployments", spec)
    assert made.status == 201, made
    name = made.json["name"]
    try:
        assert read(api, name) == made.json
        assert patch(api, made.json, name).json == made.json
        spec["containers"][0].pop("name", None)  # which names none of its own
        assert patch(api, spec, name).json == made.json
        assert ledger.deployments.get(name).version == 1
    finally:
        assert api.control("DELETE", f"/job-deployments/{name}").status == 200


@pytest.mark.parametrize(
    ("change", "field", "words"),
    # Of these nothing is given, or it is the one thing that can't be changed.
    [row for row in TABLE if row[1] != "name" and row[2] != "missing" and row[0] not in NOT_GIVEN],
    ids=lambda value: json.dumps(value, default=str)[:60],
)
def test_a_bad_field_is_named_as_when_it_is_made(
    api: Faces, hello: str, change: Change, field: str, words: str
) -> None:
    message = refusal(api, change)
    assert message.startswith(f"{field}: ")
    assert words in message


def test_all_bad_fields_are_named_at_once_names_too(api: Faces, hello: str) -> None:
    wrong = container(name="other", image="x:latest") | {"name": "b", "compute": {"size": 0}}
    told = refusal(api, wrong).split("; ")
    assert [sentence.partition(":")[0] for sentence in told] == [
        "name",
        "containers[0].name",
        "containers[0].image",
        "compute.size",
    ]
    assert '"hello"' in told[0]
    assert '"hello-0"' in told[1]


def test_what_may_be_a_secret_is_not_repeated(api: Faces, hello: str) -> None:
    assert "hush" not in refusal(api, env(value_or_reference_to_secret="hush\0"))


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b'{"a": 1, "a": 1}', b"a=b"])
def test_what_is_no_json_object_is_400(api: Faces, hello: str, raw: bytes) -> None:
    refusal(api, raw)


@given(path=st.sampled_from(PATHS), value=anything)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_anywhere_is_a_fault(api: Faces, path: tuple[str | int, ...], value: Any) -> None:
    if api.control("GET", "/job-deployments/hello").status == 404:
        api.deploy("hello")
    body: Any = deployment()
    place = body
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert patch(api, body).status in (200, 400)


def test_what_is_not_there_or_being_deleted(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    assert patch(api, {"startup_seconds": 1}, "unknown").status == 404
    worker.run(hello, api.submit(hello))
    ledger.deployments.terminate(hello)
    for body in ({}, {"startup_seconds": 1}):
        answer = patch(api, body)
        assert (answer.status, answer.json["code"]) == (409, "conflict")


def test_a_token_is_needed(api: Faces, hello: str) -> None:
    for headers in ([], [api.bearer]):
        answer = call(api.port, "PATCH", "/v1/job-deployments/hello", headers, b"{}")
        assert (answer.status, answer.json["code"]) == (401, "unauthorized_request")


def test_of_changes_at_once_none_is_lost(api: Faces, hello: str) -> None:
    members = [{"scaling": {name: 9}} for name in deployment()["scaling"]]
    members += [{"startup_seconds": 9}, {"compute": {"size": 9}}]
    with ThreadPoolExecutor(len(members)) as pool:
        answers = list(pool.map(lambda body: patch(api, body), members))
    assert {answer.status for answer in answers} == {200}
    after = read(api)
    assert set(after["scaling"].values()) == {9}
    assert (after["startup_seconds"], after["compute"]["size"]) == (9, 9)


def test_it_may_keep_a_resource_that_nobody_offers_any_more(api: Faces, ledger: Ledger) -> None:
    wanted = {"name": "gone", "size": 1}
    ledger.nodes.announce("node", {"compute": {"gone": {}}})
    api.deploy(compute=wanted)
    ledger.client.delete("onejob:nodes")
    assert changed(api, {"startup_seconds": 3})["compute"] == wanted
    assert changed(api, {"compute": {"name": "cpu"}})["compute"]["name"] == "cpu"
    assert "must be one of cpu" in refusal(api, {"compute": {"name": "gone"}})


def test_a_raised_cap_publishes_what_it_lets_in(
    api: Faces, hello: str, redis_client: redis.Redis
) -> None:
    for _ in range(4):
        api.submit(hello)
    assert redis_client.llen("compute.cpu") == 1
    changed(api, {"scaling": {"max_replica_count": 3}})
    assert redis_client.llen("compute.cpu") == 3


def test_what_runs_keeps_what_it_started_with(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    def image(job_id: str) -> str:
        job = worker.job(hello, job_id)
        return ledger.deployments.spec(job.uid, job.version).containers[0].image

    running, waiting = api.submit(hello), api.submit(hello)
    grip = worker.claim(hello, running)
    changed(api, {"containers": [{"image": "example/hello:2"}]})
    assert image(running) == "example/hello:1"
    worker.end(grip, State.FAILED, Reason.SIGNALLED, "ended", {})
    worker.claim(hello, waiting)
    assert image(waiting) == "example/hello:2"


def test_a_submit_that_follows_a_change_has_its_time_to_wait(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    api.submit(hello)  # which the API remembers the deployment for
    changed(api, {"scaling": {"queue_message_ttl_seconds": 7}})
    job = worker.job(hello, api.submit(hello))
    assert (job.expires_at - job.created_at).total_seconds() == 7
