"""What a deployment shall be: from a file, from options, or an option over a file."""

import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)


def duration(value: str) -> int:
    """Whole seconds, from `90`, `90s`, `10m`, `2h` or `7d`."""
    match = _DURATION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no duration: say 90, 90s, 10m, 2h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def variable(value: str) -> tuple[str, str]:
    """A name and what it is to be, which may be empty."""
    name, mark, content = value.partition("=")
    if not name or not mark:
        raise click.BadParameter(f"{value!r} is not NAME=VALUE")
    return name, content


_OPTIONS = (
    click.option(
        "-f",
        "--file",
        "path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="JSON, or TOML by its name; - is stdin.",
    ),
    click.option("--image", help="With a tag or a digest that is not latest."),
    click.option("--port", type=int, help="That the app listens on."),
    click.option("--compute", metavar="NAME", help="The compute resource."),
    click.option("--size", type=int, help="Units of it, for each replica."),
    click.option("--max-replicas", type=int, help="How many of its jobs run at once."),
    click.option("--deadline", type=duration, help="How long a job may live: 90, 10m, 2h, 7d."),
    click.option("--ttl", type=duration, help="How long a job may wait before it starts."),
    click.option("--startup", type=duration, help="How long until the app is healthy."),
    click.option("--env", type=variable, multiple=True, metavar="NAME=VALUE", help="A variable."),
    click.option(
        "--secret-env", type=variable, multiple=True, metavar="NAME=SECRET", help="A secret's."
    ),
    click.option("--entrypoint", multiple=True, metavar="WORD", help="Instead of the image's."),
    click.option("--cmd", multiple=True, metavar="WORD", help="Instead of the image's."),
    click.option("--health-path", metavar="PATH", help="Of the health check."),
    click.option("--health/--no-health", default=None, help="Whether there is a health check."),
)


def options(command: Function) -> Function:
    """Gives a command the options that `body` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def body(given: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a deployment, or of a change; options go before the file's members.

    `given` are the options by their names. Raises click.UsageError.
    """
    found = _read(given["path"]) if given["path"] else {}
    _merge(found, _top(given))
    container = _container(given)
    if container:
        containers = found.setdefault("containers", [{}])
        if not isinstance(containers, list) or len(containers) != 1:
            raise click.UsageError("options about the container need a file with exactly one")
        if not isinstance(containers[0], dict):
            raise click.UsageError("containers[0] is no object")
        _merge(containers[0], container)
    return found


def with_defaults(body: dict[str, Any]) -> dict[str, Any]:
    """What a new deployment needs and was not told: modest, and to be seen in the answer."""
    defaults: dict[str, Any] = {"compute": {"name": "cpu", "size": 1}}
    defaults["scaling"] = {
        "max_replica_count": 1,
        "queue_message_ttl_seconds": 86400,
        "deadline_seconds": 3600,
    }
    _merge(defaults, body)
    containers = defaults.get("containers")
    for container in containers if isinstance(containers, list) else []:
        if isinstance(container, dict):
            container.setdefault("exposed_port", 8080)
    return defaults


def _read(path: Path) -> dict[str, Any]:
    """A TOML file by its name's ending, else a JSON file; `-` is standard input, with JSON."""
    try:
        raw = sys.stdin.read() if str(path) == "-" else path.read_text()
        members = tomllib.loads(raw) if path.suffix == ".toml" else json.loads(raw)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from error
    if not isinstance(members, dict):
        raise click.UsageError(f"{path}: it must hold an object")
    return members


def _top(given: Mapping[str, Any]) -> dict[str, Any]:
    scaling = {
        "max_replica_count": given["max_replicas"],
        "queue_message_ttl_seconds": given["ttl"],
        "deadline_seconds": given["deadline"],
    }
    compute = {"name": given["compute"], "size": given["size"]}
    members = {"compute": _some(compute), "scaling": _some(scaling)}
    return {k: v for k, v in members.items() if v} | _some({"startup_seconds": given["startup"]})


def _container(given: Mapping[str, Any]) -> dict[str, Any]:
    members = _some({"image": given["image"], "exposed_port": given["port"]})
    health = _some({"enabled": given["health"], "path": given["health_path"]})
    if health:
        members["healthcheck"] = health
    if variables := _variables(given):
        members["env"] = variables
    if given["entrypoint"] or given["cmd"]:
        words = {name: list(given[name]) for name in ("entrypoint", "cmd") if given[name]}
        members["entrypoint_overrides"] = {"enabled": True} | words
    return members


def _variables(given: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": name, "value_or_reference_to_secret": value, "type": kind}
        for kind, option in (("plain", "env"), ("secret", "secret_env"))
        for name, value in given[option]
    ]


def _some(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Objects merge, all else is replaced, as in a PATCH."""
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif value is not None or name not in into:
            into[name] = value
