"""What the parts of a deployment have in common: kinds of values, and what null means."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)


@dataclass(frozen=True)
class Names:
    """The names that a deployment may refer to. Given as the context of a validation.

    At rest a deployment keeps its names, whatever has become of what they stand for.
    """

    compute: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    file_secrets: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()

    def __or__(self, other: "Names") -> "Names":
        """The names of both."""
        kinds = (field.name for field in fields(self))
        return Names(**{kind: getattr(self, kind) | getattr(other, kind) for kind in kinds})


def known(info: ValidationInfo, kind: str, name: str, word: str) -> str:
    """The name, if there is such a thing or it is not asked. Raises ValueError."""
    if not isinstance(info.context, Names):
        return name
    there_are: frozenset[str] = getattr(info.context, kind)
    if name not in there_are:
        listed = f"must be one of {', '.join(sorted(there_are))}"
        raise ValueError(listed if there_are else f"there is no {word} yet")
    return name


def _storable(value: str) -> str:
    """Half of a surrogate pair has no bytes."""
    value.encode()
    return value


def _without_detours(value: str) -> str:
    """The engine would resolve them, and mount something else than what was checked."""
    if {".", ".."} & set(value.split("/")) or "//" in value:
        raise ValueError('must be a path without "//" and without "." and ".." between its slashes')
    return value


# The same for readers of the schema, and what no mount may cover.
_CHARACTER = r"[^/\x00-\x1f\x7f:]"
_FIRST = r"[^./\x00-\x1f\x7f:]"
_PART = rf"/(?:\.?{_FIRST}{_CHARACTER}*|\.\.{_CHARACTER}+)"
_DETOURS_TOLD: dict[str, Any] = {
    "pattern": rf"^(?:{_PART})+/?$",
    "not": {"pattern": r"^/\.onejob(/|$)"},
}
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True), AfterValidator(_storable)]
Port = Annotated[Whole, Field(ge=1, le=65535)]
AbsolutePath = Annotated[
    Text,
    Field(pattern=r"^/[^\x00-\x1f\x7f:]*$", max_length=1024, json_schema_extra=_DETOURS_TOLD),
    AfterValidator(_without_detours),
]


class Member(BaseModel):
    """A part of a deployment, on its way in and at rest."""

    # What is answered has all members, also those that a client may leave out.
    model_config = ConfigDict(
        frozen=True, extra="ignore", json_schema_serialization_defaults_required=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: member for name, member in value.items() if member is not None}
        return value
