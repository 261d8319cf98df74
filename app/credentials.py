"""The keys that `onejob up` makes at its first start, in a file that only its user can read."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path


class CredentialsError(Exception):
    """The file is there, and is not what was written."""


@dataclass(frozen=True)
class Credentials:
    """What a local server and its clients share."""

    client_id: str
    client_secret: str
    token_secret: str
    redis_password: str
    flower_password: str
    secrets_key: str  # encrypts what clients store as secrets
    inference_key: str = ""  # made by the ledger, which keeps only its hash


def load_or_make(path: Path) -> Credentials:
    """The credentials of a data directory, made at the first call. Raises CredentialsError."""
    if path.exists():
        return _with_secrets_key(path, read(path))
    made = Credentials(
        client_id=f"onejob-{secrets.token_hex(6)}",
        client_secret=secrets.token_urlsafe(32),
        token_secret=secrets.token_urlsafe(48),
        redis_password=secrets.token_hex(24),
        flower_password=secrets.token_urlsafe(12),
        secrets_key=new_secrets_key(),
    )
    save(path, made)
    return made


def read(path: Path) -> Credentials:
    """The credentials of a data directory. Raises CredentialsError, and OSError without them."""
    try:
        known = json.loads(path.read_text())
        known = {"secrets_key": ""} | known  # there was none in older files
        return Credentials(**{f.name: known[f.name] for f in fields(Credentials)})
    except (ValueError, KeyError, TypeError) as error:
        raise CredentialsError(f"{path} can't be read: {error!r}") from error


def new_secrets_key() -> str:
    """A key of the kind that ONEJOB_SECRETS_KEY has."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _with_secrets_key(path: Path, known: Credentials) -> Credentials:
    if known.secrets_key:
        return known
    known = replace(known, secrets_key=new_secrets_key())
    save(path, known)
    return known


def save(path: Path, credentials: Credentials) -> None:
    """Writes the file whole, readable by its user alone."""
    draft = path.with_suffix(".draft")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(credentials), file, indent=2)
        file.flush()
        os.fsync(file.fileno())  # the ledger beside it survives a power failure, too
    draft.replace(path)


def with_inference_key(credentials: Credentials, key: str) -> Credentials:
    """The same credentials with another inference key."""
    return replace(credentials, inference_key=key)
