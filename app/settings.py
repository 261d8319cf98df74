"""Every setting, read from the environment once and checked whole: all errors are told at once.

A setting `x` is the variable `ONEJOB_X`. `ONEJOB_X_FILE` names a file that holds the value
instead, so that a secret need not stand in an environment.
"""

import base64
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

PREFIX = "ONEJOB_"
MIB = 1024 * 1024
DAY = 24 * 3600

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * DAY)]
WholeSeconds = Annotated[int, Field(ge=1, le=10 * 365 * DAY)]
Port = Annotated[int, Field(ge=1, le=65535)]
_ADDRESS = re.compile(
    r"(?:[A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})|unix:.+|fd://[0-9]+"
)


# What a rediss:// URL may say. Celery, kombu, redis-py and Flower each know more, none the same.
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_WORDS = {
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false"),
}


class SettingsError(Exception):
    """Settings are missing or wrong; the text has a line for each."""


class Settings(BaseModel):
    """The settings of all processes; each reads what it needs."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    # shared
    redis_url: str = "redis://127.0.0.1:6379/0"
    compute_file: Path | None = None  # TOML, see app/domain/compute.py

    # Encrypts secrets in the ledger: Fernet keys with commas between them. The first encrypts, all
    # decrypt.
    secrets_key: str | None = Field(None, min_length=1)
    volumes_file: Path | None = None  # TOML, see app/domain/shared.py

    # the API
    bind: str = "127.0.0.1:8080"
    public_url: str = "http://127.0.0.1:8080"
    api_workers: int = Field(2, ge=1, le=64)
    api_threads: int = Field(16, ge=1, le=1024)
    client_id: str | None = Field(None, min_length=1)  # of the control plane
    client_secret: str | None = Field(None, min_length=16)
    token_secret: str | None = Field(None, min_length=32)  # signs access tokens
    token_seconds: WholeSeconds = 3600
    refresh_seconds: WholeSeconds = 30 * DAY
    request_limit_bytes: int = Field(32 * MIB, ge=0)
    memory_limit_bytes: int | None = Field(None, ge=1)  # of Redis; above it nothing new is taken
    queue_limit: int = Field(100_000, ge=1)  # jobs that may wait in one deployment
    result_retention_seconds: WholeSeconds = 7 * DAY
    record_retention_seconds: WholeSeconds = 30 * DAY
    head_seconds: Seconds = 10  # for a client to send a request's head
    body_seconds: Seconds = 60  # the longest pause of a client that sends or takes a body
    # That an answer may wait for the result. A little less than the SDK's patience, 300 s.
    hold_seconds: float = Field(290, ge=0, le=DAY)
    held_connections: int = Field(256, ge=0, le=1000)  # of one process; beyond it nobody waits
    followers: int = Field(64, ge=0, le=1000)  # of logs, in one process
    # That an answer waits for what replicas printed: a worker hears of it within 1 s, and looks
    # 0.7 s later.
    log_wait_seconds: float = Field(3, ge=0, le=60)
    hint_seconds: Seconds = 5  # before a message that seems lost is published again
    prepull: bool = False  # a new deployment's image is pulled before its first job

    # the workers
    spool_root: Path = Path("/var/lib/onejob/spool")
    secrets_root: Path = Path("/dev/shm/onejob")  # in memory; files of secrets, for replicas
    ecr_endpoint: str | None = None  # of AWS, to get a login for its registry; its own by region
    docker_host: str | None = None
    network: str = Field("onejob", pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")
    concurrency: int = Field(100, ge=1, le=10_000)  # jobs that one worker supervises at once
    # What this machine has for replicas; not given: all that the engine says it has.
    node_cpus: float | None = Field(None, gt=0, le=100_000)
    node_memory_mb: int | None = Field(None, ge=8)
    node_gpus: str | None = None  # devices, with commas between them, or "none"
    own_replicas: bool = False  # a worker that stops ends its replicas, too
    lease_seconds: Seconds = 10
    sweep_seconds: Seconds = 1
    # Of silence, before a machine counts as lost (it gives a sign of life every 3 s); and of
    # failures, before its engine is no longer waited for.
    node_timeout_seconds: float = Field(60, ge=6, le=10 * 365 * DAY)
    free_lost_slots: bool = False  # then at once, though its replicas may still run
    stop_grace_seconds: float = Field(10, ge=0, le=3600)
    health_timeout_seconds: Seconds = 2
    response_limit_bytes: int = Field(256 * MIB, ge=0)
    # Of what a replica printed, with an instant for each line: the last part.
    log_limit_bytes: int = Field(MIB, ge=0, le=10 * MIB)
    max_attempts: int = Field(3, ge=1, le=100)
    pids_limit: int = Field(4096, ge=1)
    pull_seconds: Seconds = 1800  # for one image, to its last byte
    pull_stall_seconds: Seconds = 300  # the longest pause of a pull
    # Of the images that were pulled here: unset, none is ever removed.
    images_max_age_seconds: Seconds | None = None  # since a job last wanted it
    images_disk_percent: float | None = Field(None, gt=0, lt=100)  # of the disk they lie on

    # Flower
    flower_password: str | None = Field(None, min_length=1)
    flower_port: Port = 5555

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://")):  # Celery knows no other
            raise ValueError("must begin with redis:// or rediss://")
        try:
            url = urlsplit(value)
        except ValueError:
            raise ValueError("is no URL") from None  # the error may quote the password
        if url.query and url.scheme == "redis":
            raise ValueError("takes no parameters, unless it begins with rediss://")
        for name, given in parse_qsl(url.query, keep_blank_values=True):
            _check_tls(name, given)
        return value

    @field_validator("secrets_key")
    @classmethod
    def _has_fernet_keys(cls, value: str | None) -> str | None:
        if value is not None and not all(map(_is_fernet_key, value.split(","))):
            raise ValueError("must be 32 random bytes in URL-safe base64, or several with commas")
        return value

    @field_validator("bind")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        match = _ADDRESS.fullmatch(value)
        if match is None or int(match["port"] or 0) > 65535:
            raise ValueError("must be host:port, [IPv6 address]:port, unix:path or fd://number")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_a_base_url(cls, value: str) -> str:
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("must be http://host[:port][/path] or https://host[:port][/path]")
        return value.rstrip("/")

    @field_validator("network")
    @classmethod
    def _keeps_replicas_apart(cls, value: str) -> str:
        if value in ("host", "bridge", "default"):
            raise ValueError("must be a network of Onejob's own")
        return value

    def require(self, *names: str) -> None:
        """Raises SettingsError naming all of these settings that are not given."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise SettingsError("\n".join(f"{variable(name)} is missing" for name in missing))

    def compute_toml(self) -> str:
        """The text of the compute file, empty if none is set. Raises SettingsError."""
        return _toml("compute_file", self.compute_file)

    def volumes_toml(self) -> str:
        """The text of the volumes file, empty if none is set. Raises SettingsError."""
        return _toml("volumes_file", self.volumes_file)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment. Raises SettingsError with a line for each error."""
    values, errors = _values(os.environ if environ is None else environ)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        errors += [f"{variable(str(e['loc'][0]))}: {e['msg']}" for e in error.errors()]
    if errors:
        raise SettingsError("\n".join(errors))
    return settings


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _values(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    errors: list[str] = []
    for name in Settings.model_fields:
        key = variable(name)
        value = environ.get(key)  # an empty one is one that is not given
        if file := environ.get(f"{key}_FILE"):
            if value:
                errors.append(f"{key} and {key}_FILE are both given")
            try:
                value = _from_file(file)
            except (OSError, ValueError) as error:
                errors.append(f"{key}_FILE: {error}")
                continue
        if value:
            values[name] = value
    return values, errors


def _toml(name: str, path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable(name)}: {error}") from error


def _is_fernet_key(text: str) -> bool:
    with suppress(ValueError):
        key = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
        return len(key) == 32
    return False


def _from_file(path: str) -> str:
    """A file's text without the end of its last line. Raises OSError, ValueError."""
    text = Path(path).read_text().rstrip("\r\n")
    if not text:
        raise ValueError(f"{path} is empty")
    return text


def _check_tls(name: str, value: str) -> None:
    """Raises ValueError unless that may stand in a URL; TLS's own errors name no file."""
    if name in _TLS_FILES:
        if not os.access(value, os.R_OK):
            raise ValueError(f"{name} names no file that can be read")
    elif name not in _TLS_WORDS:
        raise ValueError(f"may have the parameters {', '.join((*_TLS_FILES, *_TLS_WORDS))}")
    elif value not in _TLS_WORDS[name]:
        raise ValueError(f"{name} must be {', '.join(_TLS_WORDS[name])}")
