"""What clients store for their deployments, and never read again: values, and files."""

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from app.domain.members import Member, Text

VALUE_CHARACTERS = 65_536

SecretName = Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]


class SecretMember(Member):
    """Nothing of it is shown in an error or in a log."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return [(name, value) for name, value in super().__repr_args__() if name == "name"]


def _a_file_name(value: str) -> str:
    if value in (".", "..") or not 0 < len(value.encode()) <= 255:
        raise ValueError("must be the name of a file, of at most 255 bytes")
    return value


FileName = Annotated[Text, Field(pattern=r"^[^/\x00-\x1f\x7f]+$"), AfterValidator(_a_file_name)]


class NewSecret(SecretMember):
    """A value, for variables of an environment."""

    name: SecretName
    value: Annotated[Text, Field(pattern=r"^[^\x00]*$", max_length=VALUE_CHARACTERS)]


class SecretFile(SecretMember):
    """One file."""

    file_name: FileName
    base64_content: Text

    @field_validator("base64_content")
    @classmethod
    def _is_base64(cls, value: str) -> str:
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("must be base64") from None
        return value


class NewFileSecret(SecretMember):
    """Files, for a directory of a container."""

    name: SecretName
    files: Annotated[tuple[SecretFile, ...], Field(min_length=1, max_length=1000)]

    @field_validator("files")
    @classmethod
    def _one_of_a_name(cls, value: tuple[SecretFile, ...]) -> tuple[SecretFile, ...]:
        if len({file.file_name for file in value}) < len(value):
            raise ValueError("must have one file for each file_name")
        return value
