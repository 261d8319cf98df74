"""What a deployment is: which container, on what, how much of it at once, for how long.

Rules and defaults are the contract's. Unknown members are ignored, and null means not given:
clients send back what they have read.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from app.domain import image
from app.domain.members import Flag, Member, Port, Text, Whole, known
from app.domain.retries import RetryPolicy
from app.domain.volumes import VolumeMount

LONGEST_SECONDS = 315_360_000  # ten years: no wait is longer
COMMAND_BYTES = 128 * 1024  # entrypoint and command together

RESERVED_NAMES = frozenset(
    {"v1", "status", "result", "health", "ready", "metrics", "console", "docs", "static", "flower"}
)


def image_reference(value: Any) -> Any:
    """Clients send an image as a string, or as the object that they have read."""
    return value.get("image") if isinstance(value, dict) else value


_READ = {"type": "object", "properties": {"image": image.SCHEMA}, "required": ["image"]}
IMAGE_SCHEMA: dict[str, Any] = {"anyOf": [image.SCHEMA, _READ]}
Image = Annotated[Text, BeforeValidator(image_reference), WithJsonSchema(IMAGE_SCHEMA)]


class Healthcheck(Member):
    """How it is known that the app can take its request."""

    enabled: Flag = True
    port: Port | None = None  # None: the exposed port
    # The usher puts it into a request line as it is.
    path: Annotated[Text, Field(pattern=r"^/[\x21-\x7e]*$", max_length=2000)] = "/health"


Argument = Annotated[Text, WithJsonSchema({"type": "string", "pattern": r"^[^\x00]*$"})]


class EntrypointOverrides(Member):
    """What is run instead of the image's own entrypoint and command."""

    enabled: Flag = False
    entrypoint: tuple[Argument, ...] = ()
    cmd: tuple[Argument, ...] = ()

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
    def _secret_isknown(cls, value: str, info: ValidationInfo) -> str:
        is_secret = info.data.get("type") == "secret"
        return known(info, "secrets", value, "secret") if is_secret else value


class Container(Member):
    """What a replica runs."""

    image: Image
    exposed_port: Port
    should_use_cached_image: Flag = True
    healthcheck: Healthcheck = Healthcheck()
    entrypoint_overrides: EntrypointOverrides = EntrypointOverrides()
    env: tuple[EnvironmentVariable, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()  # each with a mount_path of its own

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
    def _isknown(cls, value: str, info: ValidationInfo) -> str:
        return known(info, "compute", value, "compute resource")


class RegistryCredentials(Member):
    """Credentials by the name they are stored under."""

    name: Annotated[Text, Field(min_length=1)]

    @field_validator("name")
    @classmethod
    def _areknown(cls, value: str, info: ValidationInfo) -> str:
        return known(info, "credentials", value, "registry credential")


class RegistrySettings(Member):
    """Whether the image has to be pulled with credentials."""

    is_private: Flag = False
    credentials: RegistryCredentials | None = None


class Scaling(Member):
    """How many jobs at once, how long one may wait, how long one may live."""

    max_replica_count: Annotated[Whole, Field(ge=1, le=1_000_000)]
    queue_message_ttl_seconds: Annotated[Whole, Field(ge=1, le=LONGEST_SECONDS)]
    deadline_seconds: Annotated[Whole, Field(ge=1, le=604_800)]


Name = Annotated[
    Text,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        max_length=63,
        json_schema_extra={"not": {"enum": sorted(RESERVED_NAMES)}},
    ),
]


class Deployment(Member):
    """All that a client says about a deployment."""

    name: Name
    containers: Annotated[
        tuple[Container, ...], Field(json_schema_extra={"minItems": 1, "maxItems": 1})
    ]
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
