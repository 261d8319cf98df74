"""/v1/inference-keys: made, listed, revoked at once."""

import re

import pytest

from app.ledger import Ledger, inference_keys
from tests.api.faces import Faces
from tests.api.wire import Answer, call

MIB = 1024 * 1024
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def make(api: Faces, name: str = "ci") -> dict[str, str]:
    """A new key."""
    answer = api.control("POST", "/inference-keys", {"name": name})
    assert answer.status == 201, answer
    assert answer["Cache-Control"] == "no-store"
    return dict(answer.json)


def revoke(api: Faces, key_id: str) -> Answer:
    """The answer to a revocation."""
    return api.control("DELETE", f"/inference-keys/{key_id}")


def listed(api: Faces) -> list[dict[str, str]]:
    """All keys but the one that the test itself presents."""
    mine = api.key.partition(".")[0]
    found = api.control("GET", "/inference-keys").json
    return [key for key in found if key["id"] != mine]


def with_key(api: Faces, key: str) -> Faces:
    """The same faces with another inference key."""
    return Faces(api.port, key, api.token)


def test_a_key_is_shown_once_and_opens_the_data_plane(api: Faces, hello: str) -> None:
    made = make(api)
    assert set(made) == {"id", "name", "created_at", "key"}
    assert INSTANT.fullmatch(made["created_at"])
    assert made["key"].startswith(f"{made['id']}.")
    assert with_key(api, made["key"]).submit(hello)
    assert listed(api) == [{name: made[name] for name in ("id", "name", "created_at")}]


def test_several_keys_may_have_one_name_and_come_in_the_order_they_were_made(api: Faces) -> None:
    made = [make(api, name) for name in ("b", "ä b/c", "a", "b")]
    assert [key["id"] for key in listed(api)] == [key["id"] for key in made]
    assert [key["name"] for key in listed(api)] == ["b", "ä b/c", "a", "b"]


def test_neither_the_list_nor_the_ledger_has_the_secret(api: Faces, ledger: Ledger) -> None:
    secret = make(api)["key"].partition(".")[2]
    assert secret.encode() not in api.control("GET", "/inference-keys").body
    stored = ledger.client.hgetall("onejob:inference_keys")
    assert not any(secret.encode() in entry for entry in stored.values())  # type: ignore


@pytest.mark.parametrize("size", [0, 1024, MIB])
def test_a_revoked_key_is_refused_at_once_and_no_other(api: Faces, hello: str, size: int) -> None:
    """Also by a process that has just seen it used."""
    made, other = make(api), make(api)
    its, body = with_key(api, made["key"]), b"x" * size
    job_id = its.submit(hello, body=body)
    answer = revoke(api, made["id"])
    assert (answer.status, answer.json) == (200, {"id": made["id"], "status": "revoked"})
    for refused in (
        its.data("POST", f"/{hello}", body=body),
        its.status(hello, job_id),
        its.data("GET", f"/result/{hello}", [("X-Inference-Id", job_id)]),
        its.data("GET", f"/{hello}/health"),
    ):
        assert (refused.status, refused.json["code"]) == (401, "unauthorized_request")
    assert with_key(api, other["key"]).status(hello, job_id).status == 200
    assert [key["id"] for key in listed(api)] == [other["id"]]


@pytest.mark.parametrize("key_id", ["unknown", "%00", "a%2Fb", "x" * 500, "%ff"])
def test_what_is_no_key(api: Faces, key_id: str) -> None:
    answer = revoke(api, key_id)
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_a_key_is_revoked_once(api: Faces) -> None:
    made = make(api)
    assert [revoke(api, made["id"]).status for _ in range(2)] == [200, 404]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "name is missing"),
        ({"name": None}, "name is missing"),
        ({"name": ""}, "must match"),
        ({"name": "a\nb"}, "must match"),
        ({"name": 1}, "a string"),
        ({"name": "x" * 65}, "at most 64"),
        ([], "JSON object"),
    ],
)
def test_a_bad_name_is_refused(api: Faces, body: object, words: str) -> None:
    answer = api.control("POST", "/inference-keys", body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert words in answer.json["message"]
    assert listed(api) == []


def test_there_are_only_so_many(api: Faces, ledger: Ledger) -> None:
    for _ in range(inference_keys.LIMIT - 1):
        ledger.keys.create("many")
    answer = api.control("POST", "/inference-keys", {"name": "one more"})
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert revoke(api, listed(api)[0]["id"]).status == 200
    make(api)


def test_an_entry_from_before_the_time_was_noted_is_listed(api: Faces, ledger: Ledger) -> None:
    ledger.client.hset("onejob:inference_keys", "old", '{"name": "old", "sha256": "x"}')
    assert listed(api) == [{"id": "old", "name": "old", "created_at": None}]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("DELETE", "/x")])
def test_a_token_is_needed(api: Faces, method: str, path: str) -> None:
    for headers in ([], [api.bearer]):
        answer = call(api.port, method, f"/v1/inference-keys{path}", headers)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized_request")
