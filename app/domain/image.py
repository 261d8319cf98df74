"""Image references: which ones name an image for good, or until someone moves its tag."""

import re
from typing import Any

LONGEST = 512
LONGEST_PATH = 255

# As the distribution project's reference grammar has it: host, path, tag, digest.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_PATH = rf"{_PART}(?:/{_PART})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"
_REFERENCE = re.compile(
    rf"(?:{_HOST}/)?(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?P<digest>{_DIGEST})?"
)
# The same for readers of a JSON schema.
SCHEMA: dict[str, Any] = {
    "type": "string",
    "maxLength": LONGEST,
    "pattern": rf"^(?:{_HOST}/)?{_PATH}(?::{_TAG}(?:{_DIGEST})?|{_DIGEST})$",
    "not": {"pattern": ":latest$"},
    "examples": ["registry.example/team/train:1.4"],
}


def pinned(reference: str) -> str:
    """The reference, if it is one and says which version it means. Raises ValueError."""
    match = _REFERENCE.fullmatch(reference) if len(reference) <= LONGEST else None
    if match is None:
        raise ValueError("must be an image reference: [registry/]name:tag or name@sha256:…")
    if len(match["path"]) > LONGEST_PATH:
        raise ValueError(
            f"must be an image reference with at most {LONGEST_PATH} characters of name"
        )
    if not match["digest"] and match["tag"] in (None, "latest"):
        raise ValueError('must name a version: a tag other than "latest", or a digest')
    return reference
