"""Which health answers are good."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.usher.feeder import Feeder

GOOD = [
    b"",
    b"ok",
    b"anything at all",
    b"<html>{}</html>",
    b"{}",
    b'{"status":"ok"}',
    b'{"status":"ready"}',
    b'{"status":"healthy"}',
    b'{"status":"running"}',
    b'{"status":"up"}',
    b'{"status":"UP"}',
    b'\xef\xbb\xbf{"status":"ok"}',
    b' \r\n\t{ "a" : 1 , "status" \n:\t"ok" }',
    b'{"Status":"busy"}',
    b'{"x":{"status":"busy"}}',
    b'{"x":[{"status":"busy"},"status","busy"],"status":"ok","y":{"status":"busy"}}',
    b'{"x":"status","y":"busy"}',
    b'{"x":"\\"status\\":\\"busy\\"","status":"ok"}',
    b'{"x":"\\\\","status":"ok"}',
    b'{"x":"{[","status":"ok"}',
    b'{"status":"busy","status":"ok"}',
    b'{"\\u0073tatus":"\\u006fk"}',
    b'{"a":"\xc3\xa4 \\ud83d\\ude00","status":"ok"}',
    b'[{"status":"busy"}]',
    b'"busy"',
    b"null",
    b"{status}",
    b"{",
    b'{"status',
    b'{"status"',
    b'{"a":1} {"status":"busy"}',
]
BAD = [
    b'{"status":"unhealthy"}',
    b'{"status":"busy"}',
    b'{"status":"okay"}',
    b'{"status":"o"}',
    b'{"status":""}',
    b'{"status":" ok"}',
    b'{"status":"ok\\u0000"}',
    b'{"status":"' + b"ok" * 100 + b'"}',
    b'{"status":true}',
    b'{"status":200}',
    b'{"status":null}',
    b'{"status":["ok"]}',
    b'{"status":{"status":"ok"}}',
    b'{"status":"ok","status":"busy"}',
    b' {"a":{"b":[1,{"c":"}"}]},"status":"starting","z":"ok"}',
    b'{"\\u0073tatus":"busy"}',
    b'{"status":"busy"',
]


@pytest.mark.parametrize("kind", [b"application/json", b"text/plain", b""])
@pytest.mark.parametrize(
    "body, good", [(b, True) for b in GOOD] + [(b, False) for b in BAD], ids=repr
)
def test_a_health_answer_is_good_unless_its_json_says_otherwise(
    parse: Feeder, kind: bytes, body: bytes, good: bool
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
    assert parse(head + body).good is good


@pytest.mark.parametrize("status", [100, 201, 204, 301, 404, 500, 503])
def test_only_status_200_is_good(parse: Feeder, status: int) -> None:
    head = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status
    assert not parse(head).good


@given(st.binary(max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_no_health_answer_breaks_the_judge(parse: Feeder, body: bytes, seed: int) -> None:
    parse(b'HTTP/1.1 200 OK\r\n\r\n{"status":' + body, seed=seed)
