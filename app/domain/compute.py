"""Compute resources: what a deployment may ask for by name, and what it gets per unit of size.

The operator names them in a TOML file:

    [cpu]
    cpus = 1
    memory_mb = 2048

    ["Tesla V100"]
    cpus = 6
    memory_mb = 24000
    gpus = 1
    network = "none"
    runtime = "nvidia"
    labels = { team = "vision" }
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

LABEL_PREFIX = "onejob."  # of ours; and the engine's own begin with these
_RESERVED = re.compile(r"(onejob|(com|io|org)\.(docker|dockerproject))\.")


class ComputeError(ValueError):
    """A compute file can't be used; the text names the entry and what is allowed."""


def _free_label(name: str) -> str:
    if not name or _RESERVED.match(name):
        raise ValueError("must not be empty, nor begin with onejob. or a prefix of the engine's")
    return name


class ComputeResource(BaseModel):
    """One unit of a compute resource; a deployment's `size` multiplies it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: float = Field(1, gt=0, le=1024)
    memory_mb: int = Field(2048, ge=8, le=8 * 1024 * 1024)  # times the size it is a file's size
    gpus: int = Field(0, ge=0, le=64)  # whole devices
    network: Literal["own", "none"] = "own"  # none: no network but loopback
    runtime: str | None = Field(None, min_length=1)  # of the engine: runsc, nvidia …; its default
    labels: dict[Annotated[str, AfterValidator(_free_label)], str] = {}  # of its containers


DEFAULT = {"cpu": ComputeResource()}


@dataclass(frozen=True)
class Capacity:
    """What one machine has for replicas."""

    cpus: float
    memory_mb: int
    gpus: tuple[str, ...] = ()  # each device as the engine knows it


@dataclass(frozen=True)
class Offer:
    """What one machine runs: its capacity, and the compute resources that are parts of it."""

    capacity: Capacity
    compute: Mapping[str, ComputeResource] = field(default_factory=lambda: dict(DEFAULT))

    @cached_property
    def text(self) -> str:
        """The offer as the ledger's scripts read it: processors are in thousandths."""
        whole = self.capacity
        units = {n: [_milli(r.cpus), r.memory_mb, r.gpus] for n, r in self.compute.items()}
        return json.dumps(
            {
                "cpus": _milli(whole.cpus),
                "memory": whole.memory_mb,
                "gpus": whole.gpus,
                "compute": units,
            }
        )

    def too_small_for(self) -> list[str]:
        """Compute resources of which this machine has not even one unit."""
        whole = self.capacity
        return [
            name
            for name, unit in self.compute.items()
            if unit.cpus > whole.cpus
            or unit.memory_mb > whole.memory_mb
            or unit.gpus > len(whole.gpus)
        ]


def reservation(unit: ComputeResource, size: int, gpus: Iterable[str]) -> str:
    """What a replica has of its machine, as the ledger's scripts write it."""
    return f"{_milli(unit.cpus) * size} {unit.memory_mb * size} {','.join(gpus)}"


def _milli(cpus: float) -> int:
    return max(1, round(cpus * 1000))


def parse_resources(text: str) -> dict[str, ComputeResource]:
    """The resources of a compute file by name; one named `cpu` if it is empty.

    Raises ComputeError with a line for each error.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ComputeError(f"the compute file is not TOML: {error}") from error
    if not tables:
        return dict(DEFAULT)
    errors = [error for name, table in tables.items() for error in _errors(name, table)]
    if errors:
        raise ComputeError("\n".join(errors))
    return {name: ComputeResource.model_validate(table) for name, table in tables.items()}


def _errors(name: str, table: object) -> list[str]:
    """All that is wrong with one entry, a line for each."""
    errors = []
    if not name.isprintable() or not 0 < len(name) <= 64:
        errors.append(f"compute {name!r}: a name has 1 to 64 printable characters")
    try:
        ComputeResource.model_validate(table)
    except ValidationError as error:
        for e in error.errors():
            errors.append(": ".join([f"compute {name!r}", *map(str, e["loc"]), e["msg"]]))
    return errors
