"""What is left of an ended attempt: its ending, and its response on the way into the ledger."""

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from app.domain import transport
from app.domain.job import Job, Reason, State, TimelineEntry
from app.domain.log import Piece, lines_of
from app.domain.verdict import Ending, Outcome
from app.ledger import records
from app.ledger.payloads import Payloads, Upload
from workers.engine import Exit, ImageDenied, ImageError, ImageNotFound, StartRefused
from workers.events import Event, Events
from workers.spool import Spool, Untrusted

UNKNOWN_EXIT = 255  # what the engine says of a container that went down with its machine
_TOLD: dict[str, Callable[[Event], str | None]] = {  # of the usher's events, and how
    "responded": lambda e: f"status {e.number('status') or 0}, {e.number('bytes') or 0} bytes",
    "response_failed": lambda e: e.values.get("why", "")[:80] or None,
    "stopping": lambda e: e.values.get("why", "")[:80] or None,
    "killed": lambda e: None,
    "exited": lambda e: _exit_words(e),
}
_MACHINE_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response that lies in the ledger under a token."""

    token: str
    status: int
    size: int  # bytes of body

    def fields(self) -> dict[str, str | int]:
        """As the job's record keeps them."""
        return {
            "response": self.token,
            "response_status": self.status,
            "response_size": self.size,
        }


def ending(events: Events, engine_exit: Exit | None, cancel: Reason | None) -> Ending:
    """All that spool and engine know; the usher's word goes before the engine's."""
    exited = events.exited
    failure = events.get("response_failed")
    exec_failed = events.get("exec_failed")
    code, signal = _status(exited, engine_exit)
    return Ending(
        sent=events.sent,
        responded="responded" in events,
        response_failure=failure.values.get("why", "io") if failure else None,
        stopping=events.stopping,
        answered=events.answered,
        exit_code=code,
        signal=signal,
        oom_kills=_oom_kills(exited, engine_exit),
        memory_peak=exited.number("memory_peak") if exited else None,
        exec_errno=exec_failed.number("errno") if exec_failed else None,
        cancel=cancel,
    )


def story(events: Events) -> list[TimelineEntry]:
    """What the usher told from the response on, for the job's timeline."""
    told = [event for event in events.by_name.values() if event.name in _TOLD]
    return [TimelineEntry(event.name, event.at, _TOLD[event.name](event)) for event in told]


def refusal(error: StartRefused | ImageError) -> Outcome:
    """The outcome of an attempt that the engine will not start, now or later."""
    if isinstance(error, StartRefused):
        detail = f"the replica could not start: {error}"
        return Outcome(State.FAILED, Reason.START_FAILED, detail)
    reasons = {ImageNotFound: Reason.IMAGE_NOT_FOUND, ImageDenied: Reason.IMAGE_DENIED}
    return Outcome(State.FAILED, reasons.get(type(error), Reason.IMAGE_PULL_FAILED), str(error))


def exit_fields(ending: Ending, exited: Event | None = None) -> dict[str, str | int]:
    """How the app ended, and when by the usher's word, as the job's record keeps it."""
    fields: dict[str, str | int] = {"oom_killed": int(ending.oom_kills > 0)}
    if exited is not None:
        fields["exited_at"] = records.seconds(exited.at)
    if ending.signal is not None:
        return fields | {"exit_code": 128 + ending.signal}
    return fields | ({"exit_code": ending.exit_code} if ending.exit_code is not None else {})


def store_response(job: Job, spool: Spool, limit: int, payloads: Payloads) -> StoredResponse | None:
    """Copies a complete response from the spool into the ledger, under (attempt, fence).

    Returns None if what lies there is no response that can be served. It is kept for good only
    once the job is finished with its token; until then it goes by itself. Raises OSError where it
    is this machine that fails.
    """
    token = f"r-{job.uid}-{job.id}-{job.attempt}-{job.fence}"
    try:
        head = spool.read_head()
        status = transport.parse_response_head(head).status
        upload = payloads.upload(head, token)
        for chunk in spool.read_body(limit):
            upload.write(chunk)
        upload.finish()
    except OSError as error:
        if error.errno in _MACHINE_ERRORS:
            raise
        return None
    except (Untrusted, ValueError):
        return None
    return StoredResponse(token, status, upload.size)


def log_upload(job: Job, log: Iterable[Piece], payloads: Payloads) -> Upload:
    """A log on its way into the ledger, under (attempt, fence), in its stored form.

    Its end goes along with `keep_log`; what went before is kept for good only by that.
    """
    upload = payloads.upload(b"", f"l-{job.uid}-{job.id}-{job.attempt}-{job.fence}")
    upload.write(b"".join(piece.stored() for piece in log))
    return upload


def request_bytes(job: Job, payloads: Payloads, port: int) -> Iterator[bytes]:
    """The HTTP/1.1 request as the usher sends it. Raises NotFound if it is gone."""
    raw, body = payloads.read(job.payload)
    head = transport.RequestHead.from_bytes(raw)
    yield transport.render_request(head, job.payload_size, f"127.0.0.1:{port}")
    yield from body


def last_line(log: Iterable[Piece]) -> str | None:
    """The last line of a log that is not empty, at most 300 characters of it."""
    told = (part.strip() for line in lines_of(log) for part in line.message.splitlines())
    return next((part[:300] for part in reversed([*told]) if part), None)


def _exit_words(exited: Event) -> str:
    signal = exited.number("signal")
    return f"exit code {exited.number('code') or 0}" if signal is None else f"signal {signal}"


def _status(exited: Event | None, engine_exit: Exit | None) -> tuple[int | None, int | None]:
    if exited is not None:
        return exited.number("code"), exited.number("signal")
    if engine_exit is None or engine_exit.code == UNKNOWN_EXIT:
        return None, None
    # The engine tells a signal only as 128 + its number.
    if engine_exit.code > 128:
        return engine_exit.code, engine_exit.code - 128
    return engine_exit.code, None


def _oom_kills(exited: Event | None, engine_exit: Exit | None) -> int:
    count = exited.number("oom_kills") if exited else None
    if count is None:
        return int(engine_exit.oom_killed) if engine_exit else 0
    return max(count, 0)
