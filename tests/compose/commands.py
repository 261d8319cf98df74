"""The two docker-composes: 1.29, and version 2."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.conftest import require

COMPOSE = Path(__file__).parents[2] / "compose"
FILE = COMPOSE / "compose.yaml"
OVERRIDE = COMPOSE / "compose.debian.yaml"
REDIS_PORT = COMPOSE / "compose.redis.yaml"
DISK = COMPOSE / "compose.disk.yaml"
WORKER_FILE = COMPOSE / "worker.yaml"
FETCH = Path(__file__).with_name("fetch-v2")


@cache
def first() -> list[str]:
    """docker-compose 1.29."""
    path = shutil.which("docker-compose")
    found = path is not None and _version([path]).startswith("1.")
    require(found, "docker-compose 1.29 is not installed")
    return [str(path)]


@cache
def second() -> list[str]:
    """Compose v2: the machine's own, or one out of a Debian package that is not installed."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _version(command).startswith("2."):
            return command
    path = Path(tempfile.gettempdir()) / "onejob-compose-v2" / "docker-compose"
    words = _fetched(path)
    require(path.exists(), f"there is no compose v2: {words}")
    return [str(path)]


def machines_own() -> list[str]:
    """The docker-compose that is installed here, of either version."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(command[0]) and _version(command):
            return command
    require(False, "no docker-compose is installed")
    raise AssertionError


def clean_environ(**changes: str) -> dict[str, str]:
    """The environment without anything that docker-compose would put into our file."""
    names = "ONEJOB COMPOSE REDIS API FLOWER WORKER REPLICA PROMETHEUS GRAFANA PROXY DOCKER_ROOT"
    ours = tuple(f"{name}_" for name in names.split())
    kept = {n: v for n, v in os.environ.items() if not n.startswith(ours) and n != "DOCKER_SOCKET"}
    return kept | changes


def run(
    command: list[str], *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a docker-compose in the directory of our file."""
    # 1.29 gives up on an engine that is silent for a minute.
    return subprocess.run(
        [*command, *arguments],
        cwd=COMPOSE,
        env=clean_environ(COMPOSE_HTTP_TIMEOUT="300") if environ is None else environ,
        capture_output=True,
        text=True,
        check=False,
    )


def _version(command: list[str]) -> str:
    done = run(command, "version", "--short")
    return done.stdout.strip().removeprefix("v") if done.returncode == 0 else ""


def _fetched(path: Path) -> str:
    """Fetches it unless it is there; the words of a failure."""
    path.parent.mkdir(exist_ok=True)
    with (path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return ""
        if shutil.which("apt-get") is None:
            return "no apt-get to fetch it with"
        done = subprocess.run([FETCH, path], capture_output=True, text=True, check=False)
        return done.stderr.strip()
