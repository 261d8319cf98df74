"""Commands for who runs the machines: nodes, draining one, and the recovery of the ledger.

All but `sweep` need nothing but a Redis: see `app.local` for which.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click
import redis

from app import local
from app.dispatch import Publisher, forget_node_queue
from app.domain.errors import NotFound, OnejobError
from app.domain.job import Hint
from app.ledger import Ledger, connect
from app.ledger.nodes import NODE_PATTERN, SILENT_SECONDS, NodeView
from app.ledger.sealing import CantOpen, NoKey
from app.settings import SettingsError

TIME_RAN_OUT = 3  # the exit code of `onejob drain --wait`
POLL_SECONDS = 0.5
AGES = 1e9  # seconds: of a machine that this ledger was told of, and never heard


@click.group()
def node() -> None:
    """The machines that run jobs."""


@node.command("list")
@local.data_option
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
def list_nodes(output: str) -> None:
    """Every machine that was heard of, and what slots wait for.

    \b
    Examples:
      onejob node list
      onejob node list -o json
    """
    with _ledger() as ledger:
        nodes = ledger.nodes.all()
    if output == "json":
        click.echo(json.dumps([_members(view) for view in nodes], indent=2))
        return
    click.echo(f"{'NODE':<18}{'SILENT':>10}{'ATTEMPTS':>10}{'STRAYS':>8}  PROBLEMS")
    for view in nodes:
        problems = "; ".join(_problems(view)) or "-"
        silent = f"{view.silent_seconds:.0f} s" if view.silent_seconds < AGES else "ever"
        click.echo(f"{view.id:<18}{silent:>10}{view.attempts:>10}{view.strays:>8}  {problems}")


@node.command()
@local.data_option
@click.argument("name")
def forget(name: str) -> None:
    """Forget a machine that is gone for good, and free the slots that wait for it.

    Say this only where none of its replicas can still run: after it was switched off.

    \b
    Example:
      onejob node forget 0a1b2c3d4e5f6071
    """
    with _ledger() as ledger:
        settings = local.settings()
        more = True
        while more:
            more, hints = ledger.nodes.lose(name, SILENT_SECONDS, settings.stop_grace_seconds, True)
            _publish(settings.redis_url, hints)
        _publish(settings.redis_url, ledger.nodes.forget(name))
        forget_node_queue(ledger.client, name)
    click.echo(f"node {name} is forgotten")


@click.command()
@click.argument("name", metavar="NODE")
@click.option(
    "--wait",
    "seconds",
    type=click.FloatRange(min=0),
    help="Wait that long until it holds no job; 3 is the exit code if it still does then.",
)
@click.option("--undo", is_flag=True, help="It takes jobs again.")
@local.data_option
def drain(name: str, seconds: float | None, undo: bool) -> None:
    """Have a machine take no new jobs. What it runs goes on to its end.

    It outlasts restarts of its workers, until --undo or `onejob node forget`.

    \b
    Examples:
      onejob drain 0a1b2c3d4e5f6071 --wait 3600
      onejob drain 0a1b2c3d4e5f6071 --undo
    """
    if undo and seconds is not None:
        raise click.UsageError("--wait and --undo exclude each other")
    with _ledger() as ledger:
        ledger.nodes.drain(name, not undo)
        if undo:
            click.echo(f"node {name} takes jobs again")
        elif seconds is None:
            click.echo(f"node {name} takes no new jobs")
        elif _empty_within(ledger, name, seconds):
            click.echo(f"node {name} is empty")
        else:
            click.echo(f"node {name} still holds jobs")
            sys.exit(TIME_RAN_OUT)


def _empty_within(ledger: Ledger, name: str, seconds: float) -> bool:
    """Whether a node holds nothing within that time; tells a terminal of each change."""
    give_up, told = time.monotonic() + seconds, ""
    while True:
        # Jobs may last for days: a Redis that is away meanwhile is no reason to give up.
        with suppress(redis.ConnectionError, redis.TimeoutError):
            view = _view(ledger, name)
            if view.empty:
                return True
            words = f"left: {view.attempts} jobs, {view.strays} strays"
            if words != told and sys.stderr.isatty():
                click.echo(words, err=True)
            told = words
        if time.monotonic() >= give_up:
            return False
        time.sleep(POLL_SECONDS)  # the ledger is asked; it calls nobody


def _view(ledger: Ledger, name: str) -> NodeView:
    for view in ledger.nodes.all():
        if view.id == name:
            return view
    raise NotFound(f"no node {name!r}")


@click.command()
@local.data_option
@click.option(
    "--expect",
    "expected",
    multiple=True,
    metavar="NODE",
    callback=lambda _context, _option, given: _node_ids(given),
    help="Wait for this machine too, which joined after the file was written; may be repeated.",
)
def recover(expected: tuple[str, ...]) -> None:
    """After Redis was restored from an older file, or was emptied.

    Such a file can have forgotten what runs. Nothing new is started until every machine that the
    ledger knows has told what it runs, which takes seconds; those that are gone for good have to be
    forgotten with `onejob node forget`.

    A machine that the file does not know and that is down just now has to be named: else its jobs
    may be started a second time. Its id lies in the file `node` of its spool root.

    \b
    Examples:
      onejob recover
      onejob recover --expect 0a1b2c3d4e5f6071
    """
    with _ledger() as ledger:
        waiting = ledger.recovery.begin(expected)
    if waiting:
        click.echo(f"nothing is started until these machines have reported: {', '.join(waiting)}")
    else:
        click.echo("no machine is known here: start the workers, then say `onejob recover` again")


@click.command()
@local.data_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def sweep(dry_run: bool) -> None:
    """Do once what every worker does all the time: what is overdue, on this machine too.

    All but losing machines: that takes a sweep that has watched them for the node timeout. It needs
    a worker's settings, and its engine.

    \b
    Examples:
      onejob sweep --dry-run
      onejob sweep
    """
    arguments = ["--dry-run"] if dry_run else []
    os.environ.update(local.given())
    os.execv(sys.executable, [sys.executable, "-m", "workers.once", *arguments])


@click.group()
def secrets() -> None:
    """What clients have stored for their deployments."""


@secrets.command()
@local.data_option
def rotate() -> None:
    """Encrypt every secret anew, with the first key of ONEJOB_SECRETS_KEY.

    Say this once every API and worker has the new key before the old one; afterwards the old one is
    not needed any more.

    \b
    Example:
      onejob secrets rotate
    """
    with _ledger() as ledger:
        click.echo(f"{ledger.secrets.rotate()} secrets are encrypted with the first key")


def _node_ids(given: tuple[str, ...]) -> tuple[str, ...]:
    for name in given:
        if not NODE_PATTERN.fullmatch(name):
            raise click.BadParameter(f"{name!r} is no machine's id: it has 16 digits of 0-9 a-f")
    return given


@contextmanager
def _ledger() -> Iterator[Ledger]:
    """The ledger; errors become one line and exit code 1."""
    try:
        settings = local.settings()
        client = connect(settings.redis_url)
        yield Ledger(client, secrets_key=settings.secrets_key)
        client.close()
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise click.ClickException(f"Redis does not answer: {error}") from error
    except (SettingsError, redis.RedisError, NoKey, CantOpen) as error:
        raise click.ClickException(str(error)) from error
    except OnejobError as error:
        raise click.ClickException(error.message) from error


def _publish(url: str, hints: list[Hint]) -> None:
    if hints:
        Publisher(url)(hints)


def _problems(view: NodeView) -> list[str]:
    return [*(["draining"] if view.draining else []), *view.info.get("problems", [])]


def _members(view: NodeView) -> dict[str, object]:
    return {
        "id": view.id,
        "silent_seconds": round(view.silent_seconds, 1),
        "attempts": view.attempts,
        "strays": view.strays,
        "draining": view.draining,
        "problems": view.info.get("problems", []),
        "compute": sorted(view.info.get("compute", {})),
    }
