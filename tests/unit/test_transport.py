"""HTTP messages on their way through: what is kept, dropped and added, whatever is in them."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.transport import (
    HOP_BY_HOP,
    Headers,
    RequestHead,
    forwarded,
    parse_response_head,
    render_request,
)

TOKEN = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=20)
# As a parser gives it: any byte that a header may have, without blanks around it.
VALUE = st.text(
    st.characters(codec="latin-1", exclude_categories=["Cc"]) | st.just("\t"), max_size=30
).map(lambda value: value.strip(" \t"))
HEADERS = st.lists(st.tuples(TOKEN, VALUE), max_size=10)
TARGET = st.text(st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E)).map(
    lambda rest: f"/{rest}"
)
OCTETS = ("Content-Type", "application/octet-stream")
OURS = {"authorization", "content-length", "expect", "host", "prefer", "x-inference-id"}


def named(headers: Headers, name: str) -> list[str]:
    return [value for known, value in headers if known.lower() == name.lower()]


def named_in_connection(headers: Headers) -> set[str]:
    words = ",".join(named(headers, "Connection")).split(",")
    return {word.strip().lower() for word in words}


@given(st.sampled_from(["POST", "GET"]), TARGET, HEADERS)
def test_a_stored_request_comes_back_as_it_was(method: str, target: str, headers: Headers) -> None:
    head = RequestHead(method, target, headers)
    assert RequestHead.from_bytes(head.to_bytes()) == head


@given(HEADERS)
def test_what_is_not_ours_and_not_the_connections_is_forwarded_in_order(headers: Headers) -> None:
    dropped = HOP_BY_HOP | OURS | named_in_connection(headers)
    kept = [(name, value) for name, value in headers if name.lower() not in dropped]
    assert forwarded(headers, [], "id") == [*kept, ("X-Inference-Id", "id")]


@given(TARGET, HEADERS, st.integers(0, 10**9))
def test_a_rendered_request_is_one_request(target: str, headers: Headers, size: int) -> None:
    head = RequestHead("POST", target, forwarded(headers, ["a", "b"], "id"))
    raw = render_request(head, size, "127.0.0.1:80").decode("latin-1")
    assert raw.endswith("\r\n\r\n")
    line, *lines = raw[:-4].split("\r\n")
    assert line == f"POST {target} HTTP/1.1"
    sent = [(name, value) for name, _, value in (each.partition(": ") for each in lines)]
    assert not re.search(r"[\r\n\0]", "".join(lines))
    assert named(sent, "Host") == ["127.0.0.1:80"]
    assert named(sent, "Content-Length") == [str(size)]
    assert named(sent, "Connection") == ["close"]
    assert named(sent, "Prefer") == ["a", "b"]
    assert not named(sent, "Transfer-Encoding")
    assert not named(sent, "Authorization")


@pytest.mark.parametrize(
    ("method", "size", "length"),
    [("GET", 0, []), ("DELETE", 0, []), ("GET", 3, ["3"]), ("PUT", 0, ["0"]), ("PATCH", 0, ["0"])],
)
def test_a_length_is_said_where_there_is_a_body_or_could_be(
    method: str, size: int, length: list[str]
) -> None:
    raw = render_request(RequestHead(method, "/"), size, "h").decode()
    assert re.findall(r"Content-Length: (\d+)", raw) == length


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP | OURS))
def test_each_of_these_is_dropped_in_any_case(name: str) -> None:
    for written in (name, name.upper(), name.title()):
        assert forwarded([(written, "x")], [], "id") == [("X-Inference-Id", "id")]


@given(st.integers(200, 999), VALUE, HEADERS)
def test_a_response_keeps_status_reason_and_its_own_headers(
    status: int, reason: str, headers: Headers
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    raw = f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")
    head = parse_response_head(raw)
    assert (head.status, head.reason) == (status, reason)
    dropped = HOP_BY_HOP | {"content-length", "date", "server"} | named_in_connection(headers)
    kept = [(name, value) for name, value in headers if name.lower() not in dropped]
    assert head.headers[: len(kept)] == kept
    added = head.headers[len(kept) :]
    assert added == ([] if named(kept, "Content-Type") else [OCTETS])


@given(st.binary(max_size=200))
def test_whatever_an_app_writes_nothing_unsafe_comes_out(raw: bytes) -> None:
    try:
        head = parse_response_head(b"HTTP/1.1 200 " + raw)
    except ValueError:
        return
    assert re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", head.reason)
    for name, value in head.headers:
        assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        assert re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"200 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 99 x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 199 x\r\n\r\n",
        b"HTTP/1.1 1000 x\r\n\r\n",
        b"HTTP/1.1  200 x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b" HTTP/1.1 200 x\r\n\r\n",
    ],
)
def test_what_is_no_head_of_a_final_response_raises(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no status line"):
        parse_response_head(raw)


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b"A: b\nC: d\n\n", [("A", "b"), ("C", "d")]),
        (b"A: b\r\n c\r\n\td\r\n\r\n", [("A", "b c d")]),
        (b" folded: onto nothing\r\nA: b\r\n\r\n", [("A", "b")]),
        (b"A:b\r\n\r\n", [("A", "b")]),
        (b"A:\r\n\r\n", [("A", "")]),
        (b"A :b\r\nB: c\r\n\r\n", [("B", "c")]),
        (b"A: b: c\r\n\r\n", [("A", "b: c")]),
        (b"Connection: A\r\nA: b\r\n\r\n", []),
    ],
)
def test_lines_are_read_as_apps_write_them(raw: bytes, headers: Headers) -> None:
    assert parse_response_head(b"HTTP/1.1 200 OK\r\n" + raw).headers == [*headers, OCTETS]
