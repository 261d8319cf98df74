"""Logins for Amazon's registry: a key of AWS is exchanged for a password that is good for hours.

One request of one service, so no library of AWS's is needed: it is signed here, by AWS's Signature
Version 4.
"""

import base64
import hashlib
import hmac
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from app.domain.registries import EcrCredentials
from workers.engine import ImageDenied, ImagePullFailed

TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
CALL_SECONDS = 20.0
MARGIN_SECONDS = 1800.0  # before a login's end it is not used any more: a pull may last
ANSWER_BYTES = 1024 * 1024
_KEPT = 100  # logins that are remembered


class Logins:
    """Logins that are still good, by the credentials that they were got with."""

    def __init__(self) -> None:
        self._known: dict[EcrCredentials, tuple[float, tuple[str, str]]] = {}
        self._guard = threading.Lock()

    def __call__(self, credentials: EcrCredentials, endpoint: str | None) -> tuple[str, str]:
        """User name and password. Raises ImageDenied, ImagePullFailed."""
        with self._guard:
            until, known = self._known.get(credentials, (0.0, ("", "")))
        if time.time() < until - MARGIN_SECONDS:
            return known
        until, fresh = _exchange(credentials, endpoint)
        with self._guard:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[credentials] = until, fresh
        return fresh


login = Logins()


def _exchange(credentials: EcrCredentials, endpoint: str | None) -> tuple[float, tuple[str, str]]:
    """Until when it is good (seconds since the epoch), and user name and password."""
    url = endpoint or f"https://api.ecr.{credentials.region}.amazonaws.com"
    answer = _post(f"{url.rstrip('/')}/", credentials)
    try:
        (data,) = answer["authorizationData"]
        user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        return float(data["expiresAt"]), (user, password)
    except (KeyError, TypeError, ValueError):
        raise ImagePullFailed(f"{url} gave no login for the registry") from None


def _post(url: str, credentials: EcrCredentials) -> Mapping[str, Any]:
    body = b"{}"
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "Host": urlsplit(url).netloc,
        "X-Amz-Target": TARGET,
    }
    signed = sign("POST", url, headers, body, credentials, "ecr", datetime.now(UTC))
    request = urllib.request.Request(url, body, signed)
    try:
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as response:
            answer = json.loads(response.read(ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        raise _refusal(url, error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ImagePullFailed(f"{url} gave no login for the registry: {error}") from None
    return answer if isinstance(answer, dict) else {}


def _refusal(url: str, error: urllib.error.HTTPError) -> ImageDenied | ImagePullFailed:
    """By the word for the error alone: the text may repeat what was sent."""
    try:
        word = str(json.loads(error.read(ANSWER_BYTES))["__type"]).rpartition("#")[2][:80]
    except (OSError, ValueError, KeyError, TypeError):
        word = "no reason told"
    kind = ImageDenied if 400 <= error.code < 500 else ImagePullFailed
    return kind(f"{url} gave no login for the registry: HTTP status {error.code}, {word}")


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: EcrCredentials,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """The headers with a date and a signature. The URL must have a path and no query."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    dated = {**headers, "X-Amz-Date": stamp}
    lowered = sorted((name.lower(), value.strip()) for name, value in dated.items())
    names = ";".join(name for name, _ in lowered)
    fields = "".join(f"{name}:{value}\n" for name, value in lowered)
    request = "\n".join([method, urlsplit(url).path, "", fields, names, _sha256(body)])
    scope = f"{stamp[:8]}/{credentials.region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, _sha256(request.encode())])
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    who = f"Credential={credentials.access_key_id}/{scope}"
    signature = f"SignedHeaders={names}, Signature={_hmac(key, text).hex()}"
    return {**dated, "Authorization": f"AWS4-HMAC-SHA256 {who}, {signature}"}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
