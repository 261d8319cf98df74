"""Both faces of the API as a client sees them."""

import json
from dataclasses import dataclass
from typing import Any

from app.auth import Tokens
from app.ledger import Ledger
from tests.api.server import CLIENT_ID, CLIENT_SECRET, TOKEN_SECRET
from tests.api.wire import Answer, Connection, Headers, call

TOKENS = Tokens(CLIENT_ID, CLIENT_SECRET, TOKEN_SECRET, 3600, 3600)
CREDENTIALS = {
    "grant_type": "client_credentials",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
}


def deployment(name: str = "hello", **changes: Any) -> dict[str, Any]:
    """The JSON of a deployment that runs one job at a time."""
    return {
        "name": name,
        "containers": [{"image": "example/hello:1", "exposed_port": 8000}],
        "compute": {"name": "cpu", "size": 1},
        "scaling": {
            "max_replica_count": 1,
            "queue_message_ttl_seconds": 300,
            "deadline_seconds": 60,
        },
    } | changes


@dataclass(frozen=True)
class Faces:
    """The clients of both faces."""

    port: int
    key: str
    token: str

    @classmethod
    def of(cls, port: int, ledger: Ledger) -> "Faces":
        """Clients with a new inference key and a new token."""
        return cls(port, ledger.keys.create("tests")[1], TOKENS.grant(CREDENTIALS)["access_token"])

    @property
    def bearer(self) -> tuple[str, str]:
        """The data plane's credentials."""
        return "Authorization", f"Bearer {self.key}"

    def data(
        self, method: str, path: str, headers: Headers | None = None, body: bytes | None = None
    ) -> Answer:
        """A call of the data plane."""
        return call(self.port, method, path, [self.bearer, *(headers or [])], body)

    def control(self, method: str, path: str, body: Any = None) -> Answer:
        """A call of the control plane; the body is JSON, or bytes as they are."""
        headers = [("Authorization", f"Bearer {self.token}")]
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return call(self.port, method, f"/v1{path}", headers, raw)

    def deploy(self, name: str = "hello", **changes: Any) -> str:
        """Makes a deployment; returns its name."""
        answer = self.control("POST", "/job-deployments", deployment(name, **changes))
        assert answer.status == 201, answer
        return name

    def submit(self, name: str, path: str = "/", body: bytes = b"", **more: str) -> str:
        """Submits a job; returns its id. `more` are headers."""
        headers = [(header.replace("_", "-"), value) for header, value in more.items()]
        answer = self.data("POST", f"/{name}{path}", headers, body)
        assert answer.status == 202, answer
        return answer["X-Inference-Id"]

    def status(self, name: str, job_id: str) -> Answer:
        """The answer of the status route."""
        return self.data("GET", f"/status/{name}", [("X-Inference-Id", job_id)])

    def result(self, name: str, job_id: str) -> Answer:
        """The answer of the result route, as bytes on the wire gave it."""
        with self.open("GET", f"/result/{name}", ("X-Inference-Id", job_id)) as connection:
            return connection.answer()

    def open(self, method: str, target: str, *headers: tuple[str, str]) -> Connection:
        """A connection on which a request without a body was sent, byte for byte."""
        return Connection(self.port).send(self.head(method, target, *headers))

    def head(self, method: str, target: str, *headers: tuple[str, str]) -> bytes:
        """The bytes of a request's head, with the key."""
        fields = [("Host", "localhost"), self.bearer, *headers]
        lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")
