"""Image references: which ones name an image for good, or until someone moves its tag."""

import re

LONGEST = 512
LONGEST_PATH = 255

# As the distribution project's reference grammar has it: host, path, tag, digest.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:{_HOST}/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?P<digest>@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)


def pinned(reference: str) -> str:
    """The reference, if it is one and says which version it means. Raises ValueError."""
    match = _REFERENCE.fullmatch(reference) if len(reference) <= LONGEST else None
    if match is None or len(match["path"]) > LONGEST_PATH:
        raise ValueError("must be an image reference: [registry/]name:tag or name@sha256:…")
    if not match["digest"] and match["tag"] in (None, "latest"):
        raise ValueError('must name a version: a tag other than "latest", or a digest')
    return reference
