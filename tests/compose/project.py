"""Our compose file brought up for real, under a name and in places of its own."""

import base64
import http.client
import json
import secrets
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import docker

from tests.api.faces import Faces, deployment
from tests.api.wire import call
from tests.compose.commands import COMPOSE, FILE, OVERRIDE, clean_environ, run
from tests.e2e.house import APP, free_port, until
from tests.images import base_image

IMAGE = "onejob:test"


class Project:
    """One project of docker-compose; everything that it makes can be told by its name."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.name = f"onejob-test-{secrets.token_hex(4)}"
        self.bridge = f"oj-{secrets.token_hex(4)}"
        self.spool = folder / "spool"
        self.port, self.flower_port = free_port(), free_port()
        settings = {
            "API_ADDRESS": f"127.0.0.1:{self.port}",
            "FLOWER_ADDRESS": f"127.0.0.1:{self.flower_port}",
            "ONEJOB_PUBLIC_URL": self.url,
            "ONEJOB_SPOOL_ROOT": str(self.spool),
            "ONEJOB_NETWORK": self.name,
            "REPLICA_BRIDGE": self.bridge,
            "ONEJOB_IMAGE": IMAGE,
            "ONEJOB_STOP_GRACE_SECONDS": "2",
            "ONEJOB_NODE_CPUS": "1000",
            "ONEJOB_NODE_MEMORY_MB": "10000000",
        }
        env = folder / "env"
        env.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._command = [*command, "-f", str(FILE), "-f", str(OVERRIDE)]
        self._command += ["--env-file", str(env), "-p", self.name]
        self.credentials: dict[str, str] = {}
        self.faces: Faces

    @property
    def url(self) -> str:
        """The API."""
        return f"http://127.0.0.1:{self.port}"

    def up(self, *arguments: str) -> None:
        """Brings it up, or changes what is up, and waits until a worker is there."""
        self.compose("up", "-d", "--no-build", *arguments)
        until(self._ready, self._logs)

    def down(self) -> None:
        """Takes it down with its volumes."""
        self.compose("down", "--volumes")

    def log_in(self) -> None:
        """Gets the credentials as an operator does, and makes clients of them."""
        said = self.compose("run", "--rm", "-T", "credentials", "show")
        self.credentials = dict(line.split("=", 1) for line in said.splitlines())
        grant = {"grant_type": "client_credentials"} | {
            name: self.credentials[name] for name in ("client_id", "client_secret")
        }
        faces = Faces(self.port, self.credentials["inference_key"], "")
        token = faces.control("POST", "/oauth2/token", grant).json["access_token"]
        self.faces = Faces(self.port, faces.key, token)

    def compose(self, *arguments: str) -> str:
        """What docker-compose says on its standard output; it must succeed."""
        done = run(self._command, *arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    # -- jobs --------------------------------------------------------------------------------

    def deploy(self, name: str, lines: str, max_replica_count: int) -> None:
        """A deployment whose replicas run these lines of tests/usher/app.py's language."""
        container = {
            "image": base_image(),
            "exposed_port": 8000,
            "entrypoint_overrides": {"enabled": True, "entrypoint": entrypoint(lines)},
        }
        scaling = deployment()["scaling"] | {"max_replica_count": max_replica_count}
        self.faces.deploy(name, containers=[container], scaling=scaling)

    def finished(self, name: str, job_id: str) -> dict[str, Any]:
        """Waits for the job's end; what /status says then."""

        def look() -> Any:
            status = self.faces.status(name, job_id).json
            return status if status["Status"] == "Completed" else None

        status: dict[str, Any] = until(look, self._logs)
        return status

    def tasks(self) -> dict[str, str]:
        """Which worker ran which task that is over, as Flower tells."""
        told = json.loads(self.flower("/api/tasks"))
        return {id: task["worker"] for id, task in told.items() if task["state"] == "SUCCESS"}

    def flower(self, path: str, password: str | None = None) -> bytes:
        """A page of Flower's. Raises HTTPError."""
        who = f"onejob:{password or self.credentials['flower_password']}"
        headers = {"Authorization": f"Basic {base64.b64encode(who.encode()).decode()}"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.flower_port}{path}", None, headers
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return bytes(response.read())

    def flower_answers(self) -> bool:
        """Whether Flower is up."""
        try:
            return bool(self.flower("/healthcheck"))
        except OSError:
            return False

    # -- what is there -----------------------------------------------------------------------

    def replicas(self) -> list[str]:
        """Names of the replicas' containers, in any phase."""
        client = docker.APIClient()
        node = (self.spool / "node").read_text()
        found = client.containers(all=True, filters={"label": f"onejob.node={node}"})
        client.close()
        # One that is just being removed has no name any more.
        return [c["Names"][0].lstrip("/") if c["Names"] else c["Id"] for c in found]

    def address(self, service: str) -> str:
        """A service's address in the services' own network."""
        client = docker.APIClient()
        labels = [
            f"com.docker.compose.project={self.name}",
            f"com.docker.compose.service={service}",
        ]
        (container,) = client.containers(filters={"label": labels})
        client.close()
        networks = container["NetworkSettings"]["Networks"]
        return str(networks[f"{self.name}_default"]["IPAddress"])

    def spools(self) -> list[str]:
        """Names in the spool's directory of attempts."""
        return [path.name for path in (self.spool / "attempts").iterdir()]

    def left(self) -> dict[str, list[str]]:
        """What there is of this project on this machine, by kind."""
        client = docker.APIClient()
        mine = {"label": f"com.docker.compose.project={self.name}"}
        found = {
            "containers": [c["Id"] for c in client.containers(all=True, filters=mine)],
            "networks": [n["Name"] for n in client.networks() if self.name in n["Name"]],
            "volumes": [v["Name"] for v in client.volumes(mine)["Volumes"] or []],
            "replicas": self.replicas(),
            "spools": self.spools(),
            "rules": [rule for rule in packet_filter_rules() if self.bridge in rule],
        }
        client.close()
        return found

    def remove_replicas(self) -> None:
        """Removes what a failed test left; nothing else could end it."""
        client = docker.APIClient()
        for name in self.replicas() if (self.spool / "node").exists() else []:
            client.remove_container(name, force=True)
        client.close()

    def _ready(self) -> bool:
        try:
            return bool(call(self.port, "GET", "/ready").json["status"] == "ok")
        except (OSError, http.client.HTTPException):  # not up yet
            return False

    def _logs(self) -> str:
        return run(self._command, "logs", "--no-color", "--tail=30").stdout


def build() -> None:
    """Builds the images as one does where no registry answers."""
    done = subprocess.run(
        [COMPOSE / "build-debian"],
        env=clean_environ(ONEJOB_IMAGE=IMAGE),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-4000:]}"


def entrypoint(lines: str) -> list[str]:
    """The argument vector of an app that runs these lines."""
    return ["python3", "-I", "-S", "-c", APP.read_text(), lines]


def packet_filter_rules() -> list[str]:
    """All rules of this machine."""
    done = subprocess.run(["iptables", "-w", "-S"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
