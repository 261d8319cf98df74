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
"""

import tomllib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ComputeError(ValueError):
    """A compute file can't be used; the text names the entry and what is allowed."""


class ComputeResource(BaseModel):
    """One unit of a compute resource; a deployment's `size` multiplies it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: float = Field(1, gt=0, le=1024)
    memory_mb: int = Field(2048, ge=8, le=8 * 1024 * 1024)  # times the size it is a file's size
    gpus: int = Field(0, ge=0, le=64)  # whole devices
    network: Literal["own", "none"] = "own"  # none: no network but loopback


DEFAULT = {"cpu": ComputeResource()}


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
