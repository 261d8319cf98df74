"""/v1/secrets, /v1/file-secrets, /v1/container-registry-credentials: stored, never read back."""

from typing import Any

from flask import Blueprint, Response, jsonify, request

from app.api import answers, schemas
from app.api.bodies import json_object
from app.api.entries import Parameter, Reply, entry
from app.api.services import client, services
from app.domain.errors import InvalidRequest
from app.domain.registries import CREDENTIALS, NewRegistryCredentials
from app.domain.secrets import NewFileSecret, NewSecret
from app.ledger.secrets import Kind, SecretRecord

blueprint = Blueprint("secrets", __name__, url_prefix="/v1")
SECRETS = "/secrets"
FILE_SECRETS = "/file-secrets"
CREDENTIALS_PATH = "/container-registry-credentials"
FORCE = Parameter(
    "force",
    "query",
    {"type": "string", "enum": ["true", "false"], "default": "false"},
    "Also where a deployment refers to it.",
)
GONE = Reply("It is gone.", answers.ForgottenOut)


@blueprint.before_request
def _authenticate() -> None:
    client()


@blueprint.get(SECRETS)
@entry({200: Reply("All of them.", list[answers.SecretOut])})
def secrets() -> Response:
    """All secrets, oldest first; never a value."""
    return _listed(Kind.SECRET)


@blueprint.post(SECRETS)
@entry({201: Reply("It is stored.", answers.SecretOut)}, body=NewSecret, errors=(409, 413))
def create_secret() -> tuple[Response, int]:
    """A new secret."""
    wanted = schemas.read_secret(NewSecret, json_object("a secret"))
    return _created(Kind.SECRET, wanted.name, wanted.value, {"secret_type": "generic"})


@blueprint.delete(f"{SECRETS}/<secret>")
@entry({200: GONE}, parameters=(FORCE,), errors=(404, 409))
def delete_secret(secret: str) -> Response:
    """Forgets a secret."""
    return _deleted(Kind.SECRET, secret)


@blueprint.get(FILE_SECRETS)
@entry({200: Reply("All of them.", list[answers.FileSecretOut])})
def file_secrets() -> Response:
    """All file-secrets, oldest first; never what is in their files."""
    return _listed(Kind.FILE_SECRET)


@blueprint.post(FILE_SECRETS)
@entry({201: Reply("It is stored.", answers.FileSecretOut)}, body=NewFileSecret, errors=(409, 413))
def create_file_secret() -> tuple[Response, int]:
    """A new file-secret."""
    wanted = schemas.read_secret(NewFileSecret, json_object("a file-secret"))
    files = {file.file_name: file.base64_content for file in wanted.files}
    facts = {"secret_type": "file-secret", "file_names": list(files)}
    return _created(Kind.FILE_SECRET, wanted.name, files, facts)


@blueprint.delete(f"{FILE_SECRETS}/<secret>")
@entry({200: GONE}, parameters=(FORCE,), errors=(404, 409))
def delete_file_secret(secret: str) -> Response:
    """Forgets a file-secret."""
    return _deleted(Kind.FILE_SECRET, secret)


@blueprint.get(CREDENTIALS_PATH)
@entry({200: Reply("All of them.", list[answers.StoredOut])})
def credentials() -> Response:
    """All registry credentials, oldest first; never what is in them."""
    return _listed(Kind.CREDENTIALS)


@blueprint.post(CREDENTIALS_PATH)
@entry(
    {201: Reply("They are stored.", answers.StoredOut)},
    body=NewRegistryCredentials,
    errors=(409, 413),
)
def create_credentials() -> tuple[Response, int]:
    """New credentials of a registry."""
    body = json_object("credentials of a registry")
    given = {name: value for name, value in body.items() if value is not None}
    wanted = schemas.read_secret(CREDENTIALS, given)
    value = wanted.model_dump(mode="json")
    return _created(Kind.CREDENTIALS, wanted.name, value, {})


@blueprint.delete(f"{CREDENTIALS_PATH}/<secret>")
@entry({200: GONE}, parameters=(FORCE,), errors=(404, 409))
def delete_credentials(secret: str) -> Response:
    """Forgets the credentials of a registry."""
    return _deleted(Kind.CREDENTIALS, secret)


def _listed(kind: Kind) -> Response:
    return jsonify([_out(record) for record in services().ledger.secrets.list(kind)])


def _created(kind: Kind, name: str, value: Any, facts: dict[str, Any]) -> tuple[Response, int]:
    record = services().ledger.secrets.create(kind, name, value, facts)
    return jsonify(_out(record)), 201


def _deleted(kind: Kind, name: str) -> Response:
    services().ledger.secrets.delete(kind, name, _force())
    return jsonify(name=name, status="deleted")


def _out(record: SecretRecord) -> dict[str, Any]:
    return {"name": record.name, "created_at": schemas.rfc3339(record.created_at)} | record.facts


def _force() -> bool:
    given = request.args.get("force", "false")
    if given not in ("true", "false"):
        raise InvalidRequest(f"force: {given[:80]!r} is not allowed; it must be true or false")
    return given == "true"
