"""How logs are told: which form a client asks for, and a line in it."""

from typing import Any

from flask import request

from app.api.schemas import container_name
from app.domain.errors import InvalidRequest
from app.domain.log import Line


def wants_json() -> bool:
    """Whether the client asks for lines with their instants. Raises InvalidRequest."""
    given = request.args.get("format")
    if given not in (None, "text", "json"):
        raise InvalidRequest(f"format: {given[:80]!r} is not allowed; it must be text or json")
    if given is not None:
        return given == "json"
    known = ["text/plain", "application/json"]
    return request.accept_mimetypes.best_match(known) == "application/json"


def wants_to_follow() -> bool:
    """Whether the client asks for all that comes. Raises InvalidRequest."""
    given = request.args.get("follow", "false")
    if given not in ("true", "false"):
        raise InvalidRequest(f"follow: {given[:80]!r} is not allowed; it must be true or false")
    return given == "true" and request.method == "GET"  # a HEAD is one, too


def line_out(deployment: str, replica: str | None, line: Line) -> dict[str, Any]:
    """A line as the control plane tells it."""
    return {
        "timestamp": line.at,
        "container_name": container_name(deployment),
        "replica": replica,
        "stream": line.stream,
        "message": line.message,
    }
