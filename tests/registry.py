"""A real image registry: Debian's docker-registry on a free loopback port, in a test's directory.

The engine takes it without TLS, since it is on loopback. `Stall` stands before it and lets only a
part of each layer through, until it is told to go on.
"""

import http.client
import io
import json
import secrets
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker

from tests.conftest import require
from tests.ports import free_port

PATIENCE_SECONDS = 60.0
USER, PASSWORD = "reader", "opensesame"
# Of the password, by bcrypt: the only scheme that the registry takes.
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuQbLfdQZSxZ9gjhA5V9o8Tyc6aQRO0Qi\n"


class RealRegistry:
    """One registry. With `password`, only who knows USER and PASSWORD gets in."""

    def __init__(self, folder: Path, password: bool = False) -> None:
        require(shutil.which("docker-registry"), "docker-registry is not installed")
        self.folder = folder
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.start()

    @property
    def host(self) -> str:
        """As references begin with it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, on the port that it always has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.json"  # which is YAML, too
        config.write_text(json.dumps(self._config()))
        with (self.folder / "log").open("ab") as log:
            argv = ["docker-registry", "serve", str(config)]
            self._process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not _listens(self.port):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < give_up, "the registry does not listen"
            time.sleep(0.02)  # a server that starts gives no other sign than its answer

    def stop(self) -> None:
        """Ends it; its port refuses connections then."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def push(
        self, name: str, layer_bytes: int = 1000, layers: int = 1, base: str = "scratch"
    ) -> str:
        """Puts an image there that nobody has seen before; its reference."""
        ref = f"{self.host}/{name}:1"
        # Under another name of this machine: what is here of the reference itself stays as it is.
        pushed = f"localhost:{self.port}/{name}:1"
        api: Any = docker.APIClient(timeout=60, **docker.utils.kwargs_from_env())
        try:
            _build(api, pushed, layer_bytes, layers, base)
            auth = {"username": USER, "password": PASSWORD}
            for line in api.push(pushed, stream=True, decode=True, auth_config=auth):
                assert "error" not in line, line
            api.remove_image(pushed)
        finally:
            api.close()
        return ref

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": f"127.0.0.1:{self.port}"},
        }
        if self._password:
            (self.folder / "htpasswd").write_text(HTPASSWD)
            auth = {"realm": "test", "path": str(self.folder / "htpasswd")}
            config["auth"] = {"htpasswd": auth}
        return config


class Stall:
    """Stands before a registry. Of each layer it sends the first `let_through` bytes at once, and
    the rest when `go_on` was called. `asked` counts the requests for manifests and blobs by path.

    `broken` is a number of requests that are answered 503 before anything is passed on.
    """

    def __init__(self, registry: RealRegistry, let_through: int = 0, broken: int = 0) -> None:
        self._registry = registry
        self._let_through = let_through
        self.broken = broken
        self.asked: Counter[str] = Counter()
        self.stalled = threading.Event()  # some layer has come as far as it may
        self._going_on = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def ref(self, ref: str) -> str:
        """The same image through this."""
        return ref.replace(self._registry.host, f"127.0.0.1:{self._server.server_port}")

    def manifests(self) -> int:
        """How often a manifest was asked for by its tag: at least once for each pull."""
        return sum(n for path, n in self.asked.items() if path.endswith("/manifests/1"))

    def blobs(self) -> Counter[str]:
        """How often each blob was sent."""
        return Counter({p: n for p, n in self.asked.items() if "/blobs/" in p})

    def go_on(self) -> None:
        """Lets everything through."""
        self._going_on.set()

    def close(self) -> None:
        """Ends it."""
        self.go_on()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stall = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if "/manifests/" in self.path or "/blobs/" in self.path:
                    stall.asked[self.path] += 1
                if stall.broken > 0 and self.path != "/v2/":
                    stall.broken -= 1
                    self._answer(503, [], b"{}")
                    return
                status, headers, body = stall.fetch(self.command, self.path, self.headers)
                self._answer(status, headers, body)

            do_HEAD = do_GET  # noqa: N815

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                lengths = [h for h in headers if h[0].lower() == "content-length"]
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                length = lengths[0][1] if lengths and self.command == "HEAD" else str(len(body))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command == "GET":
                    first = stall.first(self.path, body)
                    with suppress(OSError):  # who asked has gone
                        self.wfile.write(body[:first])
                        stall.wait(first < len(body))
                        self.wfile.write(body[first:])

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def fetch(self, method: str, path: str, headers: Any) -> tuple[int, list[Any], bytes]:
        """What the registry answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._registry.port, timeout=20)
        try:
            wanted = {n: v for n, v in headers.items() if n.lower() not in ("host", "range")}
            connection.request(method, path, headers=wanted)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def first(self, path: str, body: bytes) -> int:
        """How many bytes go at once: all but those of layers, which are the large blobs."""
        large = "/blobs/" in path and len(body) > 2 * self._let_through
        return len(body) if self._going_on.is_set() or not large else self._let_through

    def wait(self, holds_back: bool) -> None:
        """Until the rest of a blob may go, if there is one."""
        if holds_back:
            self.stalled.set()
            self._going_on.wait()


@contextmanager
def real_registry(folder: Path, password: bool = False) -> Iterator[RealRegistry]:
    """A registry for the time of a test; afterwards nothing of it is on the engine."""
    registry = RealRegistry(folder, password)
    try:
        yield registry
    finally:
        registry.stop()


@contextmanager
def stalling(registry: RealRegistry, let_through: int = 0, broken: int = 0) -> Iterator[Stall]:
    """A stall for the time of a test."""
    stall = Stall(registry, let_through, broken)
    try:
        yield stall
    finally:
        stall.close()


def remove_images(*hosts: str) -> None:
    """Removes all that is on the engine from these registries."""
    api: Any = docker.APIClient(timeout=60, **docker.utils.kwargs_from_env())
    for image in api.images():
        names = [*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())]
        if any(name.startswith(hosts) for name in names):
            with suppress(docker.errors.ImageNotFound):  # it went with another one
                api.remove_image(image["Id"], force=True)
    api.close()


def _build(api: Any, ref: str, layer_bytes: int, layers: int, base: str) -> None:
    """Of files that can't be compressed: whoever pulls it has none of them."""
    files = [f"layer{number}" for number in range(layers)]
    lines = [f"FROM {base}", *(f"COPY {name} /{name}" for name in files), 'CMD ["/nothing"]']
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        _add(tar, "Dockerfile", "\n".join(lines).encode())
        for name in files:
            _add(tar, name, secrets.token_bytes(layer_bytes))
    context.seek(0)
    for line in api.build(fileobj=context, custom_context=True, tag=ref, rm=True, decode=True):
        assert "error" not in line, line


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
