"""Onejob as it is run: Redis, gunicorn, and a Celery worker or none."""

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from app.children import Child
from app.ledger import Ledger, connect
from app.stack import Layout
from tests.api.faces import Faces
from tests.e2e.house import HouseStack
from tests.ports import free_port
from workers.prepare import EXAMPLE_IMAGE

TTL_SECONDS = 3600
DEADLINE_SECONDS = 300
CALL_SECONDS = 60


class Product:
    """One instance on a directory of its own; a context manager."""

    def __init__(self, folder: Path, *, worker: bool = True, **settings: object) -> None:
        given = {f"ONEJOB_{name.upper()}": str(value) for name, value in settings.items()}
        self.layout = Layout(folder, free_port(), free_port())
        self.stack = HouseStack(self.layout, given)
        self._worker = worker
        self.faces: Faces
        self.ledger: Ledger

    def __enter__(self) -> "Product":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops all of it, its replicas too."""
        self.stack.stop(lambda name: None)

    def child(self, name: str) -> Child:
        """One of the processes."""
        return next(child for child in self.stack.children if child.name == name)

    def deploy(self, name: str, replicas: int, **scaling: int) -> str:
        """A deployment of the example; returns its uid."""
        limits = {
            "max_replica_count": replicas,
            "queue_message_ttl_seconds": TTL_SECONDS,
            "deadline_seconds": DEADLINE_SECONDS,
        }
        containers = [{"image": EXAMPLE_IMAGE, "exposed_port": 8080}]
        self.faces.deploy(name, containers=containers, scaling=limits | scaling)
        return self.ledger.deployments.get(name).uid

    def refresh(self) -> None:
        """Makes sure of a key and a token that are good."""
        self.stack.ensure_inference_key()
        known = self.stack.credentials
        grant = {"grant_type": "client_credentials"} | {
            "client_id": known.client_id,
            "client_secret": known.client_secret,
        }
        faces = Faces(self.layout.port, known.inference_key, "")
        token = faces.control("POST", "/oauth2/token", grant).json["access_token"]
        self.faces = Faces(self.layout.port, known.inference_key, token)

    def _start(self) -> None:
        self.stack.start_redis()
        self.ledger = Ledger(connect(self.stack.redis_url))
        self.stack.ensure_inference_key()
        self.stack.start_api()
        if self._worker:
            self.stack.start_worker()
        self.refresh()


class Client:
    """A client on one connection that is kept."""

    def __init__(self, product: Product) -> None:
        name, value = product.faces.bearer
        self._headers = {name: value, "Content-Type": "application/json"}
        self._connection = HTTPConnection("127.0.0.1", product.layout.port, timeout=CALL_SECONDS)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def submit(self, name: str, target: str, body: bytes) -> str:
        """Submits a job; returns its id."""
        status, answer = self._call("POST", f"/{name}{target}", {}, body)
        assert status == 202, answer
        return str(json.loads(answer)["Id"])

    def status(self, name: str, job_id: str) -> dict[str, Any]:
        """What /status says."""
        answer: dict[str, Any] = json.loads(self._get(f"/status/{name}", job_id))
        return answer

    def result(self, name: str, job_id: str) -> bytes:
        """The body of the result."""
        return self._get(f"/result/{name}", job_id)

    def _get(self, path: str, job_id: str) -> bytes:
        status, answer = self._call("GET", path, {"X-Inference-Id": job_id})
        assert status == 200, answer
        return answer

    def _call(
        self, method: str, path: str, more: dict[str, str], body: bytes | None = None
    ) -> tuple[int, bytes]:
        self._connection.request(method, path, body, self._headers | more)
        response = self._connection.getresponse()
        return response.status, response.read()
