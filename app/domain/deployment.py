"""What a deployment is: which container, on what, how much of it at once, for how long.

Rules and defaults are the contract's. Unknown members are ignored, and null means not given:
clients send back what they have read.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from app.domain import image
from app.domain.retries import RetryPolicy

LONGEST_SECONDS = 315_360_000  # ten years: no wait is longer
COMMAND_BYTES = 128 * 1024  # entrypoint and command together

RESERVED_NAMES = frozenset(
    {"v1", "status", "result", "health", "ready", "metrics", "console", "docs", "static", "flower"}
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


def _known(info: ValidationInfo, kind: str, name: str, word: str) -> str:
    """The name, if there is such a thing or it is not asked. Raises ValueError."""
    if not isinstance(info.context, Names):
        return name
    known: frozenset[str] = getattr(info.context, kind)
    if name not in known:
        there = f"must be one of {', '.join(sorted(known))}" if known else f"there is no {word} yet"
        raise ValueError(there)
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


Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True), AfterValidator(_storable)]
Port = Annotated[Whole, Field(ge=1, le=65535)]
AbsolutePath = Annotated[
    Text,
    Field(pattern=r"^/[^\x00-\x1f\x7f:]*$", max_length=1024),
    AfterValidator(_without_detours),
]


class Member(BaseModel):
    """A part of a deployment, on its way in and at rest."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: member for name, member in value.items() if member is not None}
        return value


def _image_reference(value: Any) -> Any:
    """Clients send an image as a string, or as the object that they have read."""
    return value.get("image") if isinstance(value, dict) else value


class Healthcheck(Member):
    """How it is known that the app can take its request."""

    enabled: Flag = True
    port: Port | None = None  # None: the exposed port
    # The usher puts it into a request line as it is.
    path: Annotated[Text, Field(pattern=r"^/[\x21-\x7e]*$", max_length=2000)] = "/health"


class EntrypointOverrides(Member):
    """What is run instead of the image's own entrypoint and command."""

    enabled: Flag = False
    entrypoint: tuple[Text, ...] = ()
    cmd: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _fits_into_a_command(self) -> "EntrypointOverrides":
        words = (*self.entrypoint, *self.cmd)
        if any("\0" in word for word in words):
            raise ValueError("no argument may have a NUL character")
        if sum(len(word.encode()) + 1 for word in words) > COMMAND_BYTES:
            raise ValueError(f"entrypoint and cmd together may have {COMMAND_BYTES} bytes")
        return self


class EnvironmentVariable(Member):
    """One variable: its value, or the name of the secret that has it."""

    name: Annotated[Text, Field(pattern=r"^[^=\x00]+$", max_length=256)]
    type: Literal["plain", "secret"] = "plain"  # before the value: that is read by it
    value_or_reference_to_secret: Annotated[Text, Field(pattern=r"^[^\x00]*$", max_length=65536)]

    @field_validator("value_or_reference_to_secret")
    @classmethod
    def _secret_is_known(cls, value: str, info: ValidationInfo) -> str:
        is_secret = info.data.get("type") == "secret"
        return _known(info, "secrets", value, "secret") if is_secret else value


class ScratchMount(Member):
    """An empty directory of one job alone."""

    type: Literal["scratch"]
    mount_path: AbsolutePath


class MemoryMount(Member):
    """Shared memory."""

    type: Literal["memory"]
    size_in_mb: Whole = 64
    mount_path: Literal["/dev/shm"] = "/dev/shm"

    @field_validator("size_in_mb")
    @classmethod
    def _is_a_power_of_two(cls, value: int) -> int:
        if value not in (allowed := [2**n for n in range(6, 16)]):
            raise ValueError(f"must be one of {', '.join(map(str, allowed))}")
        return value


class SecretMount(Member):
    """The files of a file-secret."""

    type: Literal["secret"]
    mount_path: AbsolutePath
    secret_name: Annotated[Text, Field(min_length=1)]
    file_names: tuple[Text, ...] = ()  # none named: all

    @field_validator("secret_name")
    @classmethod
    def _secret_is_known(cls, value: str, info: ValidationInfo) -> str:
        return _known(info, "file_secrets", value, "file-secret")


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
    def _volume_is_known(cls, value: str, info: ValidationInfo) -> str:
        return _known(info, "volumes", value, "shared volume")


VolumeMount = Annotated[
    ScratchMount | MemoryMount | SecretMount | SharedMount, Discriminator("type")
]


class Container(Member):
    """What a replica runs."""

    image: Annotated[Text, BeforeValidator(_image_reference)]
    exposed_port: Port
    should_use_cached_image: Flag = True
    healthcheck: Healthcheck = Healthcheck()
    entrypoint_overrides: EntrypointOverrides = EntrypointOverrides()
    env: tuple[EnvironmentVariable, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()

    @field_validator("image")
    @classmethod
    def _says_which_version(cls, value: str) -> str:
        return image.pinned(value)

    @field_validator("healthcheck")
    @classmethod
    def _port_if_it_is_another(cls, value: Healthcheck, info: ValidationInfo) -> Healthcheck:
        """Clients send back the port that they have read, which is the exposed one by default."""
        same = value.port == info.data.get("exposed_port")
        return value.model_copy(update={"port": None}) if same else value

    @field_validator("volume_mounts")
    @classmethod
    def _one_mount_a_path(cls, value: tuple[VolumeMount, ...]) -> tuple[VolumeMount, ...]:
        paths = [mount.mount_path.rstrip("/") for mount in value]
        if len(set(paths)) < len(paths):
            raise ValueError("must have one mount for each mount_path")
        if any(f"{path}/".startswith("/.onejob/") or not path for path in paths):
            raise ValueError('mount_path may be neither "/" nor within "/.onejob"')
        return value


class Compute(Member):
    """Which compute resource, and how many units of it each replica gets."""

    name: Annotated[Text, Field(min_length=1, max_length=64)]
    size: Annotated[Whole, Field(ge=1, le=1024)] = 1

    @field_validator("name")
    @classmethod
    def _is_known(cls, value: str, info: ValidationInfo) -> str:
        return _known(info, "compute", value, "compute resource")


class RegistryCredentials(Member):
    """Credentials by the name they are stored under."""

    name: Annotated[Text, Field(min_length=1)]

    @field_validator("name")
    @classmethod
    def _are_known(cls, value: str, info: ValidationInfo) -> str:
        return _known(info, "credentials", value, "registry credential")


class RegistrySettings(Member):
    """Whether the image has to be pulled with credentials."""

    is_private: Flag = False
    credentials: RegistryCredentials | None = None


class Scaling(Member):
    """How many jobs at once, how long one may wait, how long one may live."""

    max_replica_count: Annotated[Whole, Field(ge=1, le=1_000_000)]
    queue_message_ttl_seconds: Annotated[Whole, Field(ge=1, le=LONGEST_SECONDS)]
    deadline_seconds: Annotated[Whole, Field(ge=1, le=604_800)]


class Deployment(Member):
    """All that a client says about a deployment."""

    name: Annotated[Text, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    containers: tuple[Container, ...]
    compute: Compute
    container_registry_settings: RegistrySettings = RegistrySettings()
    scaling: Scaling
    startup_seconds: Annotated[Whole, Field(ge=1, le=604_800)] | None = None
    retry_policy: RetryPolicy | None = None

    @field_validator("containers", mode="before")
    @classmethod
    def _exactly_one(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) != 1:
            raise ValueError(f"must be a list of exactly one container, not of {len(value)}")
        return value

    @field_validator("name")
    @classmethod
    def _is_no_word_of_ours(cls, value: str) -> str:
        if value in RESERVED_NAMES:
            raise ValueError(f"must not be one of {', '.join(sorted(RESERVED_NAMES))}")
        return value
