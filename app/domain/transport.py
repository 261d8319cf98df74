"""HTTP messages on their way through: what of a client's request reaches the app, and what of the
app's response reaches the client.

Names, values and order of headers stay as they were on the wire. Text is ISO 8859-1 throughout,
which keeps every byte.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

Headers = list[tuple[str, str]]

# RFC 9110, section 7.6.1. Te and Trailer are about the connection's framing as well.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Ours to say, or nobody's business beyond us.
_NOT_FORWARDED = HOP_BY_HOP | {
    "authorization",
    "content-length",
    "expect",
    "host",
    "prefer",
    "x-inference-id",
}
_NOT_RETURNED = HOP_BY_HOP | {"content-length", "date", "server"}
_STATUS_LINE = re.compile(r"HTTP/1\.\d (\d{3})(?: ([^\r\n]*))?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A client's request without its body, as the app shall get it."""

    method: str
    target: str  # path and query, raw
    headers: Headers = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """For the ledger."""
        return json.dumps([self.method, self.target, self.headers]).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "RequestHead":
        """From the ledger."""
        method, target, headers = json.loads(raw)
        return cls(method, target, [(name, value) for name, value in headers])


def forwarded(headers: Iterable[tuple[str, str]], prefer: Iterable[str], job_id: str) -> Headers:
    """A client's headers as the app gets them; `prefer` are the preferences that go through."""
    given = list(headers)
    dropped = _NOT_FORWARDED | _named_in_connection(given)
    kept = [(name, value) for name, value in given if name.lower() not in dropped]
    kept += [("Prefer", preference) for preference in prefer]
    return [*kept, ("X-Inference-Id", job_id)]


def render_request(head: RequestHead, size: int, host: str) -> bytes:
    """The request's head as the app reads it; `size` bytes of body follow."""
    lines = [f"{head.method} {head.target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in head.headers]
    if size or head.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {size}")
    lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """An app's response without its body, as a client shall get it."""

    status: int
    reason: str
    headers: Headers


def parse_response_head(raw: bytes) -> ResponseHead:
    """An app's status line and headers, those of the connection left out.

    Raises ValueError for what is no head of a final response. A header that no client could be
    sent is left out, too: an app may write anything there.
    """
    status_line, *lines = raw.decode("latin-1").replace("\r\n", "\n").split("\n")
    match = _STATUS_LINE.fullmatch(status_line)
    if match is None or not 200 <= int(match[1]) <= 999:
        raise ValueError(f"{status_line[:100]!r} is no status line of a response")
    headers = [header for line in _unfolded(lines) if (header := _field(line))]
    dropped = _NOT_RETURNED | _named_in_connection(headers)
    kept = [(name, value) for name, value in headers if name.lower() not in dropped]
    if not any(name.lower() == "content-type" for name, _ in kept):
        kept.append(("Content-Type", "application/octet-stream"))
    reason = match[2] if match[2] and _VALUE.fullmatch(match[2]) else ""
    return ResponseHead(int(match[1]), reason, kept)


def _named_in_connection(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    values = (value for name, value in headers if name.lower() == "connection")
    return frozenset(word.strip().lower() for value in values for word in value.split(","))


def _unfolded(lines: Iterable[str]) -> list[str]:
    """Lines of headers; one that begins with a blank goes on with the one before it."""
    joined: list[str] = []
    for line in lines:
        if line[:1] in (" ", "\t") and joined:
            joined[-1] += " " + line.strip(" \t")
        elif line:
            joined.append(line)
    return joined


def _field(line: str) -> tuple[str, str] | None:
    name, _, value = line.partition(":")
    value = value.strip(" \t")
    if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        return None
    return name, value
