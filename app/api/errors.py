"""Every error is JSON: {"code", "message"}. Clients read it whatever the status."""

import logging
import re

import redis
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, NotFound

from app.domain import errors

logger = logging.getLogger(__name__)
_LONGEST_SHOWN = 200
# Redis's words for "not now", wherever a script or a pipeline puts them.
_REFUSAL = re.compile(r"\b(OOM|MISCONF|READONLY|NOREPLICAS|MASTERDOWN|BUSY|NOAUTH|NOPERM)\b")

STATUS: dict[type[errors.OnejobError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.PayloadTooLarge: 413,
    errors.RateLimited: 429,
    errors.ServiceUnavailable: 503,
}
_CODES = {status: kind.code for kind, status in STATUS.items()}


def answer(code: str, message: str, status: int) -> Response:
    """An error answer."""
    response = jsonify(code=code, message=message)
    response.status_code = status
    return response


def install(app: Flask) -> None:
    """Registers the handlers of all errors."""
    app.register_error_handler(errors.OnejobError, _ours)
    app.register_error_handler(HTTPException, _routing)
    app.register_error_handler(redis.RedisError, _redis)
    app.register_error_handler(Exception, _fault)


def _ours(error: errors.OnejobError) -> Response:
    response = answer(error.code, error.message, STATUS.get(type(error), 500))
    if isinstance(error, errors.TryLater):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.allowed)  # RFC 9110, section 15.5.6
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _routing(error: HTTPException) -> Response:
    status = error.code or 500
    code = _CODES.get(status, "invalid_request" if status < 500 else "server_error")
    nowhere = f"there is nothing at {request.path[:_LONGEST_SHOWN]!r}; /docs tells what there is"
    message = nowhere if isinstance(error, NotFound) else error.description or error.name
    response = answer(code, message, status)
    # Allow, Retry-After and their like come with the exception.
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _redis(error: redis.RedisError) -> Response:
    if isinstance(error, (redis.ResponseError, redis.DataError)) and not _is_refusal(error):
        return _fault(error)
    logger.warning("Redis: %s", error)
    trouble = "is full" if _is_full(error) else "does not answer"
    message = f"the service's storage {trouble}; a repeat with the same id does no harm"
    return _ours(errors.ServiceUnavailable(message, 1))


def _is_full(error: redis.RedisError) -> bool:
    named = isinstance(error, redis.OutOfMemoryError)
    return named or re.search(r"\bOOM\b", str(error)) is not None


def _is_refusal(error: redis.RedisError) -> bool:
    """Whether Redis can't do what it was asked for now; else we asked for nonsense."""
    # Of some words the client library makes a class, and takes them off the text.
    named = isinstance(error, (redis.OutOfMemoryError, redis.ReadOnlyError))
    return named or _REFUSAL.search(str(error)) is not None


def _fault(error: Exception) -> Response:
    logger.exception("a fault of ours", exc_info=error)
    return answer("server_error", "an error of the server; it is in its log", 500)
