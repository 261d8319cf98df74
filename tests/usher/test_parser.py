"""The response parser: what is complete, what is not, and that cuts in the stream change nothing.

Every stream here is fed in one piece, byte by byte and cut at random; the feeder aborts if that
makes a difference.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.usher.feeder import Feeder

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


COMPLETE = {
    "length": (HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "length-and-more": (HEAD + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 500 X\r\n\r\n", b"hello"),
    "length-0": (HEAD + b"content-length:0\r\n\r\n", b""),
    "length-twice-the-same": (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", b"ab"),
    "length-list-the-same": (HEAD + b"Content-Length: 2, 2\r\n\r\nab", b"ab"),
    "end-of-stream": (HEAD + b"X: y\r\n\r\nhello\0\xff", b"hello\0\xff"),
    "end-of-stream-empty": (HEAD + b"\r\n", b""),
    "no-reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", b"a"),
    "http-1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    "bare-line-feeds": (b"HTTP/1.1 200 OK\nContent-Length: 1\n\na", b"a"),
    "chunks": (CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    "chunk-hex": (CHUNKED + b"0a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
                  b"01234567890123456789a"),
    "chunk-extensions": (CHUNKED + b"2;a=b;c=\"d\"\r\nab\r\n0 ;x\r\n\r\n", b"ab"),
    "chunk-padding": (CHUNKED + b"2  \r\nab\r\n000\r\n\r\n", b"ab"),
    "chunk-line-feeds": (CHUNKED + b"2\nab\n0\n\n", b"ab"),
    "trailers": (CHUNKED + b"2\r\nab\r\n0\r\nX: y\r\nZ: a\r\n\r\nrest", b"ab"),
    "chunked-wins": (HEAD + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"
                            b"2\r\nab\r\n0\r\n\r\n", b"ab"),
    "chunked-wins-over-nonsense": (HEAD + b"Content-Length: x\r\ntransfer-encoding: CHUNKED\r\n"
                                          b"\r\n2\r\nab\r\n0\r\n\r\n", b"ab"),
    "identity": (HEAD + b"Transfer-Encoding: identity\r\n\r\nab", b"ab"),
    "folded-line": (HEAD + b"X: a\r\n  b\r\nContent-Length: 1\r\n\r\na", b"a"),
    "no-value": (HEAD + b"X:\r\nContent-Length: 1\r\n\r\na", b"a"),
    "at-the-limit": (HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000, b"x" * 1000),
    "at-the-limit-chunked": (CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n", b"x" * 1000),
    "at-the-limit-to-the-end": (HEAD + b"\r\n" + b"x" * 1000, b"x" * 1000),
}  # fmt: skip


@pytest.mark.parametrize("stream, body", COMPLETE.values(), ids=COMPLETE)
def test_complete_responses_are_taken(parse: Feeder, stream: bytes, body: bytes) -> None:
    parsed = parse(stream)
    assert (parsed.result, parsed.status, parsed.body) == ("done", 200, body)
    assert stream.startswith(parsed.head)
    assert parsed.head.endswith((b"\r\n\r\n", b"\n\n"))


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body_whatever_they_announce(parse: Feeder, status: int) -> None:
    head = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status
    parsed = parse(head + b"HTTP/1.1 500 X\r\n\r\n")
    assert (parsed.result, parsed.status, parsed.head, parsed.body) == ("done", status, head, b"")


def test_interim_responses_leave_nothing_behind(parse: Feeder) -> None:
    interim = b"HTTP/1.1 100 Continue\r\nContent-Length: 7\r\nTransfer-Encoding: gzip\r\n\r\n"
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    final = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n"
    parsed = parse(interim + early + final + b"ab")
    assert (parsed.result, parsed.status, parsed.head) == ("done", 201, final)
    assert parsed.body == b"ab"


TRUNCATED = {
    "in-the-status-line": b"HT",
    "in-the-head": HEAD + b"X: y",
    "after-an-interim": b"HTTP/1.1 100 Continue\r\n\r\n",
    "short-of-length": HEAD + b"Content-Length: 5\r\n\r\nhell",
    "in-a-size-line": CHUNKED + b"5",
    "in-a-chunk": CHUNKED + b"5\r\nhell",
    "after-a-chunk": CHUNKED + b"5\r\nhello",
    "without-a-last-chunk": CHUNKED + b"5\r\nhello\r\n",
    "in-the-trailers": CHUNKED + b"0\r\nX: y\r\n",
}


@pytest.mark.parametrize("stream", TRUNCATED.values(), ids=TRUNCATED)
@pytest.mark.parametrize("reset", [False, True])
def test_what_ends_too_early_is_truncated(parse: Feeder, stream: bytes, reset: bool) -> None:
    assert parse(stream, reset=reset).result == "truncated"


@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_without_one_byte_is_closed(parse: Feeder, reset: bool) -> None:
    assert parse(b"", reset=reset).result == "closed"


def test_a_reset_ends_a_short_body_but_not_one_of_which_bytes_may_be_lost(parse: Feeder) -> None:
    short, long = HEAD + b"\r\n" + b"x" * 100, HEAD + b"\r\n" + b"x" * 33_000
    assert parse(short, reset=True).result == "done"
    assert parse(long, limit=10**6, reset=True).result == "truncated"
    assert parse(long, limit=10**6).result == "done"


MALFORMED = {
    "another-protocol": b"SSH-2.0-OpenSSH\r\n",
    "no-http-at-all": b"hello",
    "a-request": b"GET / HTTP/1.1\r\n\r\n",
    "http-2": b"HTTP/2 200 OK\r\n\r\n",
    "empty-line-first": b"\r\n" + HEAD,
    "no-status": b"HTTP/1.1\r\n\r\n",
    "short-status": b"HTTP/1.1 20\r\n\r\n",
    "long-status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status-0": b"HTTP/1.1 000 OK\r\n\r\n",
    "status-word": b"HTTP/1.1 abc OK\r\n\r\n",
    "no-colon": HEAD + b"Nonsense\r\n\r\n",
    "no-name": HEAD + b": x\r\n\r\n",
    "blank-before-colon": HEAD + b"Content-Length : 1\r\n\r\na",
    "nul": HEAD + b"X: a\0b\r\n\r\n",
    "bare-carriage-return": HEAD + b"X: a\rb\r\n\r\n",
    "folded-first-line": HEAD + b" X: a\r\n\r\n",
    "folded-length": HEAD + b"Content-Length: 1\r\n 2\r\n\r\na",
    "two-lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length-list": HEAD + b"Content-Length: 1, 2\r\n\r\nab",
    "length-negative": HEAD + b"Content-Length: -1\r\n\r\n",
    "length-plus": HEAD + b"Content-Length: +1\r\n\r\na",
    "length-empty": HEAD + b"Content-Length:\r\n\r\n",
    "length-hex": HEAD + b"Content-Length: 0x1\r\n\r\na",
    "length-huge": HEAD + b"Content-Length: 99999999999999999999\r\n\r\na",
    "unknown-coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\na",
    "two-codings": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked-twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunk-size-word": CHUNKED + b"hello\r\n",
    "chunk-size-empty": CHUNKED + b"\r\n",
    "chunk-size-negative": CHUNKED + b"-1\r\n",
    "chunk-size-prefix": CHUNKED + b"0x5\r\nhello\r\n",
    "chunk-size-two": CHUNKED + b"5 5\r\nhello\r\n",
    "chunk-size-huge": CHUNKED + b"ffffffffffffffffff\r\n",
    "chunk-size-bare-cr": CHUNKED + b"5\rhello",
    "chunk-too-long": CHUNKED + b"2\r\nabc\r\n",
    "extension-endless": CHUNKED + b"2;" + b"x" * 5000,
    "trailers-endless": CHUNKED + b"0\r\n" + b"X: y\r\n" * 12_000,
    "head-endless": HEAD + b"X: y\r\n" * 50_000,
    "line-endless": HEAD + b"X: " + b"y" * 300_000,
}


@pytest.mark.parametrize("stream", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_response_is_malformed(parse: Feeder, stream: bytes) -> None:
    assert parse(stream).result == "malformed"


def test_a_head_is_taken_up_to_its_limit(parse: Feeder) -> None:
    end = b"\r\nContent-Length: 0\r\n\r\n"
    start = HEAD + b"X: "
    filler = b"y" * (256 * 1024 - len(start) - len(end))
    assert parse(start + filler + end).head == start + filler + end
    assert parse(start + filler + b"y" + end).result == "malformed"


TOO_LARGE = {
    "announced": HEAD + b"Content-Length: 1001\r\n\r\n",
    "to-the-end": HEAD + b"\r\n" + b"x" * 1001,
    "one-chunk": CHUNKED + b"3e9\r\n",
    "many-chunks": CHUNKED + b"a\r\n0123456789\r\n" * 101,
}


@pytest.mark.parametrize("stream", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_over_the_limit_is_too_large(parse: Feeder, stream: bytes) -> None:
    assert parse(stream).result == "too_large"


# -- any response, any cut -------------------------------------------------------------------

bodies = st.binary(max_size=300)
names = st.sampled_from([b"X-A", b"Set-Cookie", b"Content-Type", b"etag"])
values = st.binary(max_size=20).filter(lambda v: not set(v) & set(b"\r\n\0"))
headers = st.lists(st.builds(lambda n, v: n + b": " + v + b"\r\n", names, values), max_size=4)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def chunk_streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(the chunked form, the body)"""
    parts = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    extension = draw(st.sampled_from([b"", b";a", b" ", b';q="x y"']))
    encoded = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in parts)
    trailers = b"".join(draw(headers))
    return encoded + b"0\r\n" + trailers + b"\r\n", b"".join(parts)


@given(st.integers(200, 599).filter(lambda s: s not in (204, 304)), headers, bodies, seeds)
@settings(max_examples=100)
def test_any_body_of_a_stated_length_comes_out(
    parse: Feeder, status: int, lines: list[bytes], body: bytes, seed: int
) -> None:
    head = b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n" % (status, b"".join(lines), len(body))
    parsed = parse(head + body, seed=seed)
    assert (parsed.result, parsed.status, parsed.head) == ("done", status, head)
    assert parsed.body == body


@given(headers, chunk_streams(), seeds)
@settings(max_examples=100)
def test_any_chunked_body_comes_out(
    parse: Feeder, lines: list[bytes], stream: tuple[bytes, bytes], seed: int
) -> None:
    head = HEAD + b"".join(lines) + b"Transfer-Encoding: chunked\r\n\r\n"
    parsed = parse(head + stream[0], seed=seed)
    assert (parsed.result, parsed.head, parsed.body) == ("done", head, stream[1])


pieces = st.one_of(
    st.sampled_from([*(s for s, _ in COMPLETE.values()), *TRUNCATED.values()]),
    st.sampled_from([HEAD, b"\r\n", b"\n", b"0", b"5\r\n", b"Content-Length: 3\r\n",
                     b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1 100 X\r\n\r\n"]),
    st.binary(max_size=8),
)  # fmt: skip


@given(st.lists(pieces, max_size=6), seeds, st.booleans(), st.integers(0, 50))
@settings(max_examples=300)
def test_no_stream_is_parsed_differently_when_cut_differently(
    parse: Feeder, parts: list[bytes], seed: int, reset: bool, limit: int
) -> None:
    parse(b"".join(parts), seed=seed, reset=reset, limit=limit)  # the feeder compares
