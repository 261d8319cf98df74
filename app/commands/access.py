"""Which server is meant, and by which credentials: the first of these that says so.

1. options of the command
2. the profile that --profile names, or the local server that --data names
3. the environment: ONEJOB_URL, ONEJOB_CLIENT_ID, ONEJOB_CLIENT_SECRET, ONEJOB_INFERENCE_KEY, each
   also as …_FILE
4. the profile that ONEJOB_PROFILE names, else `default`
5. the server that `onejob up` runs on $ONEJOB_DATA or ~/.onejob

Credentials are never taken from further down than the URL, unless that is an option: those of one
server must not reach another.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from app import local
from app.client import Client

MEMBERS = ("url", "client_id", "client_secret", "inference_key")
_META = "onejob.access"
Values = dict[str, str]


def options() -> list[click.Option]:
    """The options that every client's command has."""
    told = {
        "url URL": "The server, http(s)://host[:port].  [$ONEJOB_URL]",
        "profile NAME": "A table of the file of profiles.  [$ONEJOB_PROFILE, default]",
        "config FILE": "The file of profiles.  [$ONEJOB_CONFIG, ~/.config/onejob/config.toml]",
        "data DIRECTORY": "The data directory of a running `onejob up`.  [$ONEJOB_DATA, ~/.onejob]",
        "client-id ID": "Of the control plane.  [$ONEJOB_CLIENT_ID]",
        "client-secret-file FILE": "With its secret.  [$ONEJOB_CLIENT_SECRET or …_FILE]",
        "inference-key-file FILE": "With a key of the data plane."
        "  [$ONEJOB_INFERENCE_KEY or …_FILE]",
    }
    return [_option(words, text) for words, text in told.items()]


def client() -> Client:
    """A client as the command that runs wants it. Raises click.UsageError."""
    given: Values = click.get_current_context().meta.get(_META, {})
    found = resolve(given, os.environ)
    if "url" not in found:
        raise click.UsageError(
            "no server is named: give --url or ONEJOB_URL, write a profile into"
            f" {config_path(given, os.environ)}, or start one here with scripts/run"
        )
    client_id, secret, key = (found.get(name, "") for name in MEMBERS[1:])
    return Client(_checked_url(found["url"]), client_id, secret, key)


def resolve(given: Mapping[str, str], environ: Mapping[str, str]) -> Values:
    """The URL and the credentials that were found. Raises click.UsageError.

    `given` are the options by their names, `environ` is the environment.
    """
    sources: list[Callable[[], Values]] = [
        lambda: _from_options(given),
        lambda: _named(given, environ),
        lambda: _from_environment(environ),
        lambda: _profile(config_path(given, environ), environ.get("ONEJOB_PROFILE")),
        lambda: local.client_settings(None),
    ]
    found: Values = {}
    for rank, source in enumerate(sources):
        if rank > 2 and "url" in found:
            break
        found = source() | found
        if rank == 1 and "url" in found and "url" not in given:
            break
    return found


def config_path(given: Mapping[str, str], environ: Mapping[str, str]) -> Path:
    """Where the profiles are."""
    if named := given.get("config") or environ.get("ONEJOB_CONFIG"):
        return Path(named).expanduser()
    folder = environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "onejob" / "config.toml"


def _option(words: str, text: str) -> click.Option:
    name, metavar = words.split()
    return click.Option(
        [f"--{name}"], metavar=metavar, expose_value=False, callback=_keep, help=text
    )


def _keep(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None and option.name is not None:
        context.meta.setdefault(_META, {})[option.name] = value


def _from_options(given: Mapping[str, str]) -> Values:
    named = {name: given[name] for name in ("url", "client_id") if name in given}
    for name in ("client_secret", "inference_key"):
        if path := given.get(f"{name}_file"):
            named[name] = _content(path, f"--{name.replace('_', '-')}-file")
    return named


def _named(given: Mapping[str, str], environ: Mapping[str, str]) -> Values:
    if "profile" in given and "data" in given:
        raise click.UsageError("--profile and --data exclude each other")
    if "profile" in given:
        return _profile(config_path(given, environ), given["profile"])
    if "data" not in given:
        return {}
    try:
        return local.client_settings(Path(given["data"]))
    except local.NotRunning as error:
        raise click.UsageError(str(error)) from error


def _from_environment(environ: Mapping[str, str]) -> Values:
    found: Values = {}
    for name in MEMBERS:
        variable = f"ONEJOB_{name.upper()}"
        value, path = environ.get(variable), environ.get(f"{variable}_FILE")
        if value and path:
            raise click.UsageError(f"{variable} and {variable}_FILE are both given")
        if value or path:
            found[name] = value or _content(path or "", f"{variable}_FILE")
    return found


def _profile(path: Path, name: str | None) -> Values:
    """A profile; that of no name is `default`, and need not be there."""
    try:
        tables = tomllib.loads(path.read_text())
    except FileNotFoundError:
        tables = {}
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from error
    table = tables.get(name or "default")
    if table is None and name is None:
        return {}
    if not isinstance(table, dict):
        raise click.UsageError(f"{path} has no profile {name or 'default'!r}")
    return _members(table, f"{path}, profile {name or 'default'!r}")


def _members(table: dict[str, Any], where: str) -> Values:
    found: Values = {}
    for key, value in table.items():
        name = key.removesuffix("_file")
        if name not in MEMBERS or not isinstance(value, str):
            allowed = ", ".join(MEMBERS)
            raise click.UsageError(f"{where}: {key} is not allowed; {allowed} are, and …_file")
        if name in found:
            raise click.UsageError(f"{where}: {name} and {name}_file are both given")
        found[name] = value if key == name else _content(value, f"{where}: {key}")
    return found


def _content(path: str, what: str) -> str:
    """A file's text without the end of its last line."""
    try:
        text = Path(path).expanduser().read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{what}: {error}") from error
    if not text:
        raise click.UsageError(f"{what}: {path} is empty")
    return text


def _checked_url(text: str) -> str:
    try:
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good or url.query or url.fragment or url.username:
        raise click.UsageError(f"{text!r} is no http(s)://host[:port][/path]")
    return text.rstrip("/")
