"""Loads the Lua verbs: `scripts/<verb>.lua` behind the shared functions of `scripts/lib/`."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import redis
from redis.exceptions import NoScriptError

from app.ledger import counts, keys

Argument = str | bytes | int | float


class Verbs:
    """The ledger's Lua verbs, each called by name with its arguments."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __call__(self, verb: str, *args: Argument) -> Any:
        """Runs one verb, in one round trip. Raises redis's errors.

        A Redis that was restarted has forgotten its scripts: then the text is sent, too.
        """
        text, digest = _script(verb)
        encoded = [_encoded(arg) for arg in args]
        try:
            return self._client.evalsha(digest, 0, *encoded)
        except NoScriptError:
            return self._client.eval(text, 0, *encoded)


def _encoded(arg: Argument) -> bytes | int | float:
    # What an engine or an app said may have halves of characters: no reason to fail.
    return arg.encode("utf-8", "replace") if isinstance(arg, str) else arg


@cache
def _script(verb: str) -> tuple[str, str]:
    text = _prelude() + (files("app.ledger") / "scripts" / f"{verb}.lua").read_text()
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@cache
def _prelude() -> str:
    folder = files("app.ledger") / "scripts" / "lib"
    parts = sorted(folder.iterdir(), key=lambda part: part.name)
    return keys.lua_table() + counts.lua_bounds() + "".join(part.read_text() for part in parts)
