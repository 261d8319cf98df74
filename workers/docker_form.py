"""From our words to the engine's, and back. Pure functions, by the Engine API 1.41 and later."""

import re
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workers.docker_network import check_name
from workers.engine import (
    DEADLINE_LABEL,
    ROOM_LABEL,
    Container,
    ContainerSpec,
    Exit,
    Image,
    Mount,
    Phase,
)

LOG_BOUNDS = {"max-size": "10m", "max-file": "2"}
ENDED = frozenset({"exited", "dead", "removing"})

# What images that start as root need: entrypoints that hand directories over and give up root,
# servers that listen below 1024, and the usher (KILL) to end an app that changed its user. Not
# among them, of Docker's defaults: NET_RAW (forged packets on the bridge), MKNOD, SETFCAP,
# SETPCAP, SYS_CHROOT, AUDIT_WRITE.
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
)

# The engine switches IPv6 off on networks without it, on loopback too: an app that listens on ::1
# alone could not start.
_HAS_IPV6 = Path("/proc/sys/net/ipv6").is_dir()
SYSCTLS = {"net.ipv6.conf.lo.disable_ipv6": "0"} if _HAS_IPV6 else {}


def create_arguments(spec: ContainerSpec) -> dict[str, Any]:
    """The body of the engine's "create a container" (API 1.41). Raises ValueError for "host"."""
    return {
        "Image": spec.image,
        "Entrypoint": list(spec.argv),  # given: the image's Cmd is not taken over either
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "Labels": dict(spec.labels),
        "StopSignal": str(spec.stop_signal),
        "StopTimeout": spec.stop_grace_seconds,
        "Healthcheck": {"Test": ["NONE"]},  # the usher asks for health; the image's would too
        "HostConfig": _host_config(spec),
    }


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    check_name(spec.network)
    return {
        "NetworkMode": spec.network,
        "Mounts": [_mount(mount) for mount in spec.mounts],
        "LogConfig": {"Type": "json-file", "Config": LOG_BOUNDS},
        # The engine must never start a job again, nor remove what nobody has looked at.
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "Init": False,  # the usher is process 1 and reaps
        "Privileged": False,
        "IpcMode": "private",
        "Sysctls": SYSCTLS,
        "CapDrop": ["ALL"],
        "CapAdd": list(CAPABILITIES),
        "SecurityOpt": ["no-new-privileges"],
        **({"Runtime": spec.runtime} if spec.runtime else {}),
        **_limit_config(spec),
    }


def _limit_config(spec: ContainerSpec) -> dict[str, Any]:
    limits = spec.limits
    config: dict[str, Any] = {
        "NanoCpus": round(limits.cpus * 1e9),
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,  # memory and swap together: no swap
        "PidsLimit": limits.pids,
        "ShmSize": limits.shm_bytes,
    }
    if limits.gpus:
        # By name: a count would give every container the same first ones.
        devices = {"DeviceIDs": list(limits.gpus), "Capabilities": [["gpu"]]}
        config["DeviceRequests"] = [devices]
    return config


def _mount(mount: Mount) -> dict[str, Any]:
    """An entry of Mounts: unlike Binds, it does not make a source that is missing."""
    made = {"Type": mount.type, "Target": mount.target, "ReadOnly": mount.read_only}
    return made | ({"Source": mount.source} if mount.source else {})


def image_of(inspected: Mapping[str, Any]) -> Image:
    """From the engine's description of an image."""
    config = inspected.get("Config") or {}
    return Image(
        id=inspected["Id"],
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        stop_signal=signal_number(config.get("StopSignal") or ""),
    )


def signal_number(text: str) -> int:
    """The number of "SIGTERM", "TERM", "15" or "SIGRTMIN+3"; 15 for what is none."""
    name = text.upper().removeprefix("SIG")
    number = signal.Signals.__members__.get(f"SIG{name}", 0)
    if text.isdecimal():
        number = int(text)
    # As images with systemd in them say it.
    elif real_time := re.fullmatch(r"(RTMIN|RTMAX)([+-]\d{1,2})", name):
        number = signal.Signals[f"SIG{real_time[1]}"] + int(real_time[2])
    return int(number) if 0 < number < signal.NSIG else int(signal.SIGTERM)


def container_of(inspected: Mapping[str, Any]) -> Container:
    """From the engine's full description of a container."""
    state = inspected["State"]
    started_at = _instant(state["StartedAt"])
    phase = _phase(state["Status"])
    if started_at is None and phase is Phase.EXITED:
        phase = Phase.CREATED  # dead, or being removed, before it ever ran
    ended = phase is Phase.EXITED
    return Container(
        id=inspected["Id"],
        name=inspected["Name"].removeprefix("/"),
        phase=phase,
        started_at=started_at,
        created_at=_instant(inspected["Created"]),
        exit=Exit(state["ExitCode"], bool(state["OOMKilled"])) if ended else None,
        finished_at=_instant(state["FinishedAt"]) if ended else None,
    )


def listed_container(entry: Mapping[str, Any]) -> Container:
    """From an entry of the engine's listing; "" is the name of one that is being removed."""
    names = entry.get("Names") or [""]
    labels = entry.get("Labels") or {}
    deadline = labels.get(DEADLINE_LABEL, "")
    return Container(
        id=entry["Id"],
        name=names[0].removeprefix("/"),
        phase=_phase(entry["State"]),
        created_at=datetime.fromtimestamp(entry["Created"], UTC),
        deadline_seconds=int(deadline) if deadline.isdecimal() else None,
        room=labels.get(ROOM_LABEL, ""),
    )


def _phase(status: str) -> Phase:
    if status == "created":
        return Phase.CREATED
    # A status that we do not know is no proof of an end.
    return Phase.EXITED if status in ENDED else Phase.RUNNING


def _instant(text: str) -> datetime | None:
    """An instant as the engine writes it, in nanoseconds; its year 1 means never."""
    return None if text.startswith("0001-") else datetime.fromisoformat(text)
