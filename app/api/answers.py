"""The forms of answers, for the API's document; the tests hold every answer against them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from app.domain.deployment import (
    Compute,
    EntrypointOverrides,
    EnvironmentVariable,
    Healthcheck,
    RegistrySettings,
    Scaling,
)
from app.domain.members import Port
from app.domain.retries import RetryPolicy
from app.domain.volumes import VolumeMount


class Error(BaseModel):
    """Every error, whatever its status."""

    code: str
    message: str


class StatusOut(BaseModel):
    """What a deployment is doing."""

    status: Literal["running", "paused", "terminating"]


class ImageOut(BaseModel):
    """An image, and since when it is the deployment's."""

    image: str
    last_updated_at: datetime


class ContainerOut(BaseModel):
    """A deployment's container; its name is the system's."""

    name: str
    image: ImageOut
    exposed_port: Port
    should_use_cached_image: bool
    healthcheck: Healthcheck
    entrypoint_overrides: EntrypointOverrides
    env: tuple[EnvironmentVariable, ...]
    volume_mounts: tuple[VolumeMount, ...]


class SummaryOut(BaseModel):
    """A deployment as the list shows it."""

    name: str
    created_at: datetime
    created_by_user_id: str
    compute: Compute


class DeploymentOut(SummaryOut):
    """A deployment; all of this may be sent back."""

    containers: tuple[ContainerOut, ...]
    container_registry_settings: RegistrySettings
    scaling: Scaling
    startup_seconds: int | None
    retry_policy: RetryPolicy | None
    endpoint_base_url: str


class DeletedOut(BaseModel):
    """Whether it is gone, or its jobs still are to end."""

    name: str
    status: Literal["deleted", "terminating"]


class TokenOut(BaseModel):
    """An access token."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    scope: str


class KeyOut(BaseModel):
    """An inference key, but not the key itself."""

    id: str
    name: str
    created_at: datetime | None


class NewKeyOut(KeyOut):
    """An inference key; `key` is shown this once."""

    key: str


class RevokedOut(BaseModel):
    """A key that is none any more."""

    id: str
    status: Literal["revoked"]


class ResourceOut(BaseModel):
    """A compute resource; available where a machine that has it takes jobs now."""

    name: str
    size: int
    is_available: bool


class CpuOut(BaseModel):
    """Processors of one unit."""

    description: str
    number_of_cores: int


class GpuOut(BaseModel):
    """Devices of one unit."""

    description: str
    number_of_gpus: int


class MemoryOut(BaseModel):
    """Memory of one unit."""

    description: str
    size_in_gigabytes: int


class ContainerTypeOut(BaseModel):
    """One unit of a compute resource."""

    id: str
    model: str
    name: str
    instance_type: str
    cpu: CpuOut
    gpu: GpuOut
    gpu_memory: MemoryOut
    memory: MemoryOut
    serverless_price: float
    serverless_spot_price: float
    manufacturer: str
    currency: Literal["usd", "eur"]


class HealthOut(BaseModel):
    """It lives."""

    status: Literal["ok"]


class DeploymentHealthOut(BaseModel):
    """Why a deployment takes no job to its end just now."""

    status: Literal["paused", "terminating"]


class ReadyOut(BaseModel):
    """What is missing, and what could be better."""

    status: Literal["ok", "degraded"]
    missing: list[str]
    notes: list[str]


class StoredOut(BaseModel):
    """What is told of registry credentials: never what is in them."""

    name: str
    created_at: datetime


class SecretOut(StoredOut):
    """What is told of a secret: never its value."""

    secret_type: Literal["generic"]


class FileSecretOut(StoredOut):
    """What is told of a file-secret: never what is in its files."""

    secret_type: Literal["file-secret"]
    file_names: tuple[str, ...]


class ForgottenOut(BaseModel):
    """It is gone."""

    name: str
    status: Literal["deleted"]


class LineOut(BaseModel):
    """A line that a replica printed. `timestamp` is in nanoseconds since the epoch."""

    timestamp: int
    container_name: str
    replica: str | None
    stream: Literal["stdout", "stderr"]
    message: str


class SystemEventOut(BaseModel):
    """Something that the platform did. `timestamp` is in nanoseconds since the epoch."""

    timestamp: int
    reason: str
    message: str
    involved_object: str
    count: int
