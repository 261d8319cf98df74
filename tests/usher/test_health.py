"""When an app counts as healthy, where it is looked for, and how often."""

import socket
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.usher.replica import TRIES, Replica, at_best, first_good, longer

OPEN_JOB = "c, _ = s.accept(); read_request(c); c.sendall(OK)\n"


def own_addresses() -> list[str]:
    """An address of this machine besides loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        address = str(probe.getsockname()[0])
    return [] if address.startswith("127.") else [address]


def test_the_health_check_asks_for_its_path(replica: Replica) -> None:
    lines = "s = listen(); say('asked', answer_health(s).decode())\n" + OPEN_JOB
    replica.run(lines, health_path="/up?deep=1&x=%20")
    asked = replica.said("asked")
    assert asked.startswith("GET /up?deep=1&x=%20 HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{replica.port}\r\n" in asked
    assert "\r\nConnection: close\r\n" in asked
    assert asked.endswith("\r\n\r\n")


UNHEALTHY = [
    b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"status": "busy"}',
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'9\r\n{"status"\r\nd\r\n:"unhealthy"}\r\n0\r\n\r\n',
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
    b"HTTP/1.1 20",
    b"",
    b"nonsense",
]


def test_unhealthy_answers_are_asked_again_until_healthy(replica: Replica) -> None:
    lines = (
        f"s = listen()\nfor a in {UNHEALTHY!r}: answer_health(s, a)\n"
        "say('before', str(time.time()))\nanswer_health(s)\n"
    )
    assert replica.run(lines + OPEN_JOB) == 0
    assert replica.names() == ["started", "healthy", "sent", "responded", "exited"]
    assert replica.until_event("healthy").at / 1e6 > float(replica.said("before"))


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"a":{"status":"busy"}}',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'f\r\n{"status":"Read\r\n3\r\ny"}\r\n0\r\n\r\n',
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\nup",
    ],
    ids=["json", "chunked", "interim"],
)
def test_healthy_answers(replica: Replica, answer: bytes) -> None:
    assert replica.run(f"s = listen(); answer_health(s, {answer!r})\n" + OPEN_JOB) == 0
    assert replica.values("responded")["status"] == "200"


def test_of_a_long_health_answer_the_beginning_is_enough(replica: Replica) -> None:
    lines = (
        "s = listen(); h, _ = s.accept(); read_head(h)\n"
        "h.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' + b'x' * 70000)\n"  # and stays open
    )
    assert replica.run(lines + OPEN_JOB) == 0


def test_a_health_answer_that_is_kept_open_is_complete_at_its_length(replica: Replica) -> None:
    lines = "s = listen(); h, _ = s.accept(); read_head(h); h.sendall(OK)\n"
    assert replica.run(lines + OPEN_JOB) == 0


ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
AHEAD = ("nice", "--adjustment=-20")  # of all that this machine is busy with meanwhile


def refused_calls(replica: Replica, listens_after: float) -> int:
    """How many calls were refused until the app began to listen, alone in a network."""
    replica.write_app(
        "def refused():\n"
        "    names, numbers = (l.split() for l in open('/proc/net/snmp') if l.startswith('Tcp:'))\n"
        "    return int(numbers[names.index('AttemptFails')])\n"
        f"time.sleep({listens_after}); say('refused', str(refused()))\n"
        "s = listen(); answer_health(s)\n" + OPEN_JOB
    )
    replica.start(before=(*AHEAD, *ALONE))
    assert replica.wait() == 0
    return int(replica.said("refused"))


@pytest.mark.usefixtures("as_root")
def test_refused_polls_are_5_ms_apart_for_long_enough(new_replica: Callable[[], Replica]) -> None:
    """About 40. Pauses that grow from the start by half each make 14, at two addresses each."""
    counts = (refused_calls(new_replica(), 0.15) for _ in range(TRIES))
    assert first_good(counts, lambda count: count > 24) > 24


@pytest.mark.usefixtures("as_root")
def test_refused_polls_become_rare(new_replica: Callable[[], Replica]) -> None:
    """About 115 in a second and a half, where two addresses every 5 ms would make 600."""
    assert at_best(lambda: refused_calls(new_replica(), 1.5), 200) < 200


def test_polls_are_5_ms_apart_at_first_and_a_second_in_the_end(replica: Replica) -> None:
    """Each is answered after its time was taken, so no pause can look shorter than it is.

    It can look longer, on a busy machine: the shortest tells how long it was meant to be.
    """
    server, at, gaps = replica.claims[0], list[float](), list[float]()
    server.listen()  # in place of the app, so as to be there from the first poll on
    server.settimeout(30)
    replica.write_plan(deadline_ms=100_000)
    replica.write_app("forever()")
    replica.start()
    while sum(gap > 0.99 for gap in gaps) < 3:
        conn, _ = server.accept()
        at.append(time.monotonic())
        gaps = [b - a for a, b in pairwise(at)]
        conn.recv(4096)
        conn.sendall(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
        conn.close()
    replica.signal(15)
    assert replica.wait() == 128 + 15
    least = (0.005, 0.008, 0.013, 0.020, 0.031, 0.047)
    assert all(gap > pause - 0.0015 for gap, pause in zip(gaps, least, strict=False)), gaps
    assert min(gaps[:4]) < 0.1, gaps
    assert min(gaps[-2:]) < 1.5, gaps


def test_a_poll_that_is_not_answered_is_given_up_after_its_own_time(replica: Replica) -> None:
    lines = "s = listen(); silent, _ = s.accept(); c = await_request(s); read_request(c)\n"
    assert replica.run(lines + "c.sendall(OK)", health_timeout_ms=60) == 0
    assert replica.names()[1] == "healthy"


def test_an_app_that_listens_late_is_found(replica: Replica) -> None:
    lines = "time.sleep(0.2); s = listen(); answer_health(s)\n"
    assert replica.run(lines + OPEN_JOB) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::", *own_addresses()])
def test_the_app_is_found_wherever_it_listens(replica: Replica, host: str) -> None:
    lines = f"s = listen({host!r}); answer_health(s)\n"
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    assert replica.run(lines + OPEN_JOB) == 0
    assert replica.values("responded")["status"] == "200"


def test_health_and_job_may_have_ports_and_addresses_of_their_own(replica: Replica) -> None:
    port = replica.new_port()
    lines = f"h = listen('::1', {port}); answer_health(h)\ns = listen('127.0.0.1')\n"
    assert replica.run(lines + OPEN_JOB, health_port=port) == 0
    assert replica.values("responded")["status"] == "200"


@pytest.mark.parametrize("app, other", [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_somebody_else_at_another_address_does_not_hide_the_app(
    replica: Replica, app: str, other: str
) -> None:
    lines = (
        "BUSY = b'HTTP/1.1 503 X\\r\\n\\r\\n'\n"
        f"other = listen({other!r}); answer_health(other, BUSY)\n"
        "if os.fork() == 0:\n    while True: answer_health(other, BUSY)\n"
        f"other.close(); s = listen({app!r}); answer_health(s)\n"
    )
    assert replica.run(lines + OPEN_JOB) == 0
    assert replica.values("responded")["status"] == "200"


# An address of the replica's becomes another machine's, which is healthy on the same port.
STRANGER = """
import ctypes, subprocess
def ip(*words): subprocess.run(["ip", *words], check=True)
s = listen("10.9.0.1"); answer_health(s, b"HTTP/1.1 503 X\\r\\n\\r\\n"); s.close()
ours, theirs = socket.socketpair()
stranger = os.fork()
if stranger == 0:
    ctypes.CDLL(None).unshare(0x40000000)  # a network of its own
    theirs.send(b"."); theirs.recv(1)
    ip("addr", "add", "10.9.0.1/24", "dev", "cable1"); ip("link", "set", "cable1", "up")
    s = listen("10.9.0.1"); theirs.send(b"."); s.accept()
    answer_health(s); say("reached", "1"); c, _ = s.accept(); say("got", repr(read_head(c)))
    forever()
ours.recv(1)
ip("link", "set", "cable1", "netns", str(stranger))
ip("addr", "del", "10.9.0.1/24", "dev", "cable0")
ip("addr", "add", "10.9.0.2/24", "dev", "cable0")
ours.send(b"."); ours.recv(1)
socket.create_connection(("10.9.0.1", PORT), 30).close()  # it can be reached, and is
end = time.time() + 2
while time.time() < end and not os.path.exists("reached"): time.sleep(0.01)
s = listen(); answer_health(s)
"""


@pytest.mark.usefixtures("as_root")
def test_no_call_leaves_the_replica_when_an_address_of_its_own_is_taken_away(
    replica: Replica,
) -> None:
    network = (
        "ip link set lo up; ip link add cable0 type veth peer name cable1;"
        'ip addr add 10.9.0.1/24 dev cable0; ip link set cable0 up; exec "$@"'
    )
    replica.write_app(STRANGER + OPEN_JOB)
    replica.start(before=("unshare", "--net", "sh", "-c", network, "sh"))
    assert replica.wait() == 0, replica.log()
    assert not (replica.home / "reached").exists()
    assert not (replica.home / "got").exists()
    assert replica.values("responded")["status"] == "200"


def test_without_a_health_check_the_first_connection_carries_the_request(
    replica: Replica,
) -> None:
    lines = "time.sleep(0.05); s = listen(); c, _ = s.accept(); say('got', repr(read_request(c)))\n"
    assert replica.run(lines + "c.sendall(OK)", health_enabled=0) == 0
    assert "POST /job" in replica.said("got")
    assert replica.names() == ["started", "healthy", "sent", "responded", "exited"]


@pytest.mark.parametrize(
    "lines, health",
    [
        ("forever()", "refused"),
        ("s = listen()\nforever()", "refused"),
        ("s = listen()\nwhile True: answer_health(s, b'')", "refused"),
        ("s = listen()\nwhile True: answer_health(s, b'?')", "unhealthy"),
        ("s = listen()\nwhile True: answer_health(s, b'HTTP/1.1 500 X\\r\\n\\r\\n')", "unhealthy"),
        ("answer_health_and_shut(listen()); forever()", "healthy"),
    ],
)
def test_a_start_that_takes_too_long_tells_the_best_health_it_saw(
    new_replica: Callable[[], Replica], lines: str, health: str
) -> None:
    # A poll that nobody answers would be given up only much later.
    plan = {"health_timeout_ms": 100} if health == "refused" else {}

    def told(startup_ms: int) -> dict[str, str]:
        replica = new_replica()
        assert replica.run(lines, startup_ms=startup_ms, **plan) == 128 + 15
        assert "sent" not in replica.names()
        assert not [n for n in replica.names() if n.startswith("respon")]
        return replica.values("stopping")

    expected = {"why": "startup", "health": health}
    tries = map(told, longer(250 if health == "refused" else 1500))
    assert first_good(tries, lambda one: one == expected) == expected


def test_the_bound_on_the_start_ends_with_the_request(new_replica: Callable[[], Replica]) -> None:
    def told(startup_ms: int) -> tuple[int, bool]:
        replica, work = new_replica(), startup_ms / 1000 + 0.05
        code = replica.run(f"c = take_job(); time.sleep({work}); c.sendall(OK)",
                           startup_ms=startup_ms)  # fmt: skip
        return code, "stopping" in replica.names()

    assert first_good(map(told, longer(250)), lambda one: one == (0, False)) == (0, False)


def test_an_app_that_ends_before_it_is_healthy_was_never_sent_anything(replica: Replica) -> None:
    lines = "s = listen(); answer_health(s, b'HTTP/1.1 500 X\\r\\n\\r\\n'); sys.exit(4)"
    assert replica.run(lines) == 4
    assert replica.names() == ["started", "exited"]


@pytest.mark.usefixtures("as_root")
def test_polling_never_takes_the_apps_own_port(replica: Replica) -> None:
    """A caller can be given the very port that it calls, and reach itself.

    Here it always is while nobody listens there: the lowest of two ports is handed out first.
    """
    ports = f"{replica.port} {replica.port + 1}"
    script = f'ip link set lo up; echo {ports} > /proc/sys/net/ipv4/ip_local_port_range; exec "$@"'
    replica.write_app("time.sleep(0.1); s = listen(); answer_health(s)\n" + OPEN_JOB)
    replica.start(before=("unshare", "--net", "sh", "-c", script, "sh"))
    assert replica.wait() == 0
    assert replica.values("responded")["status"] == "200"
