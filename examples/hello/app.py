"""An app for Onejob: it answers one request, then its process ends, and so does the job.

    GET  /health                           200 "ok": ready for the request
    POST /job?duration=SECONDS&failed=BOOL works that long, then answers what it was asked

Every other method and path is a job too. `duration` is 0 if it is not given. With `failed=true`
the answer is HTTP 500 and the process exits with 1, so the job has failed; else it exits with 0.

Only the standard library is used.
"""

import hashlib
import json
import math
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

CHUNK_BYTES = 64 * 1024
STEP_SECONDS = 1.0
LONGEST_SECONDS = 7 * 24 * 3600
STOPPED = 128 + signal.SIGTERM  # what a shell reports of a process that SIGTERM ended


@dataclass
class Work:
    """What the query asks for."""

    duration: float = 0.0  # seconds
    failed: bool = False

    @classmethod
    def of(cls, query: str) -> "Work":
        """Reads a query string. Raises ValueError naming the field and what is allowed."""
        given = {name: values[-1] for name, values in parse_qs(query).items()}
        return cls(_seconds(given.get("duration", "0")), _boolean(given.get("failed", "false")))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"duration: {text!r} is not a number from 0 to {LONGEST_SECONDS}")
    return seconds


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"failed: {text!r} is not true or false")
    return text == "true"


class Server(HTTPServer):
    """Takes one request after the other until one of them was the job."""

    exit_code: int | None = None

    def serve_job(self) -> int:
        """Returns the job's exit code, once its response was sent and its connection closed."""
        while self.exit_code is None:
            self.handle_request()
        return self.exit_code


class Handler(BaseHTTPRequestHandler):
    """Answers the health check, and the job."""

    server: Server
    timeout = 60  # seconds; who connects and says nothing must not block the job

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/health":
            self.answer(200, "text/plain", b"ok")
        else:
            self.job()

    def job(self) -> None:
        # The job is over even if nobody is there any more to read the response.
        self.server.exit_code = 1
        try:
            # The body first: closing a connection on unread bytes can cost the client the answer.
            body, work = self.read_body(), Work.of(urlsplit(self.path).query)
        except ValueError as error:
            self.answer_json(400, {"error": str(error)})
            return
        log(f"{self.command} {self.path}: {body['size']} bytes")
        do(work)
        self.server.exit_code = 1 if work.failed else 0
        self.answer_json(500 if work.failed else 200, self.echo() | body | asdict(work))

    do_POST = do_PUT = do_PATCH = do_DELETE = job

    def read_body(self) -> dict[str, object]:
        """Reads the body piece by piece, so that its size does not matter."""
        expected = int(self.headers.get("Content-Length") or 0)
        size, digest = 0, hashlib.sha256()
        while piece := self.rfile.read(min(CHUNK_BYTES, expected - size)):
            size += len(piece)
            digest.update(piece)
        if size < expected:
            raise ValueError(f"the body ended after {size} of {expected} bytes")
        return {"size": size, "sha256": digest.hexdigest()}

    def echo(self) -> dict[str, object]:
        """What Onejob told us about the job, and the request line."""
        return {
            "job_id": os.environ.get("JOB_ID"),
            "attempt": os.environ.get("JOB_ATTEMPT"),
            "deadline": os.environ.get("JOB_DEADLINE"),
            "method": self.command,
            "path": self.path,
        }

    def answer_json(self, status: int, content: dict[str, object]) -> None:
        self.answer(status, "application/json", json.dumps(content).encode() + b"\n")

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Health checks are not worth a line each; the job prints its own."""


def do(work: Work) -> None:
    """The work itself: here, waiting, with a line of progress every second."""
    done = 0.0
    while done < work.duration:
        step = min(STEP_SECONDS, work.duration - done)
        time.sleep(step)
        done += step
        log(f"{done:g} of {work.duration:g} s")


def log(line: str) -> None:
    """Prints at once: what stays in a buffer is lost if the job is killed."""
    print(line, flush=True)


def stop(signal_number: int, frame: object) -> None:
    """SIGTERM: the deadline has come, or the job was cancelled; a few seconds are left."""
    log("stopped before the end")
    sys.exit(STOPPED)


def main() -> int:
    signal.signal(signal.SIGTERM, stop)
    port = int(os.environ.get("PORT", "8080"))
    with Server(("", port), Handler) as server:
        log(f"listening on port {server.server_port}")
        code = server.serve_job()
    log(f"done, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
