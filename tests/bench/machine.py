"""Where and with what it was measured, for those who read the figures later."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import docker

from app.stack import redis_server

PACKAGES = {
    "celery": "Celery",
    "docker": "docker-py",
    "flask": "Flask",
    "gunicorn": "gunicorn",
    "redis": "redis-py",
}


def describe() -> dict[str, Any]:
    """The machine, and versions of what matters."""
    client = docker.APIClient()
    info, engine = client.info(), client.version()
    client.close()
    return {
        "cores": os.cpu_count(),
        "GiB": round(info["MemTotal"] / 2**30, 1),
        "processor": _processor(),
        "kernel": platform.release(),
        "docker engine": engine["Version"],
        "storage": info["Driver"],
        "python": platform.python_version(),
        "redis server": _redis_version(),
        **{PACKAGES[package]: version(package) for package in PACKAGES},
    }


def load() -> list[float]:
    """The load averages of 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def _redis_version() -> str:
    done = subprocess.run([redis_server(), "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"v=(\S+)", done.stdout)
    return match[1] if match else "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
