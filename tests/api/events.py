"""A client of server-sent events: the log of a job, as it is printed."""

import json
from typing import Any

from tests.api.faces import Faces
from tests.api.wire import Connection


class Events:
    """A client that follows."""

    def __init__(self, api: Faces, name: str, job_id: str) -> None:
        target = f"/v1/job-deployments/{name}/jobs/{job_id}/logs?follow=true"
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n\r\n"
        self.connection = Connection(api.port).send(head.encode())
        self.answer = self.connection.answer(head_only=True)

    def __enter__(self) -> "Events":
        assert self.answer.status == 200, self.answer
        assert self.answer["Content-Type"] == "text/event-stream"
        lengths = [name for name, _ in self.answer.headers if name.lower() == "content-length"]
        assert lengths == [], "it has no end that could be known"
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def event(self) -> tuple[str, dict[str, Any]]:
        """The next event: its name and its data."""
        name = "message"
        while line := self.connection.line().decode().rstrip("\n"):
            if line.startswith(":"):
                assert self.connection.line() == b"\n"  # a comment
                continue
            field, _, value = line.partition(": ")
            if field == "data":
                assert self.connection.line() == b"\n"
                return name, json.loads(value)
            name = value
        raise EOFError

    def message(self) -> str:
        """The next line."""
        name, data = self.event()
        assert name == "message"
        return str(data["message"])
