"""The request as the app gets it, and every kind of response as it is kept."""

import hashlib
import os
from collections.abc import Callable

import pytest

from tests.usher.replica import Replica, at_best

HEAD = "b'HTTP/1.1 200 OK\\r\\n"
LARGE = b"POST / HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 20_000_000


def test_a_request_of_30_mebibytes_arrives_byte_for_byte(replica: Replica) -> None:
    body = os.urandom(30 << 20)
    head = b"PUT /a//b?%20 HTTP/1.1\r\nHost: x\r\nX_y: 1\r\nx-Y: 2\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    (replica.spool / "request").write_bytes(request)
    lines = (
        "import hashlib\ns = listen(); answer_health(s); c, _ = s.accept(); got = read_request(c)\n"
        "say('got', hashlib.sha256(got).hexdigest()); c.sendall(OK)\n"
    )
    assert replica.run(lines) == 0
    assert replica.said("got") == hashlib.sha256(request).hexdigest()


@pytest.mark.parametrize("answer", ["b''", "b'HTTP/1.1 200 OK\\r\\n'", "b'nonsense'"])
def test_a_request_that_is_not_answered_is_not_sent_again(replica: Replica, answer: str) -> None:
    lines = (
        "s = listen(); answer_health(s); c, _ = s.accept(); read_request(c)\n"
        f"c.sendall({answer}); c.close(); s.settimeout(0.4)\n"
        "try: s.accept(); say('again', '1')\n"
        "except TimeoutError: sys.exit(3)\n"
    )
    assert replica.run(lines) == 3
    assert replica.names().count("sent") == 1


def test_nothing_follows_the_request_and_our_side_stays_open(replica: Replica) -> None:
    lines = (
        "import select\nc = take_job(); say('idle', str(select.select([c], [], [], 0.1)[0]))\n"
        "c.sendall(OK); say('end', repr(c.recv(1)))\n"
    )
    assert replica.run(lines) == 0
    assert replica.said("idle") == "[]"
    assert replica.said("end") == "b''"


def test_sent_is_noted_before_the_app_sees_one_byte(replica: Replica) -> None:
    lines = (
        "s = listen(); answer_health(s); c, _ = s.accept(); c.recv(1)\n"
        f"say('events', open({str(replica.spool / 'events')!r}).read()); c.sendall(OK)\n"
    )
    replica.run(lines)
    assert " sent\n" in replica.said("events")


RESPONSES = {
    "length": ("c.sendall(b'HTTP/1.1 201 Made\\r\\nX: y\\r\\nContent-Length: 5\\r\\n\\r\\nhello')",
               201, b"hello"),
    "in-pieces": ("for b in OK: c.send(bytes([b]))", 200, b"ok"),
    "chunked": (f"c.sendall({HEAD}Transfer-Encoding: chunked\\r\\n\\r\\n"
                "5\\r\\nhello\\r\\n1;x=y\\r\\n!\\r\\n0\\r\\nT: u\\r\\n\\r\\n')", 200, b"hello!"),
    "to-the-end": (f"c.sendall({HEAD}\\r\\n'); c.sendall(bytes(range(256)) * 500); c.close()",
                   200, bytes(range(256)) * 500),
    "interim": ("c.sendall(b'HTTP/1.1 100 Continue\\r\\n\\r\\n'); time.sleep(0.02)\n"
                "c.sendall(b'HTTP/1.1 102 Wait\\r\\n\\r\\n' + OK)", 200, b"ok"),
    "no-content": ("c.sendall(b'HTTP/1.1 204 No\\r\\n\\r\\n')", 204, b""),
    "not-modified": ("c.sendall(b'HTTP/1.1 304 X\\r\\nContent-Length: 9\\r\\n\\r\\n')", 304, b""),
    "empty": (f"c.sendall({HEAD}Content-Length: 0\\r\\n\\r\\n')", 200, b""),
    "an-error-of-the-app": ("c.sendall(b'HTTP/1.0 500 X\\r\\n\\r\\nsorry'); c.close()",
                            500, b"sorry"),
    "http-1.0-kept-open": ("c.sendall(b'HTTP/1.0 200 OK\\r\\nConnection: keep-alive\\r\\n"
                           "Content-Length: 2\\r\\n\\r\\nok'); c.recv(1)", 200, b"ok"),
    "length-and-chunked": (f"c.sendall({HEAD}Content-Length: 99\\r\\n"
                           "Transfer-Encoding: chunked\\r\\n\\r\\n"
                           "2\\r\\nok\\r\\n0\\r\\n\\r\\n'); c.recv(1)", 200, b"ok"),
    "more-than-announced": ("c.sendall(OK + b'more')", 200, b"ok"),
}  # fmt: skip


@pytest.mark.parametrize("lines, status, body", RESPONSES.values(), ids=RESPONSES)
def test_responses(replica: Replica, lines: str, status: int, body: bytes) -> None:
    assert replica.run(f"c = take_job()\n{lines}\nsys.exit(3)") == 3
    assert replica.values("responded") == {"status": str(status), "bytes": str(len(body))}
    assert replica.body() == body
    assert replica.head().split(b" ")[1] == b"%d" % status
    assert replica.head().endswith(b"\r\n\r\n")


def test_the_head_is_kept_as_it_came(replica: Replica) -> None:
    head = b"HTTP/1.1 200 All  Right\r\nset-cookie: a\r\nSet-Cookie:b\r\nX_y:\t1 \r\n\r\n"
    replica.run(f"c = take_job(); c.sendall({head!r}); c.close()")
    assert replica.head() == head


def test_a_large_response_is_kept_whole(replica: Replica) -> None:
    lines = (
        "import random; body = random.Random(1).randbytes(20_000_000); c = take_job()\n"
        f"c.sendall({HEAD}Content-Length: 20000000\\r\\n\\r\\n' + body)\n"
        "import hashlib; say('sum', hashlib.sha256(body).hexdigest())\n"
    )
    assert replica.run(lines) == 0
    assert replica.said("sum") == hashlib.sha256(replica.body()).hexdigest()


@pytest.mark.parametrize("framing", ["Content-Length: 3000000\\r\\n", ""])
def test_what_was_written_just_before_the_exit_is_not_lost(replica: Replica, framing: str) -> None:
    lines = (
        "c = take_job(); c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4000000)\n"
        f"c.sendall({HEAD}{framing}\\r\\n' + b'x' * 3000000); os._exit(0)\n"
    )
    assert replica.run(lines) == 0
    assert replica.values("responded")["bytes"] == "3000000"
    assert replica.body() == b"x" * 3_000_000


def test_a_response_that_keeps_the_connection_is_told_at_its_length(replica: Replica) -> None:
    lines = "c = take_job(); c.sendall(OK); c.recv(1); say('closed'); forever()"
    replica.write_app(lines)
    replica.start()
    replica.until_event("responded")
    replica.until((replica.home / "closed").exists)
    assert replica.process is not None
    assert replica.process.poll() is None


def test_no_part_of_an_answer_waits_for_the_one_before_it(
    new_replica: Callable[[], Replica],
) -> None:
    """The second write waits for the acknowledgement of the first: 40 ms, if that is put off.

    The kernel likes to put it off once data has gone both ways, as with an interim answer.
    """
    lines = (
        "import fcntl\ns = listen(); answer_health(s); c, _ = s.accept()\n"
        "n = len(c.recv(10)); c.sendall(b'HTTP/1.1 100 C\\r\\n\\r\\n')\n"
        "time.sleep(0.01)\n"  # for the usher to have gone on sending since
        "while n < len_of_request: n += len(c.recv(1 << 20))\n"
        "c.send(b'HTTP/1.1 200 OK\\r\\n'); began = time.time()\n"
        "while fcntl.ioctl(c, 0x5411, bytes(4)) != bytes(4): time.sleep(0.0001)\n"  # SIOCOUTQ
        "say('waited', str(time.time() - began)); c.sendall(b'Content-Length: 0\\r\\n\\r\\n')\n"
    )

    def waited() -> float:
        replica = new_replica()
        (replica.spool / "request").write_bytes(LARGE)
        assert replica.run(f"len_of_request = {len(LARGE)}\n{lines}") == 0
        return float(replica.said("waited"))

    assert at_best(waited, 0.03) < 0.03  # put off, it is every time


# -- answers before all of the request was read ----------------------------------------------


def test_an_answer_may_come_before_the_request_was_read(replica: Replica) -> None:
    (replica.spool / "request").write_bytes(LARGE)
    lines = "s = listen(); answer_health(s); c, _ = s.accept(); c.recv(10); c.sendall(OK)"
    assert replica.run(lines) == 0
    assert replica.values("responded") == {"status": "200", "bytes": "2"}


def test_a_short_answer_without_length_survives_the_reset_of_an_unread_request(
    replica: Replica,
) -> None:
    (replica.spool / "request").write_bytes(LARGE)
    lines = (
        "s = listen(); answer_health(s); c, _ = s.accept(); c.recv(10)\n"
        f"c.sendall({HEAD}\\r\\nearly'); c.close()\n"
    )
    assert replica.run(lines) == 0
    assert replica.body() == b"early"


def test_an_answer_and_a_request_may_cross(replica: Replica) -> None:
    (replica.spool / "request").write_bytes(LARGE)
    lines = (
        "s = listen(); answer_health(s); c, _ = s.accept()\n"
        f"c.sendall({HEAD}Content-Length: 20000000\\r\\n\\r\\n' + b'y' * 20000000)\n"
        "say('size', str(len(read_request(c))))\n"
    )
    assert replica.run(lines) == 0
    assert replica.values("responded")["bytes"] == "20000000"
    assert replica.said("size") == str(len(LARGE))


def test_an_answer_whose_end_was_lost_with_the_unread_request_is_truncated(
    replica: Replica,
) -> None:
    (replica.spool / "request").write_bytes(LARGE)
    lines = (
        "s = listen(); answer_health(s); c, _ = s.accept(); c.recv(10)\n"
        f"c.sendall({HEAD}Content-Length: 9\\r\\n\\r\\nhello'); c.close()\n"
    )
    assert replica.run(lines) == 0
    assert replica.values("response_failed") == {"why": "truncated", "errno": "104"}


def test_an_app_may_answer_first_and_read_the_request_then(replica: Replica) -> None:
    (replica.spool / "request").write_bytes(LARGE)
    lines = (
        "s = listen(); answer_health(s); c, _ = s.accept(); c.sendall(OK)\n"
        "say('size', str(len(read_request(c)))); say('end', repr(c.recv(1)))\n"
    )
    assert replica.run(lines) == 0
    assert replica.said("size") == str(len(LARGE))
    assert replica.said("end") == "b''"
    assert replica.values("responded")["bytes"] == "2"


# -- no response -----------------------------------------------------------------------------

FAILURES = {
    "nothing": ("c.close()", "closed", 0),
    "nothing-and-exit": ("os._exit(5)", "closed", 0),
    "part-of-a-head": ("c.sendall(b'HTTP/1.1 200 OK\\r\\n'); c.close()", "truncated", 0),
    "short-of-length": (f"c.sendall({HEAD}Content-Length: 9\\r\\n\\r\\nhello'); c.close()",
                        "truncated", 0),
    "no-last-chunk": (f"c.sendall({HEAD}Transfer-Encoding: chunked\\r\\n\\r\\n1\\r\\na\\r\\n')",
                      "truncated", 0),
    "only-interim": ("c.sendall(b'HTTP/1.1 100 C\\r\\n\\r\\n')", "truncated", 0),
    "other-protocol": ("c.sendall(b'220 smtp.example\\r\\n')", "malformed", 0),
    "bad-chunk": (f"c.sendall({HEAD}Transfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\n')",
                  "malformed", 0),
    "two-lengths": (f"c.sendall({HEAD}Content-Length: 1\\r\\nContent-Length: 2\\r\\n\\r\\nab')",
                    "malformed", 0),
    "endless-head": ("c.sendall(b'HTTP/1.1 200 OK\\r\\n' + b'X: y\\r\\n' * 60000)", "malformed", 0),
    "too-large-announced": (f"c.sendall({HEAD}Content-Length: 1001\\r\\n\\r\\n')", "too_large", 0),
    "too-large": (f"c.sendall({HEAD}\\r\\n' + b'x' * 1001)", "too_large", 0),
    "reset": ("c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\\1\\0\\0\\0' * 2)\n"
              "c.sendall(b'HTTP/1.1 2'); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,"
              " b'\\1\\0\\0\\0\\0\\0\\0\\0'); c.close()", "truncated", 104),
}  # fmt: skip


@pytest.mark.parametrize("lines, why, errno", FAILURES.values(), ids=FAILURES)
def test_responses_that_can_not_be_kept(replica: Replica, lines: str, why: str, errno: int) -> None:
    code = replica.run(f"c = take_job()\ntry:\n    {lines.replace(chr(10), chr(10) + '    ')}\n"
                       "except OSError: pass\nsys.exit(5)", response_limit=1000)  # fmt: skip
    assert code == 5
    assert replica.names() == ["started", "healthy", "sent", "response_failed", "exited"]
    assert replica.values("response_failed") == {"why": why, "errno": str(errno)}
    assert replica.nothing_stored()


def test_after_a_failed_response_the_app_goes_on_until_it_ends(replica: Replica) -> None:
    lines = "c = take_job(); c.sendall(b'?'); c.recv(1); say('go'); time.sleep(0.05); sys.exit(6)"
    assert replica.run(lines) == 6
    assert (replica.home / "go").exists()


def test_a_body_at_its_limit_is_kept(replica: Replica) -> None:
    lines = f"c = take_job(); c.sendall({HEAD}\\r\\n' + b'x' * 1000)"
    assert replica.run(lines, response_limit=1000) == 0
    assert replica.values("responded")["bytes"] == "1000"


def test_an_app_that_closes_the_door_after_it_was_healthy_is_tried_again(
    replica: Replica,
) -> None:
    lines = (
        "answer_health_and_shut(listen()); time.sleep(0.1)\n"
        "s = listen(); c, _ = s.accept(); read_request(c); c.sendall(OK)\n"
    )
    assert replica.run(lines) == 0
    assert replica.names() == ["started", "healthy", "sent", "responded", "exited"]
