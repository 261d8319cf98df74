"""Two clients: one that sends bytes as they are, and one on the standard library for the rest."""

import http.client
import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 60.0
Headers = list[tuple[str, str]]
# A server that has answered reads on for a while. It may give up on a client that can't go on
# sending, for want of a processor: the answer is there all the same.
GIVEN_UP = (BrokenPipeError, ConnectionResetError)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. Header names and values are as they were on the wire (ISO 8859-1)."""

    status: int
    reason: str
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))


class Connection:
    """A connection that sends what it is told, byte for byte."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self._stream = self.sock.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes it."""
        self._stream.close()
        self.sock.close()

    def send(self, *parts: bytes) -> "Connection":
        """Sends bytes."""
        self.sock.sendall(b"".join(parts))
        return self

    def line(self) -> bytes:
        """The next line, with its end; empty at the end of the stream."""
        return self._stream.readline()

    def answer(self, head_only: bool = False) -> Answer:
        """The next answer, interim ones skipped. Raises EOFError if there is none."""
        status, reason, headers = self._head()
        while status < 200:
            status, reason, headers = self._head()
        answer = Answer(status, reason, headers, b"")
        if head_only or status in (204, 304):
            return answer
        return Answer(status, reason, headers, self._body(answer))

    def ended(self) -> bool:
        """Waits for the server's end of the stream; True unless more came before it."""
        return self._stream.read(1) == b""

    def _head(self) -> tuple[int, str, Headers]:
        line = self.line().decode("latin-1")
        if not line:
            raise EOFError("the server closed the connection without an answer")
        _, status, reason = line.rstrip("\r\n").split(" ", 2)
        headers = []
        while (field := self.line().decode("latin-1").rstrip("\r\n")) != "":
            name, _, value = field.partition(":")
            headers.append((name, value.strip(" \t")))
        return int(status), reason, headers

    def _body(self, answer: Answer) -> bytes:
        if "Transfer-Encoding" in answer:
            return b"".join(self._chunks())
        if "Content-Length" not in answer:
            return self._stream.read()
        size = int(answer["Content-Length"])
        body = self._stream.read(size)
        if len(body) != size:
            raise EOFError(f"{len(body)} of {size} bytes")
        return body

    def _chunks(self) -> list[bytes]:
        chunks = []
        while size := int(self.line(), 16):
            chunks.append(self._stream.read(size))
            self.line()
        self.line()
        return chunks


def exchange(port: int, *parts: bytes) -> Answer:
    """Sends bytes over a connection of their own and reads one answer."""
    with Connection(port) as connection:
        with suppress(*GIVEN_UP):
            connection.send(*parts)
        return connection.answer()


def call(
    port: int, method: str, path: str, headers: Headers | None = None, body: bytes | None = None
) -> Answer:
    """One request over a connection of its own; the body, if any, with its Content-Length."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers or []:
            connection.putheader(name, value.encode("latin-1"))
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        with suppress(*GIVEN_UP):
            connection.endheaders(body)
        response = connection.getresponse()
        fields = [(name, value) for name, value in response.getheaders()]
        return Answer(response.status, response.reason, fields, response.read())
    finally:
        connection.close()
