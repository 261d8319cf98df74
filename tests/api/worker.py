"""A worker that a test plays: it takes a job through its states in the ledger."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.domain.job import Job, Reason, State
from app.domain.log import Piece, Stream
from app.domain.transport import RequestHead
from app.ledger import Ledger
from app.ledger.attempts import Grip

NODE = "played"
LEASE_SECONDS = 60
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"


@dataclass(frozen=True)
class PlayedWorker:
    """Takes jobs through their states as a worker does; runs nothing."""

    ledger: Ledger

    def job(self, name: str, job_id: str) -> Job:
        """The job's record."""
        return self.ledger.jobs.get(self.ledger.deployments.get(name).uid, job_id)

    def request(self, name: str, job_id: str) -> tuple[RequestHead, bytes]:
        """The stored request, as it will reach the app."""
        raw, body = self.ledger.payloads.read(self.job(name, job_id).payload)
        return RequestHead.from_bytes(raw), b"".join(body)

    def claim(self, name: str, job_id: str) -> Grip:
        """dispatched → starting."""
        uid = self.ledger.deployments.get(name).uid
        claimed = self.ledger.attempts.claim(uid, job_id, NODE, LEASE_SECONDS).job
        assert claimed is not None
        return Grip.of(claimed)

    def run(self, name: str, job_id: str) -> Grip:
        """dispatched → running."""
        grip = self.claim(name, job_id)
        now = datetime.now(UTC)
        fields: dict[str, str | int] = {
            "started_at": str(now.timestamp()),
            "deadline_at": str((now + timedelta(seconds=60)).timestamp()),
            "replica": f"onejob-{grip.uid}-{job_id}",
        }
        self.ledger.attempts.advance(grip, State.STARTING, State.STARTING, "started", fields)
        sent = {"sent_at": str(now.timestamp())}
        self.ledger.attempts.advance(grip, State.STARTING, State.RUNNING, "sent", sent)
        return grip

    def respond(
        self, name: str, job_id: str, head: bytes = OK, body: bytes = b"", exit_code: int = 0
    ) -> None:
        """dispatched → a final state by the exit code, with a response."""
        fields = self.store(head, body)
        if exit_code == 0:
            self.succeed(name, job_id, fields)
        else:
            detail = f"the process ended with exit code {exit_code}"
            fields |= {"exit_code": exit_code}
            self.finish(name, job_id, State.FAILED, Reason.EXIT_NONZERO, detail, **fields)

    def succeed(self, name: str, job_id: str, fields: dict[str, str | int]) -> None:
        """dispatched → succeeded, with a stored response."""
        detail = "the process exited with 0"
        fields = fields | {"exit_code": 0}
        self.finish(name, job_id, State.SUCCEEDED, Reason.EXIT_0, detail, **fields)

    def finish(
        self, name: str, job_id: str, state: State, reason: Reason, detail: str, **fields: str | int
    ) -> None:
        """dispatched → a final state, without a response."""
        self.end(self.run(name, job_id), state, reason, detail, fields)

    def cancel(self, grip: Grip) -> None:
        """Ends a running attempt because that was asked for."""
        self.end(grip, State.CANCELLED, Reason.DEPLOYMENT_DELETED, "cancelled", {})

    def print(
        self,
        grip: Grip,
        text: bytes,
        stream: Stream = Stream.STDOUT,
        at: int = 0,
        cut: bool = False,
    ) -> None:
        """Keeps this as the output of an attempt that has ended and has its container still.

        The lines are a nanosecond apart, the first at `at`, or now.
        """
        at = at or time.time_ns()
        texts = enumerate(re.findall(rb"[^\n]*\n|[^\n]+", text))
        upload = self.ledger.payloads.upload(b"")
        for n, piece in texts:
            upload.write(Piece(at + n, stream, piece).stored())
        self.ledger.attempts.keep_log(grip, upload, len(text), cut)

    def printed(self, name: str, text: bytes, at: int = 0, job_id: str = "") -> str:
        """A job of a deployment that printed this and succeeded; returns its replica's name."""
        grip = self.run(name, job_id)
        self.ledger.attempts.finish(grip, State.SUCCEEDED, Reason.EXIT_0, "it went well", {})
        self.print(grip, text, at=at)
        self.ledger.attempts.release(grip)
        replica = self.job(name, job_id).replica
        assert replica is not None
        return replica

    def store(self, head: bytes, body: bytes) -> dict[str, str | int]:
        """Stores a response; returns the members of the record that name it."""
        upload = self.ledger.payloads.upload(head)
        upload.write(body)
        upload.finish()
        status = int(head.split(b" ", 2)[1][:3])
        return {"response": upload.token, "response_status": status, "response_size": len(body)}

    def end(
        self, grip: Grip, state: State, reason: Reason, detail: str, fields: dict[str, str | int]
    ) -> None:
        """Ends an attempt and frees its slot."""
        self.ledger.attempts.finish(grip, state, reason, detail, fields)
        self.ledger.attempts.release(grip)
