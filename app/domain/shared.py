"""Shared volumes: directories of the machines that their operator lets deployments mount, by name.

[datasets]
path = "/srv/datasets"
read_only = true
"""

import tomllib
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from app.domain.members import AbsolutePath, Flag


class VolumesError(ValueError):
    """A volumes file can't be used; the text names the entry and what is allowed."""


class SharedVolume(BaseModel):
    """A directory, under the same path on every machine that has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: AbsolutePath
    read_only: Flag = False


def parse_volumes(text: str) -> dict[str, SharedVolume]:
    """The volumes of a file by name. Raises VolumesError with a line for each error."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise VolumesError(f"the volumes file is not TOML: {error}") from error
    errors = [error for name, table in tables.items() for error in _errors(name, table)]
    if not errors:
        volumes = {name: SharedVolume.model_validate(table) for name, table in tables.items()}
        errors = list(_nested(volumes))
    if errors:
        raise VolumesError("\n".join(errors))
    return volumes


def _errors(name: str, table: object) -> list[str]:
    errors = []
    if not name.isprintable() or not 0 < len(name) <= 64:
        errors.append(f"volume {name!r}: a name has 1 to 64 printable characters")
    try:
        if SharedVolume.model_validate(table).path.strip("/") == "":
            errors.append(f'volume {name!r}: path: must not be "/"')
    except ValidationError as error:
        for e in error.errors():
            errors.append(": ".join([f"volume {name!r}", *map(str, e["loc"]), e["msg"]]))
    return errors


def _nested(volumes: dict[str, SharedVolume]) -> Iterator[str]:
    """Who may write in the outer one could make the inner one a link to any place."""
    for name, volume in volumes.items():
        for other, outer in volumes.items():
            inner, around = (f"{v.path.rstrip('/')}/" for v in (volume, outer))
            if inner != around and inner.startswith(around):
                yield f"volume {name!r}: path: must not lie within that of {other!r}"
