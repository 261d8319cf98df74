"""Who is asking: access tokens of the control plane, inference keys of the data plane."""

import hmac
import time
from dataclasses import dataclass
from typing import Any, Literal

import jwt

from app.domain.errors import InvalidRequest, Unauthorized

SCOPE = "cloud-api-v1"
_ALGORITHM = "HS256"
_LONGEST_SHOWN = 80
Kind = Literal["access", "refresh"]


@dataclass(frozen=True)
class Tokens:
    """Issues and reads the tokens of the one client of the control plane."""

    client_id: str
    client_secret: str
    secret: str  # signs the tokens
    access_seconds: int
    refresh_seconds: int

    def grant(self, form: dict[str, Any]) -> dict[str, Any]:
        """The answer to a token request. Raises InvalidRequest, Unauthorized."""
        grant = form.get("grant_type")
        if grant == "client_credentials":
            self._check_secret(form)
        elif grant == "refresh_token":
            (token,) = _texts(form, "refresh_token")
            self.read(token, "refresh")
        else:
            allowed = "client_credentials or refresh_token"
            shown = repr(grant)[:_LONGEST_SHOWN]
            raise InvalidRequest(f"grant_type: {shown} is not allowed; it must be {allowed}")
        return self._issue()

    def read(self, token: str, kind: Kind) -> str:
        """The client that a token was issued to. Raises Unauthorized."""
        try:
            claims = jwt.decode(
                token, self.secret, [_ALGORITHM], options={"require": ["exp", "sub"]}
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized(f"the {kind} token has expired") from error
        except (jwt.InvalidTokenError, ValueError) as error:  # ValueError: no Unicode text
            raise Unauthorized(f"the {kind} token is not valid") from error
        if claims.get("kind") != kind or claims["sub"] != self.client_id:
            raise Unauthorized(f"this token of this server is none for {kind}")
        return str(claims["sub"])

    def _check_secret(self, form: dict[str, Any]) -> None:
        given = _texts(form, "client_id", "client_secret")
        known = self.client_id, self.client_secret
        # Both are compared whatever the first one says, and in constant time.
        pairs = zip(given, known, strict=True)
        same = [hmac.compare_digest(_bytes(one), _bytes(other)) for one, other in pairs]
        if not all(same):
            raise Unauthorized("client_id or client_secret is wrong")

    def _issue(self) -> dict[str, Any]:
        return {
            "access_token": self._sign("access", self.access_seconds),
            "refresh_token": self._sign("refresh", self.refresh_seconds),
            "token_type": "Bearer",
            "expires_in": self.access_seconds,
            "scope": SCOPE,
        }

    def _sign(self, kind: Kind, seconds: int) -> str:
        now = int(time.time())
        claims = {"sub": self.client_id, "kind": kind, "iat": now, "exp": now + seconds}
        return jwt.encode(claims, self.secret, _ALGORITHM)


def bearer(header: str | None) -> str:
    """The credentials of an Authorization header (RFC 6750). Raises Unauthorized."""
    scheme, _, credentials = (header or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        raise Unauthorized("an Authorization header is needed: Bearer <credentials>")
    return credentials.strip()


def _texts(form: dict[str, Any], *names: str) -> list[str]:
    """Members that have to be there. Raises InvalidRequest naming all that are not."""
    found = {name: form[name] for name in names if _is_text(form.get(name))}
    if missing := [name for name in names if name not in found]:
        raise InvalidRequest("; ".join(f"{name} is missing" for name in missing))
    return [*found.values()]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # what a client sends may be no Unicode text
