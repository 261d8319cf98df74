"""`onejob run`: submits a request, waits for its job with a live line, prints its response."""

import json
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import click

from app.client import Client, NoCredentials, Refused, Unreachable
from app.commands import access, exits
from app.commands.command import Command, job_path, part
from app.commands.following import Patience, TimeRanOut, fate, until_over, write_result
from app.commands.jobs import opener
from app.story import Stopwatch, Story

METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")
REPEAT_SECONDS = 30.0  # a server that does not answer, or says "later", is asked again that long
REPEATED = (429, 502, 503, 504)
# Characters that a request line may have as they are; the others are escaped.
_PLAIN = "/?%:@!$&'()*+,;=-._~[]"
_OURS = {
    "authorization": "the key comes from the environment, a profile or --inference-key-file",
    "x-inference-id": "use --id",
    "prefer": "run waits by itself, or use --no-wait",
    "content-length": "it is what -d has",
    "transfer-encoding": "the body is sent whole",
}


@dataclass(frozen=True)
class Submission:
    """A request that may be sent again: its id makes all of them one job."""

    name: str  # of the deployment
    job_id: str
    method: str
    target: str  # path and query behind the deployment's name
    headers: list[tuple[str, str]]
    body: bytes

    def send(self, client: Client) -> None:
        """Raises what the client does."""
        headers = [*self.headers, ("X-Inference-Id", self.job_id)]
        client.data(self.method, f"/{part(self.name)}{self.target}", headers, self.body)


@click.command(cls=Command)
@click.argument("name", metavar="DEPLOYMENT")
@click.argument("path", default="/", metavar="[PATH]")
@click.option("-d", "--body", "body", metavar="BODY", help="The body; @FILE, or - for stdin.")
@click.option("-X", "--request", "method", type=click.Choice(METHODS), default="POST", help="POST.")
@click.option("-H", "--header", "headers", multiple=True, metavar="HEADER", help="'Name: value'.")
@click.option("--id", "job_id", help="The job's id; without it, a new one.")
@click.option("--no-wait", is_flag=True, help="Print the job's id, and leave it to itself.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Of the wait.")
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C and SIGTERM cancel the job.")
@click.option(
    "-o",
    "--output-file",
    "out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="For the response.",
)
def run(
    name: str,
    path: str,
    body: str | None,
    method: str,
    headers: tuple[str, ...],
    job_id: str | None,
    no_wait: bool,
    timeout: float | None,
    cancel_on_interrupt: bool,
    out: str | None,
) -> None:
    """Submit a request as a job, wait for its end, print its response.

    The response goes to standard output, all else to standard error. The exit code is the job's
    fate: 0 if it succeeded, else 1; 7 if it is not over after --timeout. A body that is JSON is
    sent as such unless -H says otherwise. While the server can't be reached the request is
    repeated, with the same id, so that there is one job. Ctrl-C leaves the job running.

    \b
    Examples:
      onejob run hello '/job?duration=1' -d '{"x": 1}'
      onejob run hello /job -d @input.json -o answer.json
      onejob run hello /job -d - < input.json
      onejob run hello /job -X PUT -H 'Content-Type: text/csv' -d 'a,b' --timeout 60
      onejob run hello /job -d '{}' --id nightly-2026-11-28 --no-wait
    """
    client = access.client()
    if cancel_on_interrupt and not client.has_control:
        raise NoCredentials("--cancel-on-interrupt needs a client id and its secret")
    submission = _submission(name, path, body, method, headers, job_id)
    story, watch = Story(sys.stderr), Stopwatch()
    with _interruptible(client, submission, cancel_on_interrupt, story):
        submit(client, submission, story)
        if no_wait:
            click.echo(submission.job_id)
            return
        click.echo(f"job {submission.job_id}", err=True)
        job = _waited(client, submission, timeout, story)
    # Where the response goes to a terminal, too, its fate comes first.
    click.echo(f"{fate(job)}  {watch}", err=True)
    code = write_result(client, name, job, opener(out))
    click.get_current_context().exit(code)


def _submission(
    name: str,
    path: str,
    body: str | None,
    method: str,
    headers: tuple[str, ...],
    job_id: str | None,
) -> Submission:
    content = _content(body)
    typed = _with_type([_header(given) for given in headers], content)
    return Submission(name, job_id or str(uuid.uuid4()), method, _target(path), typed, content)


def submit(client: Client, submission: Submission, story: Story) -> None:
    """Has the job accepted, with repeats for a while. Raises what the last try did."""
    give_up, watch = time.monotonic() + REPEAT_SECONDS, Stopwatch()
    last: Unreachable | Refused
    while True:
        try:
            return submission.send(client)
        except Unreachable as error:
            pause, words, last = 1.0, "no answer", error
        except Refused as error:
            if error.status not in REPEATED:
                raise
            pause, words, last = error.retry_after_seconds or 1.0, str(error), error
        if time.monotonic() + pause > give_up:
            story.quiet()
            click.echo(
                f"not known whether {submission.job_id} was accepted; to go on, "
                f"repeat the command with --id {submission.job_id}",
                err=True,
            )
            raise last
        story.live(f"{words}, trying again  {watch}")
        time.sleep(pause)  # as the server asked


def _waited(
    client: Client, submission: Submission, timeout: float | None, story: Story
) -> dict[str, Any]:
    try:
        name, job_id = submission.name, submission.job_id
        return until_over(client, name, job_id, Patience.of(timeout), story)
    except TimeRanOut:
        click.echo(
            f"onejob: not over after {timeout:g} s; it goes on\n{_ways(submission)}", err=True
        )
        click.get_current_context().exit(exits.NOT_OVER)


@contextmanager
def _interruptible(
    client: Client, submission: Submission, cancels: bool, story: Story
) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _interrupt) if cancels else None
    try:
        yield
    except KeyboardInterrupt:
        story.quiet()
        if cancels:
            _cancel(client, submission)
        else:
            click.echo(f"\nthe job is left to itself\n{_ways(submission)}", err=True)
        click.get_current_context().exit(exits.INTERRUPTED)
    finally:
        if cancels:
            signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _cancel(client: Client, submission: Submission) -> None:
    click.echo("\ncancelling the job", err=True)
    path = job_path(submission.name, submission.job_id, "/cancel?timeout=20000")
    try:
        words = client.control("POST", path).json()["State"]
    except Refused as error:
        if error.status != 404:
            raise
        words = "not accepted"  # the interrupt came before
    click.echo(f"job {submission.job_id} is {words}", err=True)


def _ways(submission: Submission) -> str:
    where = f"{submission.name} {submission.job_id}"
    return (
        f"  look at it     onejob status {where}\n"
        f"  wait for it    onejob result {where} --wait\n"
        f"  end it         onejob cancel {where}"
    )


def _target(path: str) -> str:
    """A path and query as they go into a request line."""
    rooted = path if path.startswith(("/", "?")) else f"/{path}"
    return quote(rooted, safe=_PLAIN)


def _header(given: str) -> tuple[str, str]:
    name, mark, value = given.partition(":")
    if not name.strip() or not mark or not (given.isprintable() and given.isascii()):
        raise click.UsageError(f"-H {given!r} is not 'Name: value'")
    if why := _OURS.get(name.strip().lower()):
        raise click.UsageError(f"-H {name.strip()}: {why}")
    return name.strip(), value.strip()


def _content(given: str | None) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    if given is None or not given.startswith("@"):
        return (given or "").encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise click.UsageError(f"-d {given}: {error.strerror}") from error


def _with_type(headers: list[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
    """The headers, with a content type where there is a body and none was given."""
    if not body or any(name.lower() == "content-type" for name, _ in headers):
        return headers
    try:
        json.loads(body)
    except ValueError:
        return [*headers, ("Content-Type", "application/octet-stream")]
    return [*headers, ("Content-Type", "application/json")]
