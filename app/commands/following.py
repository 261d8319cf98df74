"""A job from outside: where it stands, the wait for its end, and what it left."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Any

from app.client import Client, Refused, Stream, Unreachable
from app.commands import exits
from app.commands.command import job_path, part
from app.commands.output import text
from app.story import Stopwatch, Story

FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.1, 1.0
RESULT_SECONDS = 30.0  # a result is asked for again that long
AWAY_SECONDS = 600.0  # a server that is away for longer is no longer waited for
TRANSIENT = (429, 500, 502, 503, 504)  # of an answer that may be another one a little later
OVER = "Completed"
Opener = Callable[[], AbstractContextManager[IO[bytes]]]


class TimeRanOut(Exception):
    """The job is not over yet."""


@dataclass(frozen=True)
class Patience:
    """How long a job is waited for: None is as long as it takes."""

    seconds: float | None
    began: float

    @classmethod
    def of(cls, seconds: float | None) -> "Patience":
        """From now on."""
        return cls(seconds, time.monotonic())

    @property
    def pause_seconds(self) -> float:
        """Until the next look: short at first. Raises TimeRanOut."""
        gone = time.monotonic() - self.began
        left = gone + 1 if self.seconds is None else self.seconds - gone
        if left <= 0:
            raise TimeRanOut
        return min(LAST_POLL_SECONDS, FIRST_POLL_SECONDS + gone / 10, left)


def look(client: Client, name: str, job_id: str) -> dict[str, Any]:
    """Where a job stands, as /status says it; by whichever credentials there are."""
    if client.inference_key:
        answer = client.data("GET", f"/status/{part(name)}", {"X-Inference-Id": job_id})
    else:
        answer = client.control("GET", job_path(name, job_id))
    status: dict[str, Any] = answer.json()
    return status


def until_over(
    client: Client, name: str, job_id: str, patience: Patience, story: Story
) -> dict[str, Any]:
    """Waits for a job's end, with a live line on a terminal; its last status.

    A server that is away, or can't answer now, is waited for as well. Raises TimeRanOut.
    """
    watch, heard_at = Stopwatch(), time.monotonic()
    try:
        while True:
            try:
                status = look(client, name, job_id)
                if status["Status"] == OVER:
                    return status
                words, heard_at = live_words(status), time.monotonic()
            except (Unreachable, Refused) as error:
                if not _passes(error) or time.monotonic() - heard_at > AWAY_SECONDS:
                    raise
                words = f"no answer: {text(error)}"
            story.live(f"{words}  {watch}")
            time.sleep(patience.pause_seconds)  # the server is asked; it calls nobody
    finally:
        story.quiet()


def live_words(status: dict[str, Any]) -> str:
    """A job's state in a few words."""
    place = status["QueuePosition"]
    where = f"place {place} in the queue" if place else status["Replica"]
    return f"{status['State']}  {where}" if where else str(status["State"])


def write_result(client: Client, name: str, job: dict[str, Any], open_out: Opener) -> int:
    """Writes the response of a job that is over, if it left one; the exit code of its fate.

    `job` is its status. Raises Refused where the response is no longer kept. A server that can't
    answer now is asked again for a while.
    """
    give_up = time.monotonic() + RESULT_SECONDS
    while True:
        try:
            with client.data_stream(
                "GET", f"/result/{part(name)}", {"X-Inference-Id": job["Id"]}
            ) as stream:
                if not _has_response(job, stream):
                    return exits.of_job(job["State"])
                break_off = _copy(stream, open_out)
            if break_off is None:
                return exits.of_job(job["State"])
        except (Unreachable, Refused) as error:
            if not _passes(error) or time.monotonic() > give_up:
                raise
            time.sleep(LAST_POLL_SECONDS)  # the server is asked; it calls nobody
            continue
        raise break_off  # half of it is written: it can't begin anew


def _has_response(job: dict[str, Any], stream: Stream) -> bool:
    """Whether that is the response of the job's app. Raises Refused if it should be, and is not."""
    if "x-job-state" not in stream.headers:
        raise stream.refusal()  # an error of the server; all that is about the job names its state
    # Whether there was a response the status tells: the app's own may look like our errors.
    responded = job["ResponseStatus"]
    expected = responded is not None or job["State"] == "succeeded"
    if stream.status == 410 and expected and responded != 410:
        raise stream.refusal()  # it was kept for a while, or not at all
    return responded is not None or stream.status < 400


def _copy(stream: Stream, open_out: Opener) -> Unreachable | None:
    """Writes it; returns what broke it off."""
    with open_out() as out:
        try:
            for piece in stream.pieces():
                out.write(piece)
        except Unreachable as error:
            return error
        finally:
            out.flush()
    return None


def fate(job: dict[str, Any]) -> str:
    """A sentence about the end of a job."""
    words = [job["State"]]
    if job["ResponseStatus"] is not None:
        words.append(f"HTTP {job['ResponseStatus']}")
    if job["State"] != "succeeded":
        words.append(f"{job['Reason']}: {text(job['Error'])}")
    return "  ".join(words)


def _passes(error: Exception) -> bool:
    return isinstance(error, Unreachable) or (
        isinstance(error, Refused) and error.status in TRANSIENT
    )
