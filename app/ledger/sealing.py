"""How secrets are at rest: encrypted, with a key that the ledger does not have."""

import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

SETTING = "ONEJOB_SECRETS_KEY"


class NoKey(Exception):
    """This process was given no key."""

    def __init__(self) -> None:
        super().__init__(f"{SETTING} is not set")


class CantOpen(Exception):
    """What is stored was sealed with another key, or is not what was stored there."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} can't be read with the keys of {SETTING}")


class Sealer:
    """Seals with the first of its keys, opens with any. `keys` has commas between them."""

    def __init__(self, keys: str | None) -> None:
        """Raises ValueError unless each is a Fernet key; the text names none."""
        each = [Fernet(key.strip()) for key in keys.split(",")] if keys else []
        self._fernet = MultiFernet(each) if each else None

    def seal(self, kind: str, name: str, value: Any) -> str:
        """A value (JSON) for the ledger. Raises NoKey."""
        # With its place: what is sealed for one place can't be put into another one.
        plain = json.dumps({"kind": kind, "name": name, "value": value})
        return self._keys().encrypt(plain.encode()).decode()

    def open(self, kind: str, name: str, sealed: str) -> Any:
        """The value that was sealed for this place. Raises NoKey, CantOpen."""
        try:
            plain = json.loads(self._keys().decrypt(sealed))
        except InvalidToken:
            plain = {}
        if (plain.get("kind"), plain.get("name")) != (kind, name):
            raise CantOpen(f"{kind} {name!r}")
        return plain["value"]

    def reseal(self, kind: str, name: str, sealed: str) -> str:
        """The same value under the first key. Raises NoKey, CantOpen."""
        return self.seal(kind, name, self.open(kind, name, sealed))

    def _keys(self) -> MultiFernet:
        if self._fernet is None:
            raise NoKey
        return self._fernet
