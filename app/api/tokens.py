"""POST /v1/oauth2/token: access tokens for the control plane."""

from typing import Annotated, Literal

from flask import Blueprint, Response, jsonify
from pydantic import Discriminator, Field

from app.api.answers import TokenOut
from app.api.bodies import FORM, form_or_json
from app.api.entries import JSON, Reply, entry
from app.api.services import services
from app.domain.members import Member, Text

blueprint = Blueprint("tokens", __name__, url_prefix="/v1/oauth2")
_Words = Annotated[Text, Field(min_length=1)]


class ClientCredentials(Member):
    """The control plane's client, for an access token."""

    grant_type: Literal["client_credentials"]
    client_id: _Words
    client_secret: _Words


class RefreshToken(Member):
    """A refresh token, for an access token."""

    grant_type: Literal["refresh_token"]
    refresh_token: _Words


# How `Tokens.grant` reads them.
TokenRequest = Annotated[ClientCredentials | RefreshToken, Discriminator("grant_type")]


@blueprint.post("/token")
@entry(
    {200: Reply("A token.", TokenOut, headers=("Cache-Control",))},
    body=TokenRequest,
    media=(JSON, FORM),
    errors=(401,),
    access="none",
)
def token() -> Response:
    """Grants a token for JSON or a form."""
    response = jsonify(services().tokens.grant(form_or_json("a grant_type and what goes with it")))
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    return response
