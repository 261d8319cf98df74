"""Jobs: list and see them, fetch what they left, end them, do them again."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import IO, Any
from urllib.parse import urlencode

import click

from app.client import Client
from app.commands import access, exits
from app.commands.command import Command, deployment_path, job_path, output_option
from app.commands.following import (
    OVER,
    Opener,
    Patience,
    TimeRanOut,
    fate,
    look,
    until_over,
    write_result,
)
from app.commands.output import (
    second,
    seconds_between,
    show_json,
    show_members,
    show_table,
    text,
)
from app.story import Story

PAGE = 1000  # jobs in one answer, at most
PATIENCE_SECONDS = 30.0  # beyond what the server was asked to wait
STATES = ("queued", "dispatched", "starting", "running")
ENDS = ("succeeded", "failed", "timed_out", "cancelled", "expired")


@click.command(cls=Command)
@click.argument("name", metavar="DEPLOYMENT")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES + ENDS),
    metavar="STATE",
    help=f"Only these; may be repeated: {', '.join(STATES + ENDS)}.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    metavar="N",
    help="The newest N.",
)
@click.option("--all", "everything", is_flag=True, help="However many there are.")
@output_option
def jobs(name: str, states: tuple[str, ...], limit: int, everything: bool, output: str) -> None:
    """The jobs of a deployment, the newest first.

    \b
    Examples:
      onejob jobs hello
      onejob jobs hello --state failed --state timed_out --limit 200
      onejob jobs hello --all -o json
    """
    most = None if everything else limit
    found = list(_pages(access.client(), name, states, most))
    if output == "json":
        show_json(found)
        return
    show_table(("ID", "STATE", "REASON", "ATTEMPT", "CREATED", "TOOK"), map(_row, found))


@click.command(cls=Command)
@click.argument("name", metavar="DEPLOYMENT")
@click.argument("job_id", metavar="ID")
@output_option
def status(name: str, job_id: str, output: str) -> None:
    """One job: where it stands, what became of it, and when.

    The exit code is 0 whatever became of it. See `onejob result` for one that tells.

    \b
    Examples:
      onejob status hello $ID
      onejob status hello $ID -o json
    """
    client = access.client()
    if client.has_control:  # it tells more
        job = client.control("GET", job_path(name, job_id)).json()
    else:
        job = look(client, name, job_id)
    if output == "json":
        show_json(job)
        return
    show_members(_told(job))
    for entry in job["Timeline"]:
        words = (second(entry["At"]), entry["Event"], entry.get("Detail"))
        click.echo("  " + "  ".join(text(word) for word in words if word))


@click.command(cls=Command)
@click.argument("name", metavar="DEPLOYMENT")
@click.argument("job_id", metavar="ID")
@click.option(
    "-o",
    "--output-file",
    "path",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="For the response.",
)
@click.option("--wait", is_flag=True, help="Until it is over.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Of --wait.")
def result(name: str, job_id: str, path: str | None, wait: bool, timeout: float | None) -> None:
    """The response of a job, byte for byte, on standard output.

    The exit code is the job's fate: 0 if it succeeded, else 1; 7 while it is not over.

    \b
    Examples:
      onejob result hello $ID
      onejob result hello $ID --wait --timeout 60 -o answer.json
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
    client, context = access.client(), click.get_current_context()
    job = look(client, name, job_id)
    if job["Status"] != OVER and wait:
        try:
            patience = Patience.of(timeout)
            job = until_over(client, name, job_id, patience, Story(sys.stderr))
        except TimeRanOut:
            job = look(client, name, job_id)
    if job["Status"] != OVER:
        click.echo(f"onejob: no result yet: the job is {job['State']}", err=True)
        context.exit(exits.NOT_OVER)
    code = write_result(client, name, job, opener(path))
    if code != exits.DONE:
        click.echo(fate(job), err=True)
    context.exit(code)


@click.command(cls=Command)
@click.argument("name", metavar="DEPLOYMENT")
@click.argument("job_id", metavar="ID")
@click.option(
    "--timeout",
    type=click.IntRange(0, 300),
    default=20,
    show_default=True,
    metavar="SECONDS",
    help="To wait until its container is gone; 7 is the exit code if it is not.",
)
def cancel(name: str, job_id: str, timeout: int) -> None:
    """Cancel a job, in whatever state it is. One that is over stays as it is.

    \b
    Example:
      onejob cancel hello $ID
    """
    client = replace(access.client(), timeout_seconds=timeout + PATIENCE_SECONDS)
    path = job_path(name, job_id, f"/cancel?timeout={1000 * timeout}")
    answer = client.control("POST", path)
    job = answer.json()
    gone = answer.status == 200
    click.echo(f"job {job_id} is {job['State']}" + ("" if gone else ", and is being cancelled"))
    click.get_current_context().exit(exits.DONE if gone else exits.NOT_OVER)


@click.command(cls=Command)
@click.argument("name", metavar="DEPLOYMENT")
@click.argument("job_id", metavar="ID")
def retry(name: str, job_id: str) -> None:
    """Make a new job of the request of one that is over, and print its id.

    \b
    Example:
      onejob retry hello $ID
    """
    click.echo(access.client().control("POST", job_path(name, job_id, "/retry")).json()["Id"])


def opener(path: str | None) -> Opener:
    """What opens the file at a path for bytes, or standard output where there is none or `-`."""

    def opened() -> AbstractContextManager[IO[bytes]]:
        if path in (None, "-"):
            return nullcontext(sys.stdout.buffer)
        try:
            return open(path, "wb")
        except OSError as error:
            raise click.UsageError(f"{path}: {error.strerror}") from error

    return opened


def _pages(
    client: Client, name: str, states: tuple[str, ...], most: int | None
) -> Iterator[dict[str, Any]]:
    """Jobs, page by page, up to that many of them."""
    cursor, left = "", most
    while left is None or left > 0:
        limit = PAGE if left is None else min(PAGE, left)
        query = [("limit", str(limit)), ("cursor", cursor), *(("state", s) for s in states)]
        path = deployment_path(name, f"/jobs?{urlencode(query)}")
        page = client.control("GET", path).json()
        yield from page["jobs"]
        left = None if left is None else left - len(page["jobs"])
        if not (cursor := page["cursor"]):
            return


def _row(job: dict[str, Any]) -> tuple[Any, ...]:
    took = seconds_between(job["StartedAt"], job["FinishedAt"])
    return (
        job["Id"],
        job["State"],
        job["Reason"],
        job["Attempt"],
        second(job["CreatedAt"]),
        took,
    )


def _told(job: dict[str, Any]) -> list[tuple[str, Any]]:
    request = job.get("Request", {})
    asked = f"{request['Method']} {request['Target']}, {request['Size']} bytes" if request else None
    return [
        ("Id", job["Id"]),
        ("State", job["State"]),
        ("Place", job["QueuePosition"]),
        ("Reason", job["Reason"]),
        ("Error", job["Error"]),
        ("Exit code", job["ExitCode"]),
        ("Response", job["ResponseStatus"] and f"HTTP {job['ResponseStatus']}"),
        ("Request", asked),
        ("Attempt", job["Attempt"]),
        ("Replica", job["Replica"]),
        ("Node", job["Node"]),
        ("Created", second(job["CreatedAt"])),
        ("Started", second(job["StartedAt"])),
        ("Finished", second(job["FinishedAt"])),
        ("Took", seconds_between(job["StartedAt"], job["FinishedAt"])),
        ("Deadline", second(job["DeadlineAt"])),
        ("Kept until", second(job["ResultExpiresAt"])),
    ]
