"""/v1/inference-keys: who may use the data plane."""

from typing import Annotated, Any

from flask import Blueprint, Response, jsonify
from pydantic import Field

from app.api import answers, schemas
from app.api.bodies import json_object
from app.api.entries import Reply, entry
from app.api.services import client, services
from app.domain.members import Member, Text
from app.ledger.inference_keys import KeyRecord

blueprint = Blueprint("inference_keys", __name__, url_prefix="/v1/inference-keys")


class NewKey(Member):
    """What a client says about a key: a name for people, which others may have as well."""

    name: Annotated[Text, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=64)]


@blueprint.before_request
def _authenticate() -> None:
    client()


@blueprint.get("")
@entry({200: Reply("All of them.", list[answers.KeyOut])})
def index() -> Response:
    """All keys, oldest first; never a key itself."""
    return jsonify([_key_out(key) for key in services().ledger.keys.list()])


@blueprint.post("")
@entry(
    {201: Reply("It, this once.", answers.NewKeyOut, headers=("Cache-Control",))},
    body=NewKey,
    errors=(409,),
)
def create() -> tuple[Response, int]:
    """A new key. `key` is shown here and never again: only a hash of it is kept."""
    keys = services().ledger.keys
    wanted = schemas.read(NewKey, json_object("an inference key"))
    key_id, key = keys.create(wanted.name)
    response = jsonify(_key_out(keys.get(key_id)) | {"key": key})
    response.headers["Cache-Control"] = "no-store"
    return response, 201


@blueprint.delete("/<key_id>")
@entry({200: Reply("It is none any more.", answers.RevokedOut)}, errors=(404,))
def revoke(key_id: str) -> Response:
    """Makes it no key: whoever presents it from now on is refused."""
    services().ledger.keys.revoke(key_id)
    return jsonify(id=key_id, status="revoked")


def _key_out(key: KeyRecord) -> dict[str, Any]:
    return {"id": key.id, "name": key.name, "created_at": schemas.rfc3339(key.created_at)}
