"""What a container finds mounted: directories, memory, files of a secret."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, ValidationInfo, field_validator, model_validator

from app.domain.members import AbsolutePath, Member, Text, Whole, known

MEMORY_MB = tuple(2**n for n in range(6, 16))


class ScratchMount(Member):
    """An empty directory of one job alone."""

    type: Literal["scratch"]
    mount_path: AbsolutePath


class MemoryMount(Member):
    """Shared memory."""

    type: Literal["memory"]
    size_in_mb: Annotated[Whole, Field(json_schema_extra={"enum": [*MEMORY_MB]})] = 64
    mount_path: Literal["/dev/shm"] = "/dev/shm"

    @field_validator("size_in_mb")
    @classmethod
    def _is_a_power_of_two(cls, value: int) -> int:
        if value not in MEMORY_MB:
            raise ValueError(f"must be one of {', '.join(map(str, MEMORY_MB))}")
        return value


class SecretMount(Member):
    """The files of a file-secret."""

    type: Literal["secret"]
    mount_path: AbsolutePath
    secret_name: Annotated[Text, Field(min_length=1)]
    file_names: tuple[Text, ...] = ()  # none named: all

    @field_validator("secret_name")
    @classmethod
    def _secret_isknown(cls, value: str, info: ValidationInfo) -> str:
        return known(info, "file_secrets", value, "file-secret")


class SharedMount(Member):
    """A directory that the operator has named."""

    type: Literal["shared"]
    mount_path: AbsolutePath
    volume_id: Annotated[Text, Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _also_in_camel_case(cls, value: Any) -> Any:
        if isinstance(value, dict) and "volumeId" in value:
            return {"volume_id": value["volumeId"]} | value
        return value

    @field_validator("volume_id")
    @classmethod
    def _volume_isknown(cls, value: str, info: ValidationInfo) -> str:
        return known(info, "volumes", value, "shared volume")


VolumeMount = Annotated[
    ScratchMount | MemoryMount | SecretMount | SharedMount, Discriminator("type")
]
