"""Images for tests of the real engine: made on this machine, or served by a registry in memory."""

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.conftest import require

BASE = "onejob-base:bookworm"
SCRIPT = Path(__file__).parents[1] / "scripts" / "base-image"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@cache
def base_image() -> str:
    """The tag of a small Debian with Python 3; made if there is none, once for all processes."""
    done = subprocess.run([SCRIPT, BASE], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"{BASE} can't be made: {done.stderr.strip()}")
    return BASE


class Registry:
    """An image registry on a loopback port, which the engine takes without TLS.

    `answers` holds a status for each repository that shall fail; `silent` ones never answer.
    `asked` counts the requests for each repository's manifest.
    """

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.silent: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.released = threading.Event()
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}  # by repository
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        """As references begin with it."""
        return f"127.0.0.1:{self._server.server_port}/"

    def ref(self, repository: str) -> str:
        """The reference of a repository's image."""
        return f"{self.host}{repository}:1"

    def push(self, repository: str, config: Mapping[str, Any], content: str = "") -> None:
        """Puts an image there: one file, and the image's Config."""
        layer = _layer(content)
        rootfs = {"type": "layers", "diff_ids": [_digest(layer)]}
        image = {"architecture": ARCHITECTURE, "os": "linux", "config": config, "rootfs": rootfs}
        parts = [(CONFIG, json.dumps(image).encode()), (LAYER, gzip.compress(layer, mtime=0))]
        entries = [self._store(kind, blob) for kind, blob in parts]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": entries[0],
            "layers": entries[1:],
        }
        self._manifests[repository] = json.dumps(manifest).encode()

    def close(self) -> None:
        """Ends it; after that its port refuses connections."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _store(self, kind: str, blob: bytes) -> dict[str, Any]:
        self._blobs[_digest(blob)] = blob
        return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path of the registry's API."""
        parts = path.strip("/").split("/")
        if len(parts) < 4:
            return 200, "application/json", b"{}"
        repository, kind, name = "/".join(parts[1:-2]), parts[-2], parts[-1]
        if kind == "blobs":
            return 200, "application/octet-stream", self._blobs[name]
        self.asked[repository] += 1
        if repository in self.silent:
            self.released.wait()
        if status := self.answers.get(repository):
            return status, "application/json", _error(status)
        if repository not in self._manifests:
            return 404, "application/json", _error(404)
        return 200, MANIFEST, self._manifests[repository]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, kind, body = registry.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Content-Digest", _digest(body))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def _error(status: int) -> bytes:
    words = {
        401: ("UNAUTHORIZED", "authentication required"),
        403: ("DENIED", "requested access to the resource is denied"),
        404: ("MANIFEST_UNKNOWN", "manifest unknown"),
    }
    code, message = words.get(status, ("UNKNOWN", "the registry broke"))
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def _layer(content: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content.encode()))
    return made.getvalue()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
