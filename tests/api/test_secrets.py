"""/v1/secrets, /v1/file-secrets, /v1/container-registry-credentials, and who refers to them."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.ledger import Ledger
from app.ledger.secrets import Kind
from tests.api.faces import Faces, deployment
from tests.api.server import SECRETS_KEY, ApiServer
from tests.api.wire import Answer, call
from tests.redis_server import RedisServer

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
HUSH = "hunter2-hush"
FILE = {"file_name": "a.pem", "base64_content": base64.b64encode(HUSH.encode()).decode()}
CONFIG = json.dumps({"auths": {"r.test:5000": {"username": "u", "password": HUSH}}})
TYPES: dict[str, dict[str, str]] = {
    "verda": {"username": "u", "access_token": HUSH},
    "dockerhub": {"username": "u", "access_token": HUSH},
    "ghcr": {"username": "u", "access_token": HUSH},
    "gcr": {"service_account_key": json.dumps({"private_key": HUSH})},
    "aws-ecr": {
        "access_key_id": "AKIA0000",
        "secret_access_key": HUSH,
        "region": "eu-north-1",
        "ecr_repo": "1234.dkr.ecr.eu-north-1.amazonaws.com",
    },
    "scaleway": {"scaleway_domain": "rg.nl-ams.scw.cloud", "scaleway_uuid": HUSH},
    "custom": {"docker_config_json": CONFIG},
}
ROUTES = {
    "/secrets": {"name": "s", "value": HUSH},
    "/file-secrets": {"name": "s", "files": [FILE]},
    "/container-registry-credentials": {"name": "s", "type": "custom"} | TYPES["custom"],
}
LISTED = {
    "/secrets": {"secret_type": "generic"},
    "/file-secrets": {"secret_type": "file-secret", "file_names": ["a.pem"]},
    "/container-registry-credentials": {},
}
USES: dict[str, dict[str, Any]] = {
    "/secrets": {"env": [{"name": "A", "type": "secret", "value_or_reference_to_secret": "s"}]},
    "/file-secrets": {
        "volume_mounts": [{"type": "secret", "mount_path": "/s", "secret_name": "s"}]
    },
    "/container-registry-credentials": {},
}
PATHS = {
    "/secrets": "containers[0].env[0].value_or_reference_to_secret",
    "/file-secrets": "containers[0].volume_mounts[0].secret_name",
    "/container-registry-credentials": "container_registry_settings.credentials.name",
}
routes = pytest.mark.parametrize("route", ROUTES)


def make(api: Faces, route: str, **changes: Any) -> Answer:
    return api.control("POST", route, ROUTES[route] | changes)


def user(route: str) -> dict[str, Any]:
    """The JSON of a deployment that refers to `s` of that route."""
    container = deployment()["containers"][0] | USES[route]
    settings = {"is_private": True, "credentials": {"name": "s"}}
    private = {} if USES[route] else {"container_registry_settings": settings}
    return deployment(containers=[container], **private)


def told(answer: Answer, status: int, code: str, words: str) -> None:
    assert (answer.status, answer.json["code"]) == (status, code)
    assert words in answer.json["message"]
    assert HUSH.encode() not in answer.body


@routes
def test_one_is_made_listed_without_its_value_and_deleted(api: Faces, route: str) -> None:
    assert api.control("GET", route).json == []
    made = make(api, route)
    assert made.status == 201
    assert INSTANT.fullmatch(made.json["created_at"])
    assert made.json == {"name": "s", "created_at": made.json["created_at"]} | LISTED[route]
    listed = api.control("GET", route)
    assert (listed.status, listed.json) == (200, [made.json])
    told(make(api, route), 409, "conflict", "'s' exists already")
    gone = api.control("DELETE", f"{route}/s")
    assert (gone.status, gone.json) == (200, {"name": "s", "status": "deleted"})
    told(api.control("DELETE", f"{route}/s"), 404, "not_found", "'s'")
    assert api.control("GET", route).json == []


@pytest.mark.parametrize("kind", TYPES)
def test_credentials_of_each_type_are_taken_and_kept(api: Faces, ledger: Ledger, kind: str) -> None:
    route = "/container-registry-credentials"
    # A client sends what it does not use as null.
    unused = dict.fromkeys({name for fields in TYPES.values() for name in fields})
    answer = api.control("POST", route, unused | {"name": "c", "type": kind} | TYPES[kind])
    assert answer.status == 201, answer
    assert api.control("GET", route).json == [answer.json]
    assert set(answer.json) == {"name", "created_at"}
    kept = Ledger(ledger.client, secrets_key=SECRETS_KEY).secrets.open(Kind.CREDENTIALS, "c").value
    assert TYPES[kind].items() <= kept.items()


@pytest.mark.parametrize("kind", TYPES)
def test_what_a_type_needs_is_asked_for(api: Faces, kind: str) -> None:
    answer = api.control(
        "POST", "/container-registry-credentials", {"name": "c", "type": kind, "other": HUSH}
    )
    told(answer, 400, "invalid_request", "")
    if kind != "scaleway":
        for name in TYPES[kind]:
            assert f"{name} is missing" in answer.json["message"]


@pytest.mark.parametrize(
    ("route", "changes", "words"),
    [
        ("/secrets", {"value": None}, "value is missing"),
        ("/secrets", {"value": f"{HUSH}\0"}, "value: must match"),
        ("/secrets", {"value": HUSH * 10_000}, "value: may have at most"),
        ("/secrets", {"value": [HUSH]}, "value: must be a string"),
        ("/secrets", {"name": "a/b"}, "name: must match"),
        ("/secrets", {"name": HUSH * 20}, "name: may have at most"),
        ("/file-secrets", {"files": []}, "files: "),
        ("/file-secrets", {"files": HUSH}, "files: must be a list"),
        ("/file-secrets", {"files": [FILE, FILE]}, "files: must have one file for each"),
        ("/file-secrets", {"files": [FILE | {"file_name": "../x"}]}, "files[0].file_name: "),
        ("/file-secrets", {"files": [FILE | {"file_name": ".."}]}, "files[0].file_name: "),
        (
            "/file-secrets",
            {"files": [FILE | {"base64_content": f"!{HUSH}"}]},
            "files[0].base64_content: must be base64",
        ),
        ("/container-registry-credentials", {"type": HUSH}, "must have one of these types: 'dock"),
        ("/container-registry-credentials", {"type": None}, "type is missing"),
        (
            "/container-registry-credentials",
            {"docker_config_json": HUSH},
            "docker_config_json: must be a JSON object",
        ),
        (
            "/container-registry-credentials",
            {"docker_config_json": json.dumps({"auths": {"r": {"auth": HUSH}}})},
            "docker_config_json: must have for each registry",
        ),
        (
            "/container-registry-credentials",
            {"type": "gcr", "service_account_key": HUSH},
            "service_account_key: must be a JSON object",
        ),
    ],
)
def test_what_is_bad_is_refused_by_its_path_and_not_shown(
    api: Faces, route: str, changes: dict[str, Any], words: str
) -> None:
    told(make(api, route, **changes), 400, "invalid_request", words)
    assert api.control("GET", route).json == []


def test_a_file_that_is_bad_makes_no_list_too_short(api: Faces) -> None:
    refused = make(api, "/file-secrets", files=[FILE | {"base64_content": "!"}])
    assert refused.json["message"] == "files[0].base64_content: must be base64"
    empty = make(api, "/file-secrets", files=[])
    assert empty.json["message"] == "files: must have at least 1"


@pytest.mark.parametrize("name", ["unknown", "%00", "a%2Fb", "%ff", "x" * 500, "%22"])
@routes
def test_what_is_no_name_is_not_found(api: Faces, route: str, name: str) -> None:
    told(api.control("DELETE", f"{route}/{name}"), 404, "not_found", "")


@pytest.mark.parametrize("odd", [None, [], {}, 0, True, "", "\u0000", [None], {"a": []}])
@routes
def test_nothing_odd_is_a_fault_of_ours(api: Faces, route: str, odd: Any) -> None:
    """Each member in turn, and all of them; a body that is no object at all."""
    bodies = [ROUTES[route] | {name: odd} for name in ROUTES[route]]
    bodies += [dict.fromkeys(ROUTES[route], odd), odd]
    for body in bodies:
        answer = api.control("POST", route, json.dumps(body).encode())
        assert answer.status in (201, 400), answer
        if answer.status == 201:
            assert api.control("DELETE", f"{route}/s").status == 200


@routes
def test_a_deployment_may_refer_to_what_there_is(api: Faces, route: str) -> None:
    shown = "" if route == "/secrets" else '"s" is not allowed: '
    words = f"{PATHS[route]}: {shown}there is no"
    told(api.control("POST", "/job-deployments", user(route)), 400, "invalid_request", words)
    make(api, route, name="t")
    told(
        api.control("POST", "/job-deployments", user(route)),
        400,
        "invalid_request",
        "must be one of t",
    )
    make(api, route)
    assert api.control("POST", "/job-deployments", user(route)).status == 201


@routes
def test_what_is_in_use_goes_by_force_and_its_name_stays_valid(api: Faces, route: str) -> None:
    make(api, route)
    assert api.control("POST", "/job-deployments", user(route)).status == 201
    told(api.control("DELETE", f"{route}/s"), 409, "conflict", "used by hello")
    told(api.control("DELETE", f"{route}/s?force=false"), 409, "conflict", "used by hello")
    told(api.control("DELETE", f"{route}/s?force=1"), 400, "invalid_request", "force: ")
    assert api.control("DELETE", f"{route}/s?force=true").status == 200
    scaling = {"scaling": {"max_replica_count": 2}}
    assert api.control("PATCH", "/job-deployments/hello", scaling).status == 200


def test_a_shared_volume_is_one_that_the_operator_has_named(api: Faces) -> None:
    def with_mount(**members: str) -> dict[str, Any]:
        mount = {"type": "shared", "mount_path": "/data"} | members
        container = deployment()["containers"][0] | {"volume_mounts": [mount]}
        return deployment(containers=[container])

    for path in ("/etc", "other"):
        told(
            api.control("POST", "/job-deployments", with_mount(volume_id=path)),
            400,
            "invalid_request",
            f'containers[0].volume_mounts[0].volume_id: "{path}" is not allowed: must be one of'
            " datasets",
        )
    answer = api.control("POST", "/job-deployments", with_mount(volumeId="datasets"))
    assert answer.status == 201
    (mount,) = answer.json["containers"][0]["volume_mounts"]
    assert mount == {"type": "shared", "mount_path": "/data", "volume_id": "datasets"}


def test_values_are_in_no_answer_no_log_and_no_metric(api: Faces, server: ApiServer) -> None:
    for route in ROUTES:
        make(api, route)
        make(api, route)
    values = [HUSH.encode(), FILE["base64_content"].encode()]
    answers = [api.control("GET", path) for path in [*ROUTES, "/job-deployments"]]
    answers.append(call(server.port, "GET", "/metrics"))
    for value in values:
        assert not any(value in answer.body for answer in answers)
        assert value.decode() not in server.log


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@routes
def test_a_token_is_needed(api: Faces, route: str, method: str) -> None:
    path = f"{route}/s" if method == "DELETE" else route
    for headers in ([], [api.bearer]):
        answer = call(api.port, method, f"/v1{path}", headers)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized_request")


def test_without_a_key_nothing_is_kept_and_the_setting_is_named(
    redis_server: RedisServer, ledger: Ledger, tmp_path: Path
) -> None:
    bare = ApiServer.start(tmp_path, redis_server.url, secrets_key="")
    try:
        faces = Faces.of(bare.port, ledger)
        for route in ROUTES:
            told(make(faces, route), 409, "conflict", "ONEJOB_SECRETS_KEY")
            assert faces.control("GET", route).json == []
    finally:
        bare.stop()
