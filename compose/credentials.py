"""The secrets of this installation: made at the first `up`, then kept in the volume `secrets`.

credentials.py make    writes a file for each, and gives each service those that it needs
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

# `onejob` in it is a volume with all secrets. Each directory of `onejob-services` is a volume, too:
# to the service of that name it is /run/onejob.
RUN = Path("/run")
NEEDED = {
    "api": ("redis_url", "client_id", "client_secret", "token_secret", "secrets_key"),
    "worker": ("redis_url", "secrets_key"),
    "redis": ("redis_password", "redis-auth.conf"),
    "flower": ("redis_url", "flower_password"),
    "grafana": ("flower_password",),
}
REDIS = "redis:6379/0"
MODE = 0o440  # the services run in the group of the folder, Redis too


def make(run: Path) -> Credentials:
    """The credentials, made if there are none, as files for who needs them."""
    known = kept.load_or_make(_file(run))
    texts = _texts(known)
    for name, text in texts.items():
        _write(run / "onejob" / name, text)
    for service, names in NEEDED.items():
        for name in names:
            _write(run / "onejob-services" / service / name, texts[name])
    return known


def redis_url(known: Credentials) -> str:
    """Redis as the other services reach it."""
    return f"redis://:{known.redis_password}@{REDIS}"


def with_inference_key(run: Path, ledger: Ledger) -> Credentials:
    """The credentials with an inference key that the ledger knows."""
    known = make(run)
    if not ledger.keys.verify(known.inference_key):
        known = kept.with_inference_key(known, ledger.keys.create("compose")[1])
        kept.save(_file(run), known)
    return known


def show(run: Path) -> None:
    """Prints what clients need, a line for each."""
    client = connect(redis_url(make(run)))
    known = with_inference_key(run, Ledger(client))
    client.close()
    for name in ("client_id", "client_secret", "inference_key", "flower_password"):
        print(f"{name}={getattr(known, name)}")


def new_secrets_key(run: Path) -> None:
    """A new first key; the older ones still decrypt."""
    _keep_secrets_keys(run, f"{kept.new_secrets_key()},{make(run).secrets_key}")


def one_secrets_key(run: Path) -> None:
    """The first key alone."""
    _keep_secrets_keys(run, make(run).secrets_key.partition(",")[0])


def _keep_secrets_keys(run: Path, keys: str) -> None:
    kept.save(_file(run), replace(make(run), secrets_key=keys))
    make(run)


def _file(run: Path) -> Path:
    return run / "onejob" / "credentials.json"


def _texts(known: Credentials) -> dict[str, str]:
    texts = {f.name: getattr(known, f.name) for f in fields(Credentials)}
    texts["redis_url"] = redis_url(known)
    texts["redis-auth.conf"] = f"requirepass {known.redis_password}"
    del texts["inference_key"]  # clients alone need it; the ledger has its hash
    return texts


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
    verbs[sys.argv[1]](RUN)
