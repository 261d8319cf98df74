"""What a docker-compose made of our file, in words that are the same for both versions."""

import re
from typing import Any

import yaml

UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


def meaning(text: str) -> dict[str, Any]:
    """Services, networks and volumes of the output of `config`."""
    read = yaml.safe_load(text)
    services = {name: _service(service) for name, service in read["services"].items()}
    networks = {n: _without(v, "name") for n, v in read["networks"].items() if n != "default"}
    named = {n: v["name"] for n, v in read["networks"].items() if n != "default"}
    return {
        "services": services,
        "networks": networks,
        "network names": named,
        "volumes": sorted(read.get("volumes", [])),
    }


def _service(service: dict[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in service.items() if value is not None}
    for key, plain in _PLAIN.items():
        if key in known:
            known[key] = plain(known[key])
    if "network_mode" not in known:
        known["networks"] = sorted(service.get("networks") or ["default"])
    return known


def _conditions(waits: dict[str, Any]) -> dict[str, str]:
    return {name: wait["condition"] for name, wait in waits.items()}


def _healthcheck(check: dict[str, Any]) -> dict[str, Any]:
    return {k: _seconds(v) if isinstance(v, str) else v for k, v in check.items()}


def _seconds(text: str) -> float:
    parts = re.findall(r"([0-9.]+)(ms|h|m|s)", text)
    return sum(float(n) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for n, unit in parts)


def _bytes(value: str | int) -> int:
    text = str(value).removesuffix("b")
    unit = UNITS.get(text[-1], 1)
    return int(text.rstrip("kmg")) * unit


def _port(port: str | dict[str, Any]) -> str:
    if isinstance(port, str):
        return port
    return f"{port['host_ip']}:{port['published']}:{port['target']}/{port['protocol']}"


def _mount(mount: str | dict[str, Any]) -> str:
    if isinstance(mount, str):
        return mount
    mode = "ro" if mount.get("read_only") else "rw"
    return f"{mount['source']}:{mount['target']}:{mode}"


def _without(table: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != name}


_PLAIN = {
    "depends_on": _conditions,
    "healthcheck": _healthcheck,
    "stop_grace_period": _seconds,
    "mem_limit": _bytes,
    "ports": lambda ports: [_port(port) for port in ports],
    "volumes": lambda mounts: sorted(_mount(mount) for mount in mounts),
}
