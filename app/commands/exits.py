"""With which code a client's command ends: scripts may rely on these."""

from typing import Final

from app.client import NoCredentials, Refused, Unreachable, Unsendable

DONE: Final = 0
JOB_FAILED: Final = 1  # failed, timed_out, cancelled or expired
USAGE: Final = 2  # the command line, or a file that it names
NOT_FOUND: Final = 3  # no such deployment or job, or no longer kept
UNAUTHORIZED: Final = 4  # credentials are missing, or not good for this
UNREACHABLE: Final = 5  # no answer, or the server can't do it now
REFUSED: Final = 6  # the server does not do this: its words say why
NOT_OVER: Final = 7  # it goes on: the job, or what was asked for
INTERRUPTED: Final = 130  # what a shell reports of a program that SIGINT ended


def of(error: Refused | Unreachable | NoCredentials | Unsendable) -> int:
    """The code of a command that ends by this error."""
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, Unsendable):
        return USAGE
    if isinstance(error, NoCredentials) or error.status in (401, 403):
        return UNAUTHORIZED
    if error.status in (404, 410):
        return NOT_FOUND
    return UNREACHABLE if error.status == 429 or error.status >= 500 else REFUSED


def of_job(state: str) -> int:
    """The code that tells the fate of a job that is over."""
    return DONE if state == "succeeded" else JOB_FAILED
