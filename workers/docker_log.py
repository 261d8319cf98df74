"""What Docker answers to a question for a container's output, as pieces.

Each piece is a frame: a byte that names the stream, three of nothing, four of its length (big
endian); then an instant (RFC 3339, nanoseconds), a space, and what was printed.
"""

import struct
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from app.domain.log import Piece, Stream

_FRAME = struct.Struct(">BxxxL")
_STREAMS = {1: Stream.STDOUT, 2: Stream.STDERR}


def pieces_of(answer: bytes) -> Iterator[Piece]:
    """The pieces of an answer with instants. Raises ValueError where it is none."""
    offset = 0
    while offset + _FRAME.size <= len(answer):
        number, length = _FRAME.unpack_from(answer, offset)
        offset += _FRAME.size
        instant, _, text = answer[offset : offset + length].partition(b" ")
        offset += length
        if number not in _STREAMS:
            raise ValueError(f"stream {number} of a container's output")
        yield Piece(_nanoseconds(instant), _STREAMS[number], text)


def since(at: int) -> str:
    """An instant, in nanoseconds since the epoch, as the question has it."""
    return f"{at // 10**9}.{at % 10**9:09}"


def _nanoseconds(instant: bytes) -> int:
    text = instant.decode("ascii")
    fraction = text[20:29]  # it always has nine digits
    return _second(text[:19] + text[29:]) * 10**9 + int(fraction)


@lru_cache(maxsize=64)
def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
