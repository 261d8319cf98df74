"""A small client of both faces, on the standard library: what the command line speaks with.

It follows no redirect, since an app's own response can be one, and asks no proxy of the
environment: either would get the keys.
"""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PIECE_BYTES = 64 * 1024
LINE_BYTES = 16 * 1024 * 1024
Headers = Mapping[str, str] | list[tuple[str, str]]


class Unreachable(OSError):
    """No answer came, not all of it, or none that is HTTP."""


class NoCredentials(Exception):
    """What the call needs was not given; the text names it."""


class Unsendable(Exception):
    """What was given can't be sent as it is; the text never has a value."""


class Refused(Exception):
    """The server answered with an error; `code` and the message are its own."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})  # names in lower case

    @property
    def retry_after_seconds(self) -> float | None:
        """When the server says that another try is worth it."""
        given = self.headers.get("retry-after", "")
        return float(given) if given.isdecimal() else None


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises Unreachable: Onejob's answers are."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Unreachable("the answer is none of a Onejob server") from error


class Stream:
    """An answer whose body is still on its way. Reading raises Unreachable."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response

    def pieces(self) -> Iterator[bytes]:
        """The body, in pieces of up to 64 KiB."""
        while piece := self._read(self._response.read, PIECE_BYTES):
            yield piece

    def lines(self) -> Iterator[bytes]:
        """The body, line by line as they come."""
        while line := self._read(self._response.readline, LINE_BYTES):
            yield line

    def answer(self) -> Answer:
        """All of it."""
        return Answer(self.status, self.headers, b"".join(self.pieces()))

    def refusal(self) -> Refused:
        """The error that it tells, to be raised."""
        body = b"".join(self.pieces())
        try:
            error = json.loads(body)
            code, message = error["code"], error["message"]
        except (ValueError, KeyError, TypeError):
            words = body[:200].decode("utf-8", "replace").strip()
            code, message = "unknown", words or f"HTTP {self.status}"
        return Refused(self.status, code, message, self.headers)

    def _read(self, read: Any, size: int) -> bytes:
        with _reported():
            data: bytes = read(size)
            # At an end that comes too early it says nothing, and is not at the length it was told.
            if not data and self._response.length:
                raise Unreachable("the answer broke off")
        return data


@dataclass
class Client:
    """Both faces of one server. Calls raise Refused, Unreachable and NoCredentials."""

    url: str  # http(s)://host[:port][/path]
    client_id: str
    client_secret: str = field(repr=False)
    inference_key: str = field(repr=False)
    timeout_seconds: float = 30
    _token: str | None = field(default=None, repr=False)

    @property
    def has_control(self) -> bool:
        """Whether there are credentials of the control plane."""
        return bool(self.client_id and self.client_secret)

    def control(self, method: str, path: str, body: Any = None) -> Answer:
        """A call of the control plane."""
        with self.control_stream(method, path, body) as stream:
            return stream.answer()

    def data(
        self, method: str, path: str, headers: Headers | None = None, body: bytes = b""
    ) -> Answer:
        """A call of the data plane."""
        with self.data_stream(method, path, headers, body) as stream:
            if stream.status >= 400:
                raise stream.refusal()
            return stream.answer()

    @contextmanager
    def control_stream(self, method: str, path: str, body: Any = None) -> Iterator[Stream]:
        """A call of the control plane, with a token; a new one if the server knows it no more."""
        if not self.has_control:
            raise NoCredentials("a client id and its secret are needed for this")
        known = self._token is not None
        for last in (not known, True):
            headers = {"Authorization": f"Bearer {self._access_token()}"}
            with self._exchange(method, f"/v1{path}", headers, _json(body)) as stream:
                if stream.status == 401 and not last:
                    self._token = None
                    continue
                if stream.status >= 400:
                    raise stream.refusal()
                yield stream
                return

    @contextmanager
    def data_stream(
        self, method: str, path: str, headers: Headers | None = None, body: bytes = b""
    ) -> Iterator[Stream]:
        """A call of the data plane, with the inference key, whatever its answer is."""
        if not self.inference_key:
            raise NoCredentials("an inference key is needed for this")
        given = list(headers.items()) if isinstance(headers, Mapping) else list(headers or [])
        given.append(("Authorization", f"Bearer {self.inference_key}"))
        with self._exchange(method, path, given, body or None) as stream:
            yield stream

    def _access_token(self) -> str:
        if self._token is None:
            grant = {
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
            }
            with self._exchange("POST", "/v1/oauth2/token", {}, _json(grant)) as stream:
                if stream.status >= 400:
                    raise stream.refusal()
                members = stream.answer().json()
            if not isinstance(members, dict) or "access_token" not in members:
                raise Unreachable("the answer is none of a Onejob server")
            self._token = str(members["access_token"])
        return self._token

    @contextmanager
    def _exchange(
        self, method: str, path: str, headers: Headers, body: bytes | None
    ) -> Iterator[Stream]:
        connection, prefix = self._connection()
        try:
            with _reported():
                _send(connection, method, prefix + path, headers, body)
                response = connection.getresponse()
            yield Stream(response)
        finally:
            connection.close()

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        url = urlsplit(self.url)
        secure = url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(url.hostname or "", url.port, timeout=self.timeout_seconds), url.path


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Headers,
    body: bytes | None,
) -> None:
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in pairs}
    connection.putrequest(method, path, skip_accept_encoding=True)
    if body is not None and "content-type" not in names:
        pairs.append(("Content-Type", "application/json"))
    if body is not None or method in ("POST", "PUT", "PATCH"):
        pairs.append(("Content-Length", str(len(body or b""))))
    for name, value in pairs:
        try:
            connection.putheader(name, value)
        except (ValueError, UnicodeError):  # its words have the value, which may be a key
            raise Unsendable(f"the header {name} has characters that can't be sent") from None
    connection.endheaders(body)


@contextmanager
def _reported() -> Iterator[None]:
    """What goes wrong on the way is one error."""
    try:
        yield
    except Unreachable:
        raise
    except http.client.HTTPException as error:  # it broke off, or speaks something else
        raise Unreachable(f"no HTTP answer: {error!r}") from error
    except OSError as error:
        raise Unreachable(error.strerror or str(error) or repr(error)) from error


def _json(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()
