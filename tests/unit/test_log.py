"""What a replica printed: stored and read, cut, made lines, told once."""

import random
import struct

import pytest

from app.domain.log import (
    HEAD_BYTES,
    LINE_PIECES,
    Line,
    Piece,
    Progress,
    Stream,
    last_part,
    lines_of,
    pieces_of,
)
from workers import docker_log

OUT, ERR = Stream.STDOUT, Stream.STDERR
AT = 1_700_000_000_123_456_789
PIECES = [
    Piece(AT, OUT, b"one\n"),
    Piece(AT + 1, ERR, b"\xff\0 bad\r\n"),
    Piece(AT + 2, OUT, b""),
    Piece(AT + 3, OUT, b"begun, "),
    Piece(AT + 4, ERR, b"between\n"),
    Piece(AT + 5, OUT, b"ended\n"),
    Piece(AT + 6, OUT, b"no end"),
]
STORED = b"".join(piece.stored() for piece in PIECES)


def test_pieces_are_stored_and_read_however_the_chunks_fall() -> None:
    cuts = random.Random(7)
    for _ in range(50):
        at = sorted(cuts.sample(range(len(STORED)), 5))
        chunks = [STORED[a:b] for a, b in zip([0, *at], [*at, len(STORED)], strict=True)]
        assert list(pieces_of(chunks)) == PIECES


def test_a_line_has_the_instant_of_its_beginning() -> None:
    assert list(lines_of(PIECES)) == [
        Line(AT, OUT, "one"),
        Line(AT + 1, ERR, "\ufffd\0 bad\r"),
        Line(AT + 4, ERR, "between"),
        Line(AT + 2, OUT, "begun, ended"),
        Line(AT + 6, OUT, "no end"),
    ]


def test_a_line_without_end_is_told_in_parts() -> None:
    pieces = [Piece(AT + n, OUT, b"x" * 1000) for n in range(2 * LINE_PIECES + 1)]
    assert [len(line.message) for line in lines_of(pieces)] == [64_000, 64_000, 1000]


@pytest.mark.parametrize("limit", range(len(STORED) + 2))
def test_the_last_part_fits_and_loses_nothing_that_would(limit: int) -> None:
    kept, cut = last_part(PIECES, limit)
    size = sum(len(piece.stored()) for piece in kept)
    assert size <= limit
    assert cut == (limit < len(STORED))
    text = b"".join(piece.text for piece in kept)
    assert b"".join(piece.text for piece in PIECES).endswith(text)
    assert not cut or limit - size <= HEAD_BYTES + 1


def test_what_is_told_again_is_no_news() -> None:
    progress = Progress()
    assert progress.news(PIECES[:3]) == PIECES[:3]
    assert progress.news(PIECES[1:]) == PIECES[3:]
    assert progress.at == AT + 6
    assert progress.news(PIECES) == []


def test_pieces_of_one_instant_are_counted() -> None:
    same = [Piece(AT, OUT, b"part "), Piece(AT, OUT, b"part "), Piece(AT, OUT, b"end\n")]
    progress = Progress()
    assert progress.news(same[:2]) == same[:2]
    assert progress.news(same) == same[2:]


def test_a_stream_that_comes_late_is_not_passed_over() -> None:
    progress = Progress()
    progress.news([Piece(AT + 9, OUT, b"late\n")])
    early = Piece(AT, ERR, b"early\n")
    assert progress.news([early, Piece(AT + 9, OUT, b"late\n")]) == [early]


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(text)) + text


def test_dockers_frames_are_pieces() -> None:
    answer = (
        frame(1, b"2023-11-14T22:13:20.123456789Z one\n")
        + frame(2, b"2023-11-14T23:13:20.000000001+01:00 two words")
        + frame(1, b"2023-11-14T22:13:20.500000000Z ")
    )
    assert list(docker_log.pieces_of(answer)) == [
        Piece(AT, OUT, b"one\n"),
        Piece(1_700_000_000_000_000_001, ERR, b"two words"),
        Piece(1_700_000_000_500_000_000, OUT, b""),
    ]
    assert docker_log.since(AT) == "1700000000.123456789"


@pytest.mark.parametrize("answer", [frame(7, b"2023-11-14T22:13:20.1Z x"), frame(1, b"no instant")])
def test_what_is_no_log_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError):
        list(docker_log.pieces_of(answer))


def test_pieces_of_one_instant_may_come_in_several_parts_of_a_telling() -> None:
    long = [Piece(7, Stream.STDOUT, b"%d" % n) for n in range(4)]
    progress = Progress()
    told = [progress.news(long[:2]), progress.news(long[2:], anew=False)]
    assert told == [long[:2], long[2:]]
    again = [progress.news(long[:3]), progress.news(long[3:], anew=False)]
    assert again == [[], []]
