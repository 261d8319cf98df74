"""Credentials of image registries: what clients store of them, and for which registry each is.

A password is sent to no registry that it is not for. Those of type `verda` name none: they go
where the image is.
"""

import base64
import binascii
import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, TypeAdapter, field_validator, model_validator

from app.domain.members import Text
from app.domain.secrets import SecretMember, SecretName

DOCKER_HUB = "docker.io"
_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_HOST = r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$"

Hidden = Annotated[Text, Field(min_length=1, max_length=65_536)]
Login = tuple[str, str]  # user name and password


class NotForThisRegistry(Exception):
    """The credentials are for another registry; the text says which one."""


class _Credentials(SecretMember):
    name: SecretName

    @abstractmethod
    def hosts(self) -> str:
        """The registries that they are for, in words."""

    @abstractmethod
    def fits(self, host: str) -> bool:
        """Whether they are for this registry."""


class PasswordCredentials(_Credentials):
    """User name and access token, of Docker Hub or GitHub; `verda`: of the image's own registry."""

    type: Literal["dockerhub", "ghcr", "verda"]
    username: Hidden
    access_token: Hidden

    def hosts(self) -> str:
        """See _Credentials."""
        return {"dockerhub": DOCKER_HUB, "ghcr": "ghcr.io"}.get(self.type, "any registry")

    def fits(self, host: str) -> bool:
        """See _Credentials."""
        return self.type == "verda" or host == self.hosts()

    def login(self) -> Login:
        """User name and password."""
        return self.username, self.access_token


class ScalewayCredentials(_Credentials):
    """The secret key of Scaleway's API, by either name."""

    type: Literal["scaleway"]
    scaleway_domain: Annotated[Text, Field(pattern=_HOST, max_length=255)]
    username: Hidden = "nologin"
    scaleway_uuid: Hidden | None = None
    access_token: Hidden | None = None

    @model_validator(mode="after")
    def _has_a_key(self) -> "ScalewayCredentials":
        if not (self.scaleway_uuid or self.access_token):
            raise ValueError("must have scaleway_uuid, the secret key of the API, or access_token")
        return self

    def hosts(self) -> str:
        """See _Credentials."""
        return self.scaleway_domain

    def fits(self, host: str) -> bool:
        """See _Credentials."""
        return host == self.scaleway_domain

    def login(self) -> Login:
        """User name and password."""
        return self.username, self.access_token or self.scaleway_uuid or ""


class GoogleCredentials(_Credentials):
    """The key of a service account, which is the password as it is."""

    type: Literal["gcr"]
    service_account_key: Hidden

    @field_validator("service_account_key")
    @classmethod
    def _is_a_json_object(cls, value: str) -> str:
        _object(value)
        return value

    def hosts(self) -> str:
        """See _Credentials."""
        return "gcr.io, *.gcr.io, *.pkg.dev"

    def fits(self, host: str) -> bool:
        """See _Credentials."""
        return host == "gcr.io" or host.endswith((".gcr.io", ".pkg.dev"))

    def login(self) -> Login:
        """User name and password."""
        return "_json_key", self.service_account_key


class EcrCredentials(_Credentials):
    """A key of AWS. It is exchanged for a login, which is good for some hours."""

    type: Literal["aws-ecr"]
    access_key_id: Annotated[Hidden, Field(pattern=r"^[A-Za-z0-9]+$")]
    secret_access_key: Hidden
    region: Annotated[Text, Field(pattern=r"^[a-z0-9-]+$", max_length=64)]
    # <account>.dkr.ecr.<region>.amazonaws.com, maybe with a repository behind it
    ecr_repo: Annotated[Text, Field(min_length=1, max_length=512)]

    def hosts(self) -> str:
        """See _Credentials."""
        return self.ecr_repo.removeprefix("https://").partition("/")[0]

    def fits(self, host: str) -> bool:
        """See _Credentials."""
        return host == self.hosts()


class CustomCredentials(_Credentials):
    """A `config.json` of Docker's, with logins in its `auths`."""

    type: Literal["custom"]
    docker_config_json: Hidden

    @field_validator("docker_config_json")
    @classmethod
    def _has_logins(cls, value: str) -> str:
        logins = _logins(value)
        if not logins:
            raise ValueError("must have a registry in auths")
        return value

    def hosts(self) -> str:
        """See _Credentials."""
        return ", ".join(sorted(_logins(self.docker_config_json)))

    def fits(self, host: str) -> bool:
        """See _Credentials."""
        return host in _logins(self.docker_config_json)

    def login(self, host: str) -> Login:
        """User name and password for one of its registries. Raises KeyError."""
        return _logins(self.docker_config_json)[host]


NewRegistryCredentials = Annotated[
    PasswordCredentials
    | ScalewayCredentials
    | GoogleCredentials
    | EcrCredentials
    | CustomCredentials,
    Discriminator("type"),
]
CREDENTIALS: TypeAdapter[NewRegistryCredentials] = TypeAdapter(
    NewRegistryCredentials, config=ConfigDict(hide_input_in_errors=True)
)


def registry_of(ref: str) -> str:
    """The host (and port) of the registry that an image's reference names."""
    first, slash, _ = ref.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return DOCKER_HUB if not named or first in _HUB_NAMES else first


def check_registry(credentials: NewRegistryCredentials, ref: str) -> None:
    """Raises NotForThisRegistry where an image's registry is not the credentials' own."""
    host = registry_of(ref)
    if not credentials.fits(host):
        raise NotForThisRegistry(
            f"the registry credential {credentials.name!r} is for {credentials.hosts()},"
            f" not for {host}"
        )


def static_login(credentials: NewRegistryCredentials, ref: str) -> Login | None:
    """User name and password for an image's registry; None where they have to be asked for."""
    if isinstance(credentials, EcrCredentials):
        return None
    if isinstance(credentials, CustomCredentials):
        return credentials.login(registry_of(ref))
    return credentials.login()


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("must be a JSON object, as a string")
    return found


def _logins(config: str) -> dict[str, Login]:
    """The logins of a config.json by their registry's host. Raises ValueError."""
    auths = _object(config).get("auths")
    if not isinstance(auths, dict):
        raise ValueError('must have an object "auths"')
    return {_host(address): _login(entry) for address, entry in auths.items()}


def _host(address: str) -> str:
    """Docker writes hosts, and for its hub a URL."""
    host = address.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host in _HUB_NAMES else host


def _login(entry: Any) -> Login:
    wanted = "must have for each registry in auths: username and password, or auth"
    if not isinstance(entry, dict):
        raise ValueError(wanted)
    user, password = entry.get("username"), entry.get("password")
    if isinstance(entry.get("auth"), str) and not (user and password):
        user, password = _basic(entry["auth"])
    if not isinstance(user, str) or not isinstance(password, str) or not (user and password):
        raise ValueError(wanted)
    return user, password


def _basic(auth: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
