"""The server that `onejob up` runs on a data directory, as commands beside it find it."""

import fcntl
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app import credentials

if TYPE_CHECKING:
    from app.settings import Settings

_PORT = re.compile(r"^port ([0-9]+)$", re.MULTILINE)
_PASSWORD = re.compile(r"^requirepass (\S+)$", re.MULTILINE)


def default_data() -> Path:
    """Where `onejob up` keeps its things unless it is told otherwise."""
    return Path(os.environ.get("ONEJOB_DATA", "~/.onejob")).expanduser()


class NotRunning(Exception):
    """No `onejob up` works on the data directory."""


def environ(data: Path | None) -> Mapping[str, str]:
    """The settings by which a command reaches its server, on top of the environment's own.

    That of the data directory, if one is given. Else the environment's own, if it names a Redis;
    else that of the default directory, if one runs there. Raises NotRunning.
    """
    named = any(os.environ.get(f"ONEJOB_REDIS_URL{suffix}") for suffix in ("", "_FILE"))
    if data is None and (named or not _runs(default_data())):
        return {}
    folder = (data or default_data()).resolve()
    if not _runs(folder):
        raise NotRunning(f"no onejob runs on {folder}")
    return {
        "ONEJOB_REDIS_URL": _redis_url(folder),
        "ONEJOB_SPOOL_ROOT": str(folder / "spool"),
        "ONEJOB_SECRETS_KEY": _secrets_key(folder),
    }


def client_settings(data: Path | None) -> dict[str, str]:
    """The URL and the keys of the server on a data directory, else of the one on the default.

    Empty where none runs there; raises NotRunning if the directory was named.
    """
    folder = (data or default_data()).resolve()
    if data is None and not _runs(folder):
        return {}
    try:
        known = credentials.read(folder / "credentials.json")
        url = (folder / "url").read_text()
    except (credentials.CredentialsError, OSError) as error:
        if data is None:  # somebody else's, or one that is just starting
            return {}
        raise NotRunning(f"no onejob of yours runs on {folder}") from error
    if not _runs(folder):
        raise NotRunning(f"no onejob runs on {folder}")
    return {
        "url": url,
        "client_id": known.client_id,
        "client_secret": known.client_secret,
        "inference_key": known.inference_key,
    }


def _runs(data: Path) -> bool:
    """Whether its processes hold the lock of the directory, and have a Redis."""
    try:
        with (data / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (data / "redis" / "redis.conf").exists()
    except OSError:
        return False
    return False


def _redis_url(data: Path) -> str:
    try:
        config = (data / "redis" / "redis.conf").read_text()
    except OSError as error:
        raise NotRunning(f"the server of {data} can't be reached: {error}") from error
    port, password = _PORT.search(config), _PASSWORD.search(config)
    if port is None or password is None:
        raise NotRunning(f"the server of {data} has not started yet")
    return f"redis://:{password[1]}@127.0.0.1:{port[1]}/0"


def _secrets_key(data: Path) -> str:
    try:
        return str(json.loads((data / "credentials.json").read_text())["secrets_key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # which is none: the server was started by an older version


def _keep(context: click.Context, _option: click.Parameter, data: Path | None) -> None:
    try:
        context.obj = dict(environ(data))
    except NotRunning as error:
        raise click.ClickException(str(error)) from error


data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_keep,
    expose_value=False,
    help="The data directory of the `onejob up` that is meant. Without it: the Redis that"
    " $ONEJOB_REDIS_URL names, else the one that runs on $ONEJOB_DATA or ~/.onejob.",
)


def given() -> dict[str, str]:
    """The environment of the command that runs, with the settings of the server it is for."""
    found: Mapping[str, str] = click.get_current_context().obj or {}
    own = {k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in found}
    return own | dict(found)


def settings() -> "Settings":
    """The settings of the command that runs. Raises SettingsError."""
    from app import settings as app_settings  # takes long to import, and clients need none

    return app_settings.load(given())
