"""POST /v1/oauth2/token: access tokens for the control plane."""

from flask import Blueprint, Response, jsonify

from app.api.bodies import form_or_json
from app.api.services import services

blueprint = Blueprint("tokens", __name__, url_prefix="/v1/oauth2")


@blueprint.post("/token")
def token() -> Response:
    """Grants a token for JSON or a form."""
    response = jsonify(services().tokens.grant(form_or_json("a grant_type and what goes with it")))
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    return response
