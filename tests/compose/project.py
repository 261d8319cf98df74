"""Our compose file brought up for real, under a name and in places of its own."""

import base64
import contextlib
import http.client
import json
import secrets
import socket
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import requests

from tests.api.faces import deployment
from tests.api.wire import call
from tests.compose.commands import COMPOSE, FILE, OVERRIDE, REDIS_PORT, clean_environ, run
from tests.e2e.house import APP, until
from tests.e2e.patient import PatientFaces
from tests.images import base_image
from tests.ports import free_port

IMAGE = "onejob:test"
OWNER = "10001:10001"  # of all secrets: see compose/Dockerfile
PLACES = ("/run", "/etc", "/tmp", "/var", "/data", "/usr/local")  # of a container
DEADLINE_SECONDS = 1200  # of all jobs: as long as a test of them may take


class Project:
    """One project of docker-compose; everything that it makes can be told by its name."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.name = f"onejob-test-{secrets.token_hex(4)}"
        self.bridge = f"oj-{secrets.token_hex(4)}"
        self.spool = folder / "spool"
        self.port, self.flower_port = free_port(), free_port()
        self.proxy_port, self.redis_address = free_port(), f"{gateway()}:{free_port()}"
        self.prometheus_port = free_port()
        settings = {
            "API_ADDRESS": f"127.0.0.1:{self.port}-{self.port + 9}",
            "PROXY_ADDRESS": f"127.0.0.1:{self.proxy_port}",
            "REDIS_ADDRESS": self.redis_address,
            "FLOWER_ADDRESS": f"127.0.0.1:{self.flower_port}",
            "PROMETHEUS_ADDRESS": f"127.0.0.1:{self.prometheus_port}",
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
        files = (FILE, OVERRIDE, REDIS_PORT)
        self._command = [*command, *(word for path in files for word in ("-f", str(path)))]
        self._command += ["--env-file", str(env), "-p", self.name]
        self.credentials: dict[str, str] = {}
        self.faces: PatientFaces

    @property
    def url(self) -> str:
        """The API."""
        return f"http://127.0.0.1:{self.port}"

    def up(self, *arguments: str) -> None:
        """Brings it up, or changes what is up, and waits until a worker is there."""
        self.compose("up", "-d", "--no-build", *arguments)
        until(self._ready, self._logs)
        if self.credentials:
            self.faces = replace(self.faces, port=self.port)

    def down(self) -> None:
        """Takes it down with its volumes."""
        self.compose("--profile", "proxy", "--profile", "monitoring", "down", "--volumes")

    def log_in(self) -> None:
        """Gets the credentials as an operator does, and makes clients of them."""
        said = self.compose("run", "--rm", "-T", "credentials", "show")
        self.credentials = dict(line.split("=", 1) for line in said.splitlines())
        grant = {"grant_type": "client_credentials"} | {
            name: self.credentials[name] for name in ("client_id", "client_secret")
        }
        faces = PatientFaces(self.port, self.credentials["inference_key"], "")
        token = faces.control("POST", "/oauth2/token", grant).json["access_token"]
        self.faces = PatientFaces(self.port, faces.key, token)

    def compose(self, *arguments: str) -> str:
        """What docker-compose says on its standard output; it must succeed."""
        done = run(self._command, *arguments)
        assert done.returncode == 0, f"{arguments}: {done}"
        return done.stdout

    # -- jobs --------------------------------------------------------------------------------

    def deploy(self, name: str, lines: str, max_replica_count: int, **changes: Any) -> None:
        """A deployment whose replicas run these lines of tests/usher/app.py's language."""
        container = {
            "image": base_image(),
            "exposed_port": 8000,
            "entrypoint_overrides": {"enabled": True, "entrypoint": entrypoint(lines)},
        }
        scaling = deployment()["scaling"] | {
            "max_replica_count": max_replica_count,
            "deadline_seconds": DEADLINE_SECONDS,
        }
        self.faces.deploy(name, containers=[container], scaling=scaling, **changes)

    def finished(self, name: str, job_id: str) -> dict[str, Any]:
        """Waits for the job's end; what /status says then."""

        def look() -> Any:
            status = self.faces.status(name, job_id).json
            return status if status["Status"] == "Completed" else None

        status: dict[str, Any] = until(look, self._logs)
        return status

    def tasks(self) -> dict[str, str]:
        """Which worker ran which task that is over, as Flower tells; none while it is not up."""
        try:
            told = json.loads(self.flower("/api/tasks"))
        except (OSError, http.client.HTTPException):
            return {}
        return {id: task["worker"] for id, task in told.items() if task["state"] == "SUCCESS"}

    def flower(self, path: str, password: str | None = None) -> bytes:
        """A page of Flower's. Raises HTTPError."""
        who = f"onejob:{password or self.credentials['flower_password']}"
        headers = {"Authorization": f"Basic {base64.b64encode(who.encode()).decode()}"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.flower_port}{path}", None, headers
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return bytes(response.read())

    def flower_answers(self) -> bool:
        """Whether Flower is up."""
        try:
            return bool(self.flower("/healthcheck"))
        except (OSError, http.client.HTTPException):
            return False

    def targets(self) -> dict[str, list[str]]:
        """How each target of Prometheus is, by its job."""
        try:
            asked = call(self.prometheus_port, "GET", "/api/v1/targets")
        except (OSError, http.client.HTTPException):  # not up yet
            return {}
        if asked.status != 200:  # it listens before it is ready, and says 503
            return {}
        found: dict[str, list[str]] = {}
        for target in asked.json["data"]["activeTargets"]:
            found.setdefault(target["labels"]["job"], []).append(target["health"])
        return found

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
        (address,) = self.addresses(service).values()
        return address

    def addresses(self, service: str) -> dict[str, str]:
        """Those of all its containers that run, by the container's id."""
        client = docker.APIClient()
        labels = [
            f"com.docker.compose.project={self.name}",
            f"com.docker.compose.service={service}",
        ]
        found = client.containers(filters={"label": labels})
        client.close()
        network = f"{self.name}_default"
        return {c["Id"]: c["NetworkSettings"]["Networks"][network]["IPAddress"] for c in found}

    def proxy_talks_to(self) -> set[str]:
        """The ids of the API's containers that the proxy has a connection to just now."""
        client = docker.APIClient()
        pid = client.inspect_container(self.first("proxy"))["State"]["Pid"]
        client.close()
        rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()]
        peers = {row[2] for row in rows if row[3] == "01"}  # established
        hexed = {id: socket.inet_aton(at)[::-1].hex() for id, at in self.addresses("api").items()}
        return {id for id, at in hexed.items() if f"{at.upper()}:{8080:04X}" in peers}

    def first(self, service: str) -> str:
        """The id of its container that has number 1. Raises LookupError."""
        client = docker.APIClient()
        labels = {"project": self.name, "service": service, "container-number": 1}
        filters = [f"com.docker.compose.{name}={value}" for name, value in labels.items()]
        found = client.containers(filters={"label": filters})
        client.close()
        return str(found[0]["Id"])

    def knows(self, service: str, text: str) -> bool:
        """Whether a text is in a container of a service: in a variable, or in a file.

        It is looked for as the user who owns the files of all secrets.
        """
        client = docker.APIClient()
        labels = {"project": self.name, "service": service}
        filters = [f"com.docker.compose.{name}={value}" for name, value in labels.items()]
        container = client.containers(filters={"label": filters})[0]["Id"]
        search = ["grep", "-rqsF", "-e", text, *PLACES]
        made = client.exec_create(container, search, user=OWNER)
        client.exec_start(made)
        code = client.exec_inspect(made)["ExitCode"]
        environ = client.inspect_container(container)["Config"]["Env"]
        client.close()
        assert code in (0, 1, 2), "there is no grep"  # 2: not found, and some files are others'
        return code == 0 or any(text in line for line in environ)

    def running(self, deployment: str) -> dict[str, str]:
        """When each replica of a deployment was started that runs now, by its container's id."""
        client = docker.APIClient()
        node = (self.spool / "node").read_text()
        labels = [f"onejob.node={node}", f"onejob.deployment={deployment}"]
        found = client.containers(filters={"label": labels})
        started = {c["Id"]: client.inspect_container(c["Id"])["State"]["StartedAt"] for c in found}
        client.close()
        return started

    @contextlib.contextmanager
    def starts(self) -> Iterator[Counter[str]]:
        """Counts the containers that are started meanwhile, by job."""
        client = docker.APIClient()
        node = (self.spool / "node").read_text()
        filters = {"label": f"onejob.node={node}", "event": "start"}
        stream = client.events(filters=filters, decode=True)
        counted: Counter[str] = Counter()

        def count() -> None:
            with contextlib.suppress(requests.RequestException, ValueError):  # it was closed
                for event in stream:
                    counted[event["Actor"]["Attributes"]["onejob.job"]] += 1

        reader = threading.Thread(target=count)
        reader.start()
        try:
            yield counted
        finally:
            stream.close()
            reader.join()
            client.close()

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
            with contextlib.suppress(docker.errors.APIError):  # a worker does so just now
                client.remove_container(name, force=True)
        client.close()

    def _ready(self) -> bool:
        try:
            self.port = self._published()  # a container that is started again may get another one
            return bool(call(self.port, "GET", "/ready").json["status"] == "ok")
        except (LookupError, OSError, http.client.HTTPException):  # not up yet
            return False

    def _published(self) -> int:
        """The port of this machine that a container of the API has. Raises LookupError."""
        container = next(iter(self.addresses("api")), None)
        if container is None:
            raise LookupError("no container of the API runs")
        client = docker.APIClient()
        try:
            (port,) = client.port(container, 8080) or [{}]
            return int(port["HostPort"])
        finally:
            client.close()

    def _logs(self) -> str:
        return run(self._command, "logs", "--no-color", "--tail=30").stdout


def gateway() -> str:
    """An address of this machine that containers reach."""
    client = docker.APIClient()
    config = client.inspect_network("bridge")["IPAM"]["Config"]
    client.close()
    return str(config[0]["Gateway"])


def build() -> None:
    """Builds the images as one does where no registry answers."""
    done = subprocess.run(
        [COMPOSE / "build-debian", "--proxy", "--monitoring"],
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
