"""Tokens of the control plane: signed, expiring, each for one use."""

import base64
import json
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest

from app.auth import Tokens
from app.domain.errors import InvalidRequest, Unauthorized

TOKENS = Tokens("id", "a secret of 16 c", "s" * 32, 60, 600)
CREDENTIALS = {
    "grant_type": "client_credentials",
    "client_id": "id",
    "client_secret": "a secret of 16 c",
}


def signed(**changes: Any) -> str:
    """A token of ours, with other claims; None drops one."""
    now = int(time.time())
    claims = {"sub": "id", "kind": "access", "iat": now, "exp": now + 60} | changes
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, "s" * 32, "HS256")


def test_granted_tokens_are_read() -> None:
    granted = TOKENS.grant(CREDENTIALS)
    assert TOKENS.read(granted["access_token"], "access") == "id"
    assert TOKENS.read(granted["refresh_token"], "refresh") == "id"
    assert granted["expires_in"] == 60
    claims = jwt.decode(granted["refresh_token"], "s" * 32, ["HS256"])
    assert claims["exp"] - claims["iat"] == 600


def test_tokens_are_read_by_whoever_has_the_secret() -> None:
    token = TOKENS.grant(CREDENTIALS)["access_token"]
    assert replace(TOKENS, access_seconds=1).read(token, "access") == "id"
    with pytest.raises(Unauthorized):
        replace(TOKENS, secret="t" * 32).read(token, "access")
    with pytest.raises(Unauthorized):
        replace(TOKENS, client_id="other").read(token, "access")


def test_no_token_is_of_two_kinds() -> None:
    granted = TOKENS.grant(CREDENTIALS)
    with pytest.raises(Unauthorized):
        TOKENS.read(granted["access_token"], "refresh")
    with pytest.raises(Unauthorized):
        TOKENS.read(granted["refresh_token"], "access")


def test_an_expired_token_says_so() -> None:
    with pytest.raises(Unauthorized, match="expired"):
        TOKENS.read(signed(exp=int(time.time()) - 1), "access")


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"sub": None},
        {"kind": None},
        {"sub": "other"},
        {"kind": "admin"},
        {"iat": int(time.time()) + 10**6},
        {"nbf": int(time.time()) + 10**6},
        {"exp": "soon"},
    ],
)
def test_claims_that_do_not_fit(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        TOKENS.read(signed(**changes), "access")


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_without_a_signature_is_none() -> None:
    claims = {"sub": "id", "kind": "access", "exp": int(time.time()) + 60}
    for algorithm in ("none", "None", "NONE"):
        for signature in ("", "x"):
            token = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}.{signature}"
            with pytest.raises(Unauthorized):
                TOKENS.read(token, "access")


def test_other_algorithms_are_refused() -> None:
    claims = {"sub": "id", "kind": "access", "exp": int(time.time()) + 60}
    for algorithm in ("HS384", "HS512"):
        with pytest.raises(Unauthorized):
            TOKENS.read(jwt.encode(claims, "s" * 64, algorithm), "access")


def test_a_token_that_was_tampered_with_is_refused() -> None:
    head, claims, signature = signed().split(".")
    forged = part({"sub": "id", "kind": "access", "exp": int(time.time()) + 10**6})
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for token in (
        f"{head}.{forged}.{signature}",
        f"{head}.{claims}.{flipped}",
        f"{head}.{claims}.",
    ):
        with pytest.raises(Unauthorized):
            TOKENS.read(token, "access")


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "\ud800", "ü", "\0", "x" * 10**6])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        TOKENS.read(token, "access")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"client_secret": "other"},
        {"client_secret": "a secret of 16 c "},
        {"client_id": "\ud800"},
        {"client_secret": "ü"},
    ],
)
def test_wrong_credentials(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        TOKENS.grant(CREDENTIALS | changes)


@pytest.mark.parametrize("missing", [None, "", 1, [], {}])
@pytest.mark.parametrize("name", sorted(CREDENTIALS))
def test_incomplete_requests(name: str, missing: Any) -> None:
    with pytest.raises(InvalidRequest, match=name):
        TOKENS.grant(CREDENTIALS | {name: missing})


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(InvalidRequest) as error:
        TOKENS.grant({"grant_type": "client_credentials", "client_secret": 1})
    assert error.value.message == "client_id is missing; client_secret is missing"


def test_a_refresh_needs_a_refresh_token() -> None:
    with pytest.raises(InvalidRequest, match="refresh_token"):
        TOKENS.grant({"grant_type": "refresh_token"})
    for token in ("x", "\ud800", signed()):
        with pytest.raises(Unauthorized):
            TOKENS.grant({"grant_type": "refresh_token", "refresh_token": token})
