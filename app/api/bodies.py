"""What requests carry: bodies, in pieces or as JSON and forms, the id of a job, a timeout."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from flask import request

from app.domain.errors import InvalidRequest, PayloadTooLarge
from app.domain.job import ID_PATTERN

CONTROL_PLANE_BYTES = 1024 * 1024
READ_BYTES = 1024 * 1024
FORM = "application/x-www-form-urlencoded"
LONGEST_TIMEOUT_MS = 300_000
EXACT = 2**53  # up to it floats have all whole numbers
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")  # the SDK's is a float
_LONGEST_FORM = 100  # fields


def inference_id() -> str | None:
    """The id that the request names. Raises InvalidRequest if it can't be one."""
    given = request.headers.get("X-Inference-Id")
    if given is not None and not ID_PATTERN.fullmatch(given):
        allowed = "1 to 128 characters of A-Z a-z 0-9 . _ -"
        raise InvalidRequest(
            f"X-Inference-Id: {given[:200]!r} is not allowed; it must be {allowed}"
        )
    return given


def pieces(limit: int) -> Iterator[bytes]:
    """The request's body, up to `limit` bytes.

    Raises PayloadTooLarge as soon as it is known to be longer, InvalidRequest if it ends early,
    stalls or is badly encoded.
    """
    size = 0
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        while piece := request.environ["wsgi.input"].read(READ_BYTES):
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            yield piece
    except OSError as error:
        raise InvalidRequest(f"the body can't be read: {error}") from error


def json_object(what: str) -> dict[str, Any]:
    """The request's body. Raises InvalidRequest unless it is a JSON object (see `parse_json`)."""
    return _object(parse_json(_whole()), what)


def form_or_json(what: str) -> dict[str, Any]:
    """The request's body, a form or a JSON object, whatever curl says it is. Raises InvalidRequest.

    No field of a form may be repeated (RFC 6749, section 3.2).
    """
    raw = _whole()
    if request.mimetype == FORM and not raw.lstrip().startswith(b"{"):
        return parse_form(raw)
    return _object(parse_json(raw), what)


def parse_json(raw: bytes) -> Any:
    """A JSON text as everyone reads it. Raises InvalidRequest.

    A whole number up to 2**53 is an int, however it is written: 1, 1.0 or 1e0. Refused is what
    readers disagree on, or what can't be stored: NaN, a member named twice, half of a surrogate
    pair, nesting that is too deep.
    """
    try:
        body = json.loads(
            raw, parse_float=_number, parse_constant=_NoNumber, object_pairs_hook=_members
        )
        json.dumps(body, ensure_ascii=False, default=_refused).encode()
    except UnicodeError as error:
        raise InvalidRequest("the body is not JSON: it is no valid Unicode text") from error
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply") from error
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {str(error)[:200]}") from error
    return body


def parse_form(raw: bytes) -> dict[str, Any]:
    """The fields of a form. Raises InvalidRequest."""
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_LONGEST_FORM
        )
        return _members(pairs)
    except ValueError as error:
        raise InvalidRequest(f"the body is not a form: {str(error)[:200]}") from error


def _whole() -> bytes:
    return b"".join(pieces(CONTROL_PLANE_BYTES))


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is over the limit of {limit} bytes")


def _object(body: Any, what: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body must be a JSON object: {what}")
    return body


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"{name[:80]!r} is there more than once")
        if isinstance(value, _NoNumber):
            raise ValueError(f"{name[:80]}: {value.word} is not a number")
        members[name] = value
    return members


@dataclass(frozen=True, slots=True)
class _NoNumber:
    """NaN or Infinity, which some write though JSON has no word for them."""

    word: str


def _refused(value: _NoNumber) -> None:
    raise ValueError(f"{value.word} is not a number")


def _number(text: str) -> float:
    """JSON has one kind of number, and many clients write all of theirs with a fraction.

    Beyond 2**53 floats have gaps: an int would have digits that nobody wrote, up to 309 of them.
    """
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= EXACT else value


def timeout_ms(default: float) -> float:
    """The query's `timeout`, how long an answer may take. Raises InvalidRequest."""
    text = request.args.get("timeout", f"{default:g}")
    if not _DECIMAL.fullmatch(text) or float(text) > LONGEST_TIMEOUT_MS:
        allowed = f"milliseconds from 0 to {LONGEST_TIMEOUT_MS}"
        raise InvalidRequest(f"timeout: {text[:80]!r} is not allowed; it must be {allowed}")
    return float(text)
