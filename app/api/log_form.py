"""How logs are told: which form a client asks for, and a line in it."""

from typing import Any

from flask import request

from app.api.schemas import container_name
from app.domain.errors import InvalidRequest
from app.domain.log import Line


def asked() -> tuple[bool, bool]:
    """Whether the client asks for lines with their instants, and for all that is still to come.

    Raises InvalidRequest naming all that is wrong.
    """
    form, follow = request.args.get("format"), request.args.get("follow", "false")
    wrong = []
    if form not in (None, "text", "json"):
        wrong.append(f"format: {form[:80]!r} is not allowed: must be text or json")
    if follow not in ("true", "false"):
        wrong.append(f"follow: {follow[:80]!r} is not allowed: must be true or false")
    if wrong:
        raise InvalidRequest("; ".join(wrong))
    follows = follow == "true" and request.method == "GET"  # a HEAD is one, too
    return (_accepts_json() if form is None else form == "json"), follows


def _accepts_json() -> bool:
    known = ["text/plain", "application/json"]
    return request.accept_mimetypes.best_match(known) == "application/json"


def line_out(deployment: str, replica: str | None, line: Line) -> dict[str, Any]:
    """A line as the control plane tells it."""
    return {
        "timestamp": line.at,
        "container_name": container_name(deployment),
        "replica": replica,
        "stream": line.stream,
        "message": line.message,
    }
