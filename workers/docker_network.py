"""The network of the replicas: a bridge of our own, and what it may not reach.

Its containers do not reach each other (the engine sees to it), nor services on this machine's
addresses, nor link-local ones, where clouds keep their metadata and credentials. The latter two
take packet filter rules, which the engine does not know: they are added where this process is
root in the network namespace of the engine's host, and a warning says so where it is not.

Names still resolve: the engine's resolver asks from inside the container's network namespace,
so that DNS (port 53) is let through to all addresses; on some clouds the nameserver is the
metadata address itself. Traffic to the world is forwarded, and INPUT does not see it.
"""

import hashlib
import logging
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import docker.errors

from workers.docker_errors import answered, translated
from workers.engine import EngineTrouble

logger = logging.getLogger(__name__)
LABEL = "onejob"
ENGINES_OWN = ("none", "bridge")
BRIDGE_OPTION = "com.docker.network.bridge.name"
ICC_OPTION = "com.docker.network.bridge.enable_icc"
LINK_LOCAL = "169.254.0.0/16"
TRIES = 3
LOCK_SECONDS = 20  # that others may hold the packet filter
IPTABLES_SECONDS = 30


def check_name(name: str) -> None:
    """Raises ValueError for what would share a network namespace, or is no network's name."""
    if name == "host" or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(f"not a network for replicas: {name!r}")


def bridge_name(name: str) -> str:
    """The interface of our network of this name: 11 of the 15 characters that Linux allows."""
    return f"oj-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def ensure(api: Any, name: str) -> None:
    """Makes the network if there is none of this name, and its packet filter rules.

    Raises ValueError, EngineTrouble, EngineUnavailable.
    """
    check_name(name)
    if name in ENGINES_OWN:
        return
    with translated():
        network = _settle(api, name) or _make(api, name)
    if LABEL in (network.get("Labels") or {}):
        shield(_interface(network))
    else:
        _warn(f"network {name} was not made by us: what its containers reach is up to it")


def rules(interface: str) -> list[tuple[str, ...]]:
    """The packet filter rules of a bridge, each as (chain, match and target...); in any order."""
    started_inside = ("-m", "conntrack", "!", "--ctstate", "ESTABLISHED,RELATED")
    made: list[tuple[str, ...]] = []
    for protocol in ("tcp", "udp"):
        all_but_dns = ("-i", interface, "-p", protocol, "!", "--dport", "53")
        made.append(("INPUT", *all_but_dns, *started_inside, "-j", "DROP"))
        made.append(("DOCKER-USER", *all_but_dns, "-d", LINK_LOCAL, "-j", "DROP"))
    return made


def shield(interface: str) -> None:
    """Adds the rules that are missing, as far as this process can.

    Workers that start at once may add one twice, which changes nothing.
    """
    obstacle = _obstacle(interface)
    if obstacle is None:
        failures = [words for rule in rules(interface) if (words := _add(rule))]
        obstacle = failures[0] if failures else None
    if obstacle is not None:
        _warn(
            f"replicas on {interface} can reach services of this machine and {LINK_LOCAL}: "
            f"{obstacle}"
        )


def _settle(api: Any, name: str) -> Mapping[str, Any] | None:
    """The one network of this name, if there is one.

    Workers that start at once can make two, and no container could start on either: the one with
    the smallest id stays, which all that look agree on.
    """
    # The engine's own filter also finds parts of names.
    named = [n for n in api.networks(names=[name]) if n["Name"] == name]
    named.sort(key=lambda n: str(n["Id"]))
    for twin in named[1:]:
        if LABEL in (twin.get("Labels") or {}):
            _remove(api, twin["Id"])
    return named[0] if named else None


def _remove(api: Any, id: str) -> None:
    try:
        api.remove_network(id)
    except docker.errors.NotFound:
        return  # another worker did
    except docker.errors.APIError as error:
        _warn(f"two networks of one name: {error.explanation}")  # it is in use: a person's turn


def _make(api: Any, name: str) -> Mapping[str, Any]:
    refusal: Exception | None = None
    for _ in range(TRIES):
        try:
            _create(api, name)
        except docker.errors.APIError as error:
            # 409: there is one of this name; 403: one with its bridge. Others were faster.
            if answered(error) not in (403, 409):
                raise
            refusal = error
        network = _settle(api, name)
        if network is not None:
            return network
    raise EngineTrouble(f"network {name} can't be made: {refusal}")


def _create(api: Any, name: str) -> None:
    options = {BRIDGE_OPTION: bridge_name(name), ICC_OPTION: "false"}
    api.create_network(
        name, driver="bridge", options=options, labels={LABEL: "true"}, check_duplicate=True
    )


def _interface(network: Mapping[str, Any]) -> str:
    options = network.get("Options") or {}
    return str(options.get(BRIDGE_OPTION) or f"br-{network['Id'][:12]}")


def _obstacle(interface: str) -> str | None:
    if os.geteuid() != 0:
        return "this worker is not root, and can't add packet filter rules"
    try:
        socket.if_nametoindex(interface)
    except OSError:
        return "this worker is not in the network namespace of the engine's host"
    return None if shutil.which("iptables") else "there is no iptables"


def _add(rule: tuple[str, ...]) -> str:
    """Adds a rule unless it is there; the words of iptables if that failed."""
    chain, *match = rule
    if _iptables("-C", chain, *match) == "":
        return ""
    return _iptables("-I", chain, *match)


def _iptables(*arguments: str) -> str:
    command = ["iptables", "-w", str(LOCK_SECONDS), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=IPTABLES_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"iptables: {done.returncode}"


@lru_cache(maxsize=64)
def _warn(text: str) -> None:
    """Once per process is enough."""
    logger.warning("%s", text)
