"""`onejob logs`: what a job's replica printed, at its end or as it comes."""

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO

import click

from app.client import Answer, Client, Refused, Stream, Unreachable
from app.commands import access, exits
from app.commands.command import Command, job_path
from app.commands.following import Patience, until_over
from app.story import Story

EVENTS = "text/event-stream"
LINE = "message"  # the kind of event that is a line of the log; as JSON, with when and where
REMOVAL_SECONDS = 90.0  # that a log is waited for after its job's end: its machine may be gone
SILENT_SECONDS = 300.0  # of a stream, before its connection counts as dead


@dataclass(frozen=True)
class Event:
    """One event of a stream, without its end-of-line."""

    kind: str  # "message" unless it says otherwise
    data: str


class Printed:
    """What was printed of a log so far."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._size = 0
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Prints more of it, at once."""
        self._out.write(data)
        self._out.flush()
        self._size += len(data)
        self._digest.update(data)

    def complete(self, log: bytes) -> None:
        """Prints what the whole log has more; all of it where that is not how it begins."""
        begins = hashlib.sha256(log[: self._size]).digest() == self._digest.digest()
        if not begins:
            click.echo("onejob: once more, from the first line that was kept:", err=True)
        self.write(log[self._size if begins else 0 :])


@click.command(cls=Command)
@click.argument("name", metavar="DEPLOYMENT")
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="As it is printed, until the job is over.")
def logs(name: str, job_id: str, follow: bool) -> None:
    """What a job printed, both streams as they came: the last part, up to the server's bound.

    Of a job that runs, what it printed so far. Before it runs there is none: 7 is the exit code.

    \b
    Examples:
      onejob logs hello $ID
      onejob logs hello $ID -f
    """
    client, out = access.client(), sys.stdout.buffer
    if follow:
        follow_log(client, name, job_id, out)
        return
    try:
        print_log(client, name, job_id, out)
    except Refused as error:
        if "retry-after" not in error.headers:  # it is not there, and will not be
            raise
        click.echo(f"onejob: {error}", err=True)
        click.get_current_context().exit(exits.NOT_OVER)


def print_log(client: Client, name: str, job_id: str, out: IO[bytes]) -> None:
    """The log, as far as it goes. Raises Refused, with Retry-After if there is none yet."""
    with client.control_stream("GET", job_path(name, job_id, "/logs")) as stream:
        _copy(stream, out)


def follow_log(client: Client, name: str, job_id: str, out: IO[bytes]) -> None:
    """The log as it comes; what is missing of it at the end, where there is no whole stream."""
    path = job_path(name, job_id, "/logs?follow=true")
    printed = Printed(out)
    try:
        patient = replace(client, timeout_seconds=SILENT_SECONDS)
        with patient.control_stream("GET", path) as stream:
            if not stream.headers.get("content-type", "").startswith(EVENTS):
                return _copy(stream, out)  # it is over already
            for event in events(stream.lines()):
                if event.kind == "end":
                    return None
                if event.kind == LINE:
                    message = str(json.loads(event.data)["message"])
                    printed.write(message.encode("utf-8", "replace") + b"\n")
        click.echo("onejob: the stream ended early; the rest comes at the job's end", err=True)
    except Refused as error:
        if "retry-after" not in error.headers:
            raise
    except Unreachable as error:
        click.echo(f"onejob: {error}; the rest comes at the job's end", err=True)
    until_over(client, name, job_id, Patience.of(None), Story(sys.stderr))
    log = _log_at_the_end(client, name, job_id)
    printed.complete(log.body)
    _tell_if_cut(log.headers)
    return None


def events(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events of a text/event-stream; comments, and events without data or a kind, are none."""
    kind, data = "", list[str]()
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if kind or data:
                yield Event(kind or "message", "\n".join(data))
            kind, data = "", []
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)


def _log_at_the_end(client: Client, name: str, job_id: str) -> Answer:
    """The whole log of a job that is over, once its container is gone."""
    give_up = time.monotonic() + REMOVAL_SECONDS
    while True:
        try:
            return client.control("GET", job_path(name, job_id, "/logs"))
        except Refused as error:
            if "retry-after" not in error.headers or time.monotonic() > give_up:
                raise
            time.sleep(error.retry_after_seconds or 1)  # as the server asked


def _copy(stream: Stream, out: IO[bytes]) -> None:
    for piece in stream.pieces():
        out.write(piece)
    out.flush()
    _tell_if_cut(stream.headers)


def _tell_if_cut(headers: dict[str, str]) -> None:
    if headers.get("x-log-complete") == "false":
        click.echo("onejob: the job still runs; onejob logs -f goes on", err=True)
    if headers.get("x-log-truncated") == "true":
        click.echo("onejob: the beginning of the log was cut off", err=True)
