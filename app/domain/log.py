"""What a replica printed: pieces with their instants and streams, how they are stored, and lines.

An engine keeps output in pieces: a line, or a part of a long one. The stored form has a line for
each piece, `<nanoseconds since the epoch> <stream> <the bytes>`; the stream's letter is small
(`o`, `e`) where a line ends with the piece, and a capital where it goes on. The bytes are as they
were printed, whatever they are.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

HEAD_BYTES = 22  # at least, of a stored piece beside its text
LINE_PIECES = 64  # of one line at most: about 1 MiB, since an engine's have 16 KiB
_STORED = re.compile(rb"(\d{1,19}) ([oeOE]) (.*)", re.DOTALL)


class Stream(StrEnum):
    """Where it was printed."""

    STDOUT = "stdout"
    STDERR = "stderr"


_LETTERS = {Stream.STDOUT: b"o", Stream.STDERR: b"e"}
_STREAMS = {letter: stream for stream, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some output; `text` has at most one newline, at its end, where a line ends with it."""

    at: int  # nanoseconds since the epoch
    stream: Stream
    text: bytes

    def stored(self) -> bytes:
        """Its stored form."""
        letter, body = _LETTERS[self.stream], self.text
        if body.endswith(b"\n"):
            return b"%019d %s %s" % (self.at, letter, body)
        return b"%019d %s %s\n" % (self.at, letter.upper(), body)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output without its end; what is no UTF-8 in it became U+FFFD."""

    at: int  # nanoseconds since the epoch, of its beginning
    stream: Stream
    message: str


def last_part(pieces: Sequence[Piece], limit: int) -> tuple[list[Piece], bool]:
    """The last pieces whose stored form has at most `limit` bytes, and whether that cuts any off.

    Of the first one the last part is kept, if it has room.
    """
    kept = list[Piece]()
    for piece in reversed(pieces):
        size = len(piece.stored())
        if size > limit:
            room = limit - (size - len(piece.text))
            if room > 0:
                kept.append(replace(piece, text=piece.text[-room:]))
            return kept[::-1], True
        kept.append(piece)
        limit -= size
    return kept[::-1], False


def pieces_of(chunks: Iterable[bytes]) -> Iterator[Piece]:
    """The pieces of a stored form that comes in chunks, cut anywhere."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from filter(None, map(_piece, whole))


def lines_of(pieces: Iterable[Piece]) -> Iterator[Line]:
    """The lines, by the end of each; what has no end yet comes last."""
    lines = Lines()
    for piece in pieces:
        yield from lines.add([piece])
    yield from lines.rest()


class Lines:
    """Makes lines of pieces that come little by little; one that does not end is told in parts."""

    def __init__(self) -> None:
        self._begun: dict[Stream, list[Piece]] = {}

    def add(self, pieces: Iterable[Piece]) -> Iterator[Line]:
        """The lines that these pieces end."""
        for piece in pieces:
            parts = self._begun.setdefault(piece.stream, [])
            parts.append(piece)
            if piece.text.endswith(b"\n") or len(parts) == LINE_PIECES:
                yield _line(self._begun.pop(piece.stream))

    def rest(self) -> Iterator[Line]:
        """What has no end, once nothing more comes."""
        begun, self._begun = self._begun, {}
        yield from map(_line, begun.values())


class Progress:
    """How far somebody has come in a log that is told piece by piece, with repetitions.

    The pieces of one stream come in their order; an instant may have several of them.
    """

    def __init__(self) -> None:
        self._last: dict[Stream, tuple[int, int]] = {}  # the latest instant, and how many of it
        self._here: dict[Stream, tuple[int, int]] = {}  # the same, of this telling so far

    @property
    def at(self) -> int:
        """The latest instant, in nanoseconds since the epoch."""
        return max((at for at, _ in self._last.values()), default=0)

    def news(self, pieces: Iterable[Piece], anew: bool = True) -> list[Piece]:
        """Those that were not told before.

        With `anew` a telling begins with them, from some instant on; else they go on with the last.
        """
        fresh = list[Piece]()
        if anew:
            self._here = {}
        for piece in pieces:
            at, count = self._here.get(piece.stream, (-1, 0))
            place = piece.at, count + 1 if piece.at == at else 1
            self._here[piece.stream] = place
            if place > self._last.get(piece.stream, (-1, 0)):
                fresh.append(piece)
                self._last[piece.stream] = place
        return fresh


def _piece(stored: bytes) -> Piece | None:
    match = _STORED.fullmatch(stored)
    if match is None:
        return None
    letter = match[2].lower()
    return Piece(int(match[1]), _STREAMS[letter], match[3] + b"\n" * (letter == match[2]))


def _line(parts: Sequence[Piece]) -> Line:
    text = b"".join(part.text for part in parts).removesuffix(b"\n")
    return Line(parts[0].at, parts[0].stream, text.decode("utf-8", "replace"))
