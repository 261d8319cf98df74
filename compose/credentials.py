"""The secrets of this installation: made at the first `up`, then kept in the volume `secrets`.

credentials.py make    writes a file for each, which the other services read
credentials.py show    prints what clients need
credentials.py new-secrets-key    puts a new key before those that encrypt secrets
credentials.py one-secrets-key    forgets all of them but the first, after `onejob secrets rotate`
"""

import os
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from app import credentials as kept
from app.credentials import Credentials
from app.ledger import Ledger, connect

FOLDER = Path("/run/onejob")
REDIS = "redis:6379/0"
MODE = 0o440  # the services run in the group of the folder, Redis too


def make(folder: Path) -> Credentials:
    """The credentials, made if there are none, with a file for each service that needs one."""
    known = kept.load_or_make(folder / "credentials.json")
    texts = {f.name: getattr(known, f.name) for f in fields(Credentials)}
    texts["redis_url"] = redis_url(known)
    texts["redis-auth.conf"] = f"requirepass {known.redis_password}"
    del texts["inference_key"]  # clients alone need it; the ledger has its hash
    for name, text in texts.items():
        _write(folder / name, text)
    return known


def redis_url(known: Credentials) -> str:
    """Redis as the other services reach it."""
    return f"redis://:{known.redis_password}@{REDIS}"


def with_inference_key(folder: Path, ledger: Ledger) -> Credentials:
    """The credentials with an inference key that the ledger knows."""
    known = make(folder)
    if not ledger.keys.verify(known.inference_key):
        known = kept.with_inference_key(known, ledger.keys.create("compose")[1])
        kept.save(folder / "credentials.json", known)
    return known


def show(folder: Path) -> None:
    """Prints what clients need, a line for each."""
    client = connect(redis_url(make(folder)))
    known = with_inference_key(folder, Ledger(client))
    client.close()
    for name in ("client_id", "client_secret", "inference_key", "flower_password"):
        print(f"{name}={getattr(known, name)}")


def new_secrets_key(folder: Path) -> None:
    """A new first key; the older ones still decrypt."""
    _keep_secrets_keys(folder, f"{kept.new_secrets_key()},{make(folder).secrets_key}")


def one_secrets_key(folder: Path) -> None:
    """The first key alone."""
    _keep_secrets_keys(folder, make(folder).secrets_key.partition(",")[0])


def _keep_secrets_keys(folder: Path, keys: str) -> None:
    kept.save(folder / "credentials.json", replace(make(folder), secrets_key=keys))
    make(folder)


def _write(path: Path, text: str) -> None:
    """Writes a file whole, or leaves it as it is."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
    draft.chmod(MODE)
    draft.replace(path)


if __name__ == "__main__":
    verbs: dict[str, Callable[[Path], object]] = {
        "make": make,
        "show": show,
        "new-secrets-key": new_secrets_key,
        "one-secrets-key": one_secrets_key,
    }
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(f"usage: credentials.py {'|'.join(verbs)}")
    verbs[sys.argv[1]](FOLDER)
