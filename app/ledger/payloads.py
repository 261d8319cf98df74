"""Bodies of requests and responses, in chunks of at most 1 MiB.

A payload is a hash: `head`, the chunks `0`, `1`, …, each at most 1 MiB so that no single value
stalls the other clients of Redis, and their number, `chunks`. An upload lies under a random token
with a time to live; the script that accepts the job lifts it. One that is never accepted goes by
itself.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import redis

from app.domain.errors import NotFound
from app.ledger import keys
from app.ledger.verbs import Verbs

CHUNK_BYTES = 1024 * 1024
UPLOAD_SECONDS = 3600  # an upload without a sign of life for this long is dropped


class Upload:
    """A payload on its way into Redis. Its head and `tail` go along with what makes use of it."""

    def __init__(self, client: redis.Redis, verbs: Verbs, head: bytes, token: str) -> None:
        self._client = client
        self._verbs = verbs
        self._buffer = bytearray()
        self.head = head
        self.token = token
        self.size = 0  # bytes of body so far
        self.chunks = 0  # full chunks in Redis so far

    @property
    def tail(self) -> bytes:
        """The end of the body that is not in Redis yet: less than a chunk."""
        return bytes(self._buffer)

    def write(self, data: bytes) -> None:
        """Appends to the body; full chunks are stored at once. Raises redis's errors."""
        self._buffer += data
        self.size += len(data)
        while len(self._buffer) >= CHUNK_BYTES:
            self._store(str(self.chunks), bytes(self._buffer[:CHUNK_BYTES]))
            del self._buffer[:CHUNK_BYTES]
            self.chunks += 1

    def finish(self) -> None:
        """Stores the head, the tail and the number of chunks. Raises redis's errors."""
        tail = (str(self.chunks), self.tail) if self._buffer else ()
        count = self.chunks + bool(self._buffer)
        self._store("head", self.head, "chunks", str(count), *tail)

    def discard(self) -> None:
        """Forgets what was stored."""
        if self.chunks:
            self._client.unlink(keys.payload(self.token))

    def _store(self, *fields: str | bytes) -> None:
        self._verbs("store", self.token, UPLOAD_SECONDS, *fields)


class Payloads:
    """Stored requests and responses."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._client = client
        self._verbs = verbs

    def upload(self, head: bytes, token: str | None = None) -> Upload:
        """Begins a payload. `head` is what its reader needs before the body."""
        return Upload(self._client, self._verbs, head, token or secrets.token_hex(16))

    def read(self, token: str) -> tuple[bytes, Iterator[bytes]]:
        """A payload's head and the chunks of its body, each at most 1 MiB.

        Raises NotFound when its retention is over; so does the iterator, if that happens
        meanwhile: a body never seems to end early.
        """
        found: Any = self._client.hmget(keys.payload(token), "head", "chunks", "0")
        head, count, first = found
        if head is None:
            raise _gone()
        return head, self._chunks(token, first, int(count))

    def _chunks(self, token: str, first: bytes, count: int) -> Iterator[bytes]:
        if count:
            yield first
        for number in range(1, count):
            chunk: Any = self._client.hget(keys.payload(token), str(number))
            if chunk is None:
                raise _gone()
            yield chunk


def _gone() -> NotFound:
    return NotFound("the stored payload is gone: its retention is over")
