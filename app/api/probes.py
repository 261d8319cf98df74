"""/health and /ready: for whoever keeps this process alive, and for whoever sends it work."""

import redis
from flask import Blueprint, Response, jsonify

from app.api.services import services
from app.domain.errors import ServiceUnavailable

blueprint = Blueprint("probes", __name__)


@blueprint.get("/health")
def health() -> Response:
    """The process lives."""
    return jsonify(status="ok")


@blueprint.get("/ready")
def ready() -> Response:
    """`ok`, or `degraded` and what is missing: jobs are accepted, but may have to wait.

    503 only without Redis: then nothing can be accepted.
    """
    try:
        workers = services().ledger.nodes.alive()
    except redis.RedisError as error:
        raise ServiceUnavailable("Redis does not answer") from error
    missing = [] if workers else ["no worker is alive: jobs wait"]
    return jsonify(status="degraded" if missing else "ok", missing=missing)
