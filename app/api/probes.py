"""/health and /ready: for whoever keeps this process alive, and for whoever sends it work."""

from collections.abc import Iterator

import redis
from flask import Blueprint, Response, jsonify

from app.api.answers import HealthOut, ReadyOut
from app.api.entries import Reply, entry
from app.api.services import services
from app.domain.errors import ServiceUnavailable
from app.ledger.nodes import SILENT_SECONDS, NodeView

blueprint = Blueprint("probes", __name__)


@blueprint.get("/health")
@entry({200: Reply("It does.", HealthOut)}, access="none")
def health() -> Response:
    """The process lives."""
    return jsonify(status="ok")


@blueprint.get("/ready")
@entry({200: Reply("It takes jobs.", ReadyOut)}, access="none")
def ready() -> Response:
    """`ok`, or `degraded` and what is missing: jobs are accepted, but may have to wait.

    `notes` say what works and could be better. 503 only without Redis: then nothing can be
    accepted.
    """
    ledger = services().ledger
    try:
        nodes, reports = ledger.nodes.all(), ledger.recovery.waiting_for()
    except redis.RedisError as error:
        raise ServiceUnavailable("Redis does not answer") from error
    missing = [*_missing(nodes), *(f"node {node} has not reported yet" for node in reports)]
    notes = list(_notes(nodes))
    return jsonify(status="degraded" if missing else "ok", missing=missing, notes=notes)


def _missing(nodes: list[NodeView]) -> Iterator[str]:
    alive = [node for node in nodes if node.silent_seconds <= SILENT_SECONDS]
    if not alive:
        yield "no worker is alive: jobs wait"
    elif all(node.draining for node in alive):
        yield "every machine is draining: jobs wait"
    for node in alive:
        for problem in node.info.get("problems", []):
            yield f"node {node.id} takes no jobs: {problem}"
    for node in nodes:
        if node not in alive and (node.attempts or node.strays):
            held = node.attempts + node.strays
            yield f"node {node.id} is silent for {node.silent_seconds:.0f} s: {held} slots wait"


def _notes(nodes: list[NodeView]) -> Iterator[str]:
    for node in nodes:
        if node.draining:
            yield f"node {node.id} is draining: it takes no new jobs, and holds {node.attempts}"
        for note in node.info.get("notes", []):
            yield f"node {node.id}: {note}"
