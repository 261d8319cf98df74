"""/v1/serverless-compute-resources: what the machines that are alive can run."""

from flask import Blueprint, Response, jsonify

from app.api.answers import ResourceOut
from app.api.entries import Reply, entry
from app.api.services import client, services
from app.ledger.nodes import SILENT_SECONDS

blueprint = Blueprint("resources", __name__, url_prefix="/v1/serverless-compute-resources")


@blueprint.get("")
@entry({200: Reply("All of them.", list[ResourceOut])})
def index() -> Response:
    """Each compute resource by name; available where a machine that has it takes jobs now."""
    client()
    here = services()
    alive = [node for node in here.ledger.nodes.all() if node.silent_seconds <= SILENT_SECONDS]
    known = here.compute.keys() | {name for node in alive for name in node.info.get("compute", {})}
    fit = {name for node in alive if node.takes_jobs for name in node.info.get("compute", {})}
    return jsonify([{"name": n, "size": 1, "is_available": n in fit} for n in sorted(known)])
