"""POST /v1/oauth2/token: both grants, as JSON and as a form."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.faces import CREDENTIALS, Faces
from tests.api.server import CLIENT_SECRET, ApiServer
from tests.api.wire import Answer, call

FORM = "application/x-www-form-urlencoded"


def ask(api: Faces, body: Any, content_type: str | None = None) -> Answer:
    """The answer to a token request; the body is JSON, or bytes as they are."""
    headers = [("Content-Type", content_type)] if content_type else []
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return call(api.port, "POST", "/v1/oauth2/token", headers, raw)


def works(api: Faces, token: str) -> bool:
    """Whether the control plane takes it."""
    headers = [("Authorization", f"Bearer {token}")]
    return call(api.port, "GET", "/v1/job-deployments", headers).status == 200


def test_client_credentials_as_json(api: Faces) -> None:
    answer = ask(api, CREDENTIALS)
    assert answer.status == 200
    assert answer["Cache-Control"] == "no-store"
    granted = answer.json
    assert set(granted) == {"access_token", "refresh_token", "token_type", "expires_in", "scope"}
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 3600)
    assert granted["scope"] == "cloud-api-v1"
    assert works(api, granted["access_token"])


@pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=utf-8", FORM.upper()])
def test_client_credentials_as_a_form(api: Faces, content_type: str) -> None:
    answer = ask(api, urlencode(CREDENTIALS).encode(), content_type)
    assert answer.status == 200
    assert works(api, answer.json["access_token"])


def test_json_that_curl_calls_a_form(api: Faces) -> None:
    assert ask(api, CREDENTIALS, FORM).status == 200


def test_a_refresh_token_gets_new_tokens(api: Faces) -> None:
    refresh = ask(api, CREDENTIALS).json["refresh_token"]
    answer = ask(api, {"grant_type": "refresh_token", "refresh_token": refresh})
    assert answer.status == 200
    assert works(api, answer.json["access_token"])
    again = {"grant_type": "refresh_token", "refresh_token": answer.json["refresh_token"]}
    assert ask(api, again).status == 200


def test_each_token_is_for_its_own_use(api: Faces) -> None:
    granted = ask(api, CREDENTIALS).json
    assert not works(api, granted["refresh_token"])
    swapped = {"grant_type": "refresh_token", "refresh_token": granted["access_token"]}
    assert ask(api, swapped).status == 401


def test_tokens_hold_after_a_restart_and_on_other_processes(api: Faces, server: ApiServer) -> None:
    # Made by this process, which shares nothing but the secret with the server's.
    assert works(api, api.token)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"client_secret": CLIENT_SECRET[:-1]},
        {"client_secret": CLIENT_SECRET + "x"},
        {"client_id": "ünï", "client_secret": "cödé"},
    ],
)
def test_wrong_credentials_are_401(api: Faces, changes: dict[str, str]) -> None:
    answer = ask(api, CREDENTIALS | changes)
    assert (answer.status, answer.json["code"]) == (401, "unauthorized_request")
    assert CLIENT_SECRET not in answer.json["message"]


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud7ff", "e30.e30.", "x" * 100_000])
def test_a_refresh_token_that_is_none_is_refused(api: Faces, token: str) -> None:
    answer = ask(api, {"grant_type": "refresh_token", "refresh_token": token})
    assert answer.status == (401 if token else 400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"grant_type": None},
        {"grant_type": "password"},
        {"grant_type": ["client_credentials"]},
        {"grant_type": {"a": {"b": "c" * 10_000}}},
        {"grant_type": "client_credentials"},
        CREDENTIALS | {"client_secret": None},
        CREDENTIALS | {"client_secret": 1},
        CREDENTIALS | {"client_id": ["tests"]},
        CREDENTIALS | {"client_id": ""},
        {"grant_type": "refresh_token"},
        {"grant_type": "refresh_token", "refresh_token": {}},
        [],
        [CREDENTIALS],
        None,
        "client_credentials",
        1,
        b"",
        b" ",
        b"{",
        b"grant_type=client_credentials",
        b"\xff\xfe",
        b'{"grant_type": "\\ud800"}',
        b'{"grant_type": "client_credentials", "client_id": "\\udfff", "client_secret": "x"}',
        b'{"grant_type": "refresh_token", "refresh_token": "\\ud800"}',
        b'{"grant_type": NaN}',
        b'{"grant_type": "refresh_token", "grant_type": "client_credentials"}',
        b"[" * 100_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"1" * 100_000,
    ],
    ids=lambda body: repr(body)[:50],
)
def test_what_is_no_token_request_is_400(api: Faces, body: Any) -> None:
    answer = ask(api, body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert 0 < len(answer.json["message"]) < 400


@pytest.mark.parametrize(
    "form",
    [
        urlencode(CREDENTIALS) + "&client_id=tests",
        urlencode(CREDENTIALS) + "&grant_type=refresh_token",
        "&".join(f"a{n}=b" for n in range(1000)),
        "grant_type=%ff",
        "=",
        "&&&",
        "",
    ],
    ids=lambda form: form[:40],
)
def test_a_form_that_is_none_is_400(api: Faces, form: str) -> None:
    answer = ask(api, form.encode(), FORM)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=x", "\xff", ";;;=", "a"]
)
def test_any_other_content_type_is_read_as_json(api: Faces, content_type: str) -> None:
    assert ask(api, CREDENTIALS, content_type).status == 200
    assert ask(api, b"--x\r\n", content_type).status == 400
