"""/v1/serverless-compute-resources: what the machines that are alive can run."""

from flask import Blueprint, Response, jsonify

from app.api.services import client, services

blueprint = Blueprint("resources", __name__, url_prefix="/v1/serverless-compute-resources")


@blueprint.get("")
def index() -> Response:
    """Each compute resource by name; available where a machine that has it takes jobs now."""
    client()
    here = services()
    alive = here.ledger.nodes.alive()
    known = here.compute.keys() | {name for info in alive for name in info.get("compute", {})}
    fit = {name for info in alive if not info.get("problems") for name in info.get("compute", {})}
    return jsonify([{"name": n, "size": 1, "is_available": n in fit} for n in sorted(known)])
