"""A small client of both faces, on the standard library: what the command line speaks with."""

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

# Never through a proxy of the environment: it would get the keys, and can't reach loopback.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """The server answered with an error; `code` and the message are its own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Client:
    """Both faces of one server. Raises Refused for error answers, OSError if it is away."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    inference_key: str = field(repr=False)
    timeout_seconds: float = 30
    _token: str | None = field(default=None, repr=False)

    def control(self, method: str, path: str, body: Any = None) -> Answer:
        """A call of the control plane, with a token; a new one if the server knows it no more."""
        try:
            return self._with_token(method, path, body)
        except Refused as refused:
            if refused.status != 401:
                raise
        self._token = None
        return self._with_token(method, path, body)

    def data(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """A call of the data plane, with the inference key."""
        bearer = {"Authorization": f"Bearer {self.inference_key}"}
        return self._call(method, path, bearer | (headers or {}), body or None)

    def _with_token(self, method: str, path: str, body: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self._access_token()}"}
        return self._call(method, f"/v1{path}", headers, _json(body))

    def _access_token(self) -> str:
        if self._token is None:
            grant = {
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
            }
            answer = self._call("POST", "/v1/oauth2/token", {}, _json(grant))
            self._token = str(answer.json()["access_token"])
        return self._token

    def _call(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        if body is not None:
            headers = {"Content-Type": "application/json"} | headers
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with direct.open(request, timeout=self.timeout_seconds) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            raise _refused(error.code, error.read()) from error
        except http.client.HTTPException as error:  # it broke off, or speaks something else
            raise OSError(f"no HTTP answer: {error!r}") from error


def _json(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)


def _refused(status: int, body: bytes) -> Refused:
    try:
        error = json.loads(body)
        return Refused(status, error["code"], error["message"])
    except (ValueError, KeyError, TypeError):
        return Refused(status, "unknown", body[:200].decode("utf-8", "replace"))
