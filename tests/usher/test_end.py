"""How a replica ends: exit codes, signals, deadlines, and everyone reaped."""

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.usher.replica import Event, Replica, at_best, first_good, longer

HEAD = "b'HTTP/1.1 200 OK\\r\\n"
IGNORE = "on(signal.SIGTERM, signal.SIG_IGN)\n"


def seconds_between(first: Event, second: Event) -> float:
    return (second.at - first.at) / 1e6


def stay_alive_until(replica: Replica, name: str) -> None:
    """Waits for the app's word; the usher must be there still."""
    replica.said_exists(name)
    assert replica.process is not None
    assert replica.process.poll() is None


@pytest.mark.parametrize("code", [0, 1, 125, 255])
def test_the_exit_code_is_the_apps(replica: Replica, code: int, alone: bool) -> None:
    assert replica.run(f"os._exit({code})", alone=alone) == code
    assert replica.values("exited")["code"] == str(code)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_an_app_that_ends_by_a_signal_is_told_so(
    replica: Replica, number: signal.Signals, alone: bool
) -> None:
    assert replica.run(f"os.kill(os.getpid(), {int(number)})", alone=alone) == 128 + number
    assert replica.values("exited")["signal"] == str(int(number))
    assert "stopping" not in replica.names()


def test_the_response_counts_as_it_is_whatever_the_exit(replica: Replica) -> None:
    assert replica.run("c = take_job(); c.sendall(OK); os.abort()") == 128 + 6
    assert replica.names() == ["started", "healthy", "sent", "responded", "exited"]


def test_an_app_without_an_answer_may_still_end_well(replica: Replica) -> None:
    assert replica.run("c = take_job(); sys.exit(0)") == 0
    assert replica.values("response_failed")["why"] == "closed"


def test_an_app_that_ended_before_the_signal_is_judged_by_its_own_end(
    replica: Replica, alone: bool
) -> None:
    """Even where the usher hears of both at once."""
    replica.write_app("c = take_job(); c.sendall(OK); say('pid', os.readlink('/proc/self'))\n"
                      "while not os.path.exists('go'): time.sleep(0.001)")  # fmt: skip
    replica.start(alone=alone)
    replica.until_event("responded")
    usher = replica.usher_pid()
    app = replica.until(Path(f"/proc/{usher}/task/{usher}/children").read_text)
    replica.signal(signal.SIGSTOP)
    (replica.home / "go").touch()
    replica.until(lambda: state_of(str(app).strip()) == "Z")
    replica.signal(signal.SIGTERM)
    replica.signal(signal.SIGCONT)
    assert replica.wait() == 0
    assert replica.names() == ["started", "healthy", "sent", "responded", "exited"]


@pytest.mark.parametrize(
    "command, code, names",
    [("/bin/true", 0, ["started", "exited"]), ("/no/such", 127, ["exec_failed", "exited"])],
)
def test_a_signal_does_not_hide_how_a_short_command_began(
    new_replica: Callable[[], Replica], command: str, code: int, names: list[str]
) -> None:
    """The usher wakes up for the signal, and only then the command begins and ends."""

    def told(delay_ms: int) -> tuple[int, list[str]]:
        replica = new_replica()
        rules = ("timerfd_create:signal=SIGTERM", f"poll:delay_exit={delay_ms}000:when=1")
        replica.write_command(command)
        replica.start(before=interfering(*rules))
        return replica.wait(), replica.names()

    # Where it is stopped, the delay was too short for it.
    ended = first_good(map(told, longer(300)), lambda one: "stopping" not in one[1])
    assert ended == (code, names)


def interfering(*rules: str) -> tuple[str, ...]:
    """Has strace interfere with the usher's system calls, to bring about what is rare."""
    if shutil.which("strace") is None:
        pytest.skip("no strace, which can bring about what is rare")
    calls = ",".join(rule.partition(":")[0] for rule in rules)
    injected = (word for rule in rules for word in ("-e", f"inject={rule}"))
    return ("strace", "-o", "/dev/null", "-e", f"trace={calls}", *injected)


def state_of(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# -- stopping --------------------------------------------------------------------------------

STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_the_job(replica: Replica, number: signal.Signals, alone: bool) -> None:
    replica.write_app("c = take_job(); say('ready'); forever()")
    replica.start(alone=alone)
    stay_alive_until(replica, "ready")
    replica.signal(number)
    assert replica.wait() == 128 + 15
    assert replica.names()[-3:] == ["stopping", "response_failed", "exited"]
    assert replica.values("stopping") == {"why": "signal", "health": "healthy"}
    assert replica.values("exited")["signal"] == "15"


def test_the_image_says_which_signal_stops_it(replica: Replica) -> None:
    lines = "on(signal.SIGUSR1, lambda *_: sys.exit(8)); c = take_job(); say('ready'); forever()"
    replica.write_plan(stop_signal=int(signal.SIGUSR1))
    replica.write_app(lines)
    replica.start()
    replica.said_exists("ready")
    replica.signal(signal.SIGTERM)
    assert replica.wait() == 8
    assert replica.values("exited")["code"] == "8"
    assert "killed" not in replica.names()


def killed_after(replica: Replica, grace_ms: int, alone: bool = False) -> float:
    """The seconds from the signal to the end of an app that ignores it."""
    replica.write_plan(grace_ms=grace_ms)
    replica.write_app(IGNORE + "c = take_job(); say('ready'); forever()")
    replica.start(alone=alone)
    replica.said_exists("ready")
    replica.signal(signal.SIGTERM)
    assert replica.wait() == 128 + 9
    assert replica.names()[3:] == ["stopping", "killed", "response_failed", "exited"]
    assert replica.values("exited")["signal"] == "9"
    return seconds_between(replica.until_event("stopping"), replica.until_event("exited"))


def test_who_ignores_the_signal_is_killed_after_the_grace(
    new_replica: Callable[[], Replica], alone: bool
) -> None:
    def seconds() -> float:
        found = killed_after(new_replica(), 150, alone)
        assert found >= 0.149  # it counts in milliseconds
        return found

    assert at_best(seconds, 0.6) < 0.6


def test_without_a_grace_the_end_is_at_once(new_replica: Callable[[], Replica]) -> None:
    assert at_best(lambda: killed_after(new_replica(), 0), 0.3) < 0.3


def test_a_second_signal_changes_nothing(replica: Replica) -> None:
    replica.write_app(
        "n = []; on(signal.SIGTERM, lambda *_: n.append(1))\n"
        "c = take_job(); say('ready')\n"
        "while not os.path.exists('go'): time.sleep(0.001)\n"
        "say('n', str(len(n)))\n"
    )
    replica.start()
    replica.said_exists("ready")
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        replica.signal(number)
        replica.until(lambda: nothing_pending(replica.usher_pid()))
    (replica.home / "go").touch()
    assert replica.wait() == 0
    assert replica.said("n") == "1"
    assert replica.names().count("stopping") == 1


def nothing_pending(pid: int) -> bool:
    """Whether a process has taken all signals that it was sent."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return all(int(line.split()[1], 16) == 0 for line in lines if "Pnd:" in line)


def test_signals_that_keep_coming_do_not_prolong_the_grace(replica: Replica) -> None:
    replica.write_plan(grace_ms=150)
    replica.write_app(IGNORE + "c = take_job(); say('ready'); forever()")
    replica.start()
    replica.said_exists("ready")

    def over() -> bool:
        assert replica.process is not None
        replica.signal(signal.SIGTERM)
        return replica.process.poll() is not None

    replica.until(over)
    assert replica.wait() == 128 + 9
    assert replica.names().count("stopping") == 1


def test_an_answer_that_is_finished_in_the_grace_counts(replica: Replica) -> None:
    replica.write_app(
        "def finish(*_): c.sendall(OK); c.close(); sys.exit(0)\n"
        "c = take_job(); on(signal.SIGTERM, finish); say('ready'); forever()\n"
    )
    replica.start()
    replica.said_exists("ready")
    replica.signal(signal.SIGTERM)
    assert replica.wait() == 0
    assert replica.names()[3:] == ["stopping", "responded", "exited"]


def test_a_shell_in_front_of_the_app_does_not_cost_it_its_grace(
    replica: Replica, alone: bool
) -> None:
    replica.write_app(
        "if os.fork() != 0: forever()\n"  # the shell: gone at the first signal
        "def finish(*_): time.sleep(0.1); c.sendall(OK); os._exit(0)\n"
        "c = take_job(); on(signal.SIGTERM, finish); say('ready'); forever()\n"
    )
    replica.start(alone=alone)
    replica.said_exists("ready")
    replica.signal(signal.SIGTERM)
    assert replica.wait() == 128 + 15
    assert replica.names()[3:] == ["stopping", "responded", "exited"]


# -- the deadline ----------------------------------------------------------------------------

DEADLINES = {
    "before-it-listens": ("forever()", [], "refused"),
    "before-it-is-healthy": ("s = listen()\nwhile True: answer_health(s, b'no')", [], "unhealthy"),
    "before-the-answer": ("c = take_job(); forever()",
                          ["healthy", "sent", "response_failed"], "healthy"),
    "in-the-answer": (f"c = take_job(); c.sendall({HEAD}Content-Length: 9\\r\\n\\r\\nhello')\n"
                      "forever()", ["healthy", "sent", "response_failed"], "healthy"),
    "in-an-answer-without-length": (f"c = take_job(); c.sendall({HEAD}\\r\\nhello'); forever()",
                                    ["healthy", "sent", "response_failed"], "healthy"),
    "after-the-answer": ("c = take_job(); c.sendall(OK); forever()",
                         ["healthy", "sent", "responded"], "healthy"),
}  # fmt: skip


@pytest.mark.parametrize("lines, names, health", DEADLINES.values(), ids=DEADLINES)
def test_the_deadline_ends_whatever_goes_on(
    new_replica: Callable[[], Replica], lines: str, names: list[str], health: str
) -> None:
    def told(deadline_ms: int) -> tuple[list[str], dict[str, str], str | None, bool]:
        replica = new_replica()
        assert replica.run(lines, deadline_ms=deadline_ms) == 128 + 15
        assert "responded" in replica.names() or replica.nothing_stored()
        failed = replica.event("response_failed")
        told = [n for n in replica.names() if n not in ("started", "stopping", "exited")]
        why = failed.values["why"] if failed else None
        return told, replica.values("stopping"), why, late(replica) < 200_000

    why = "closed" if lines == "c = take_job(); forever()" else "truncated"
    stopping = {"why": "deadline", "health": health}
    expected = (names, stopping, why if "response_failed" in names else None, True)
    tries = map(told, longer(300 if health == "refused" else 2000))
    assert first_good(tries, lambda one: one == expected) == expected


def late(replica: Replica) -> int:
    """How many microseconds after the deadline, as it was told, the app was stopped."""
    deadline = int(replica.values("started")["deadline"])
    found = replica.until_event("stopping").at - deadline
    assert found >= -2000
    return found


def test_the_app_is_not_stopped_before_the_deadline_that_it_was_told(
    new_replica: Callable[[], Replica],
) -> None:
    """Even if the usher is kept waiting while it prepares."""

    def stopped() -> int:
        replica = new_replica()
        replica.write_plan(deadline_ms=900)
        replica.write_app("forever()")
        replica.start(before=interfering("pread64:delay_exit=300000"))
        assert replica.wait() == 128 + 15
        return late(replica)

    assert at_best(stopped, 200_000) < 200_000


def test_a_never_ending_answer_ends_with_the_deadline(new_replica: Callable[[], Replica]) -> None:
    lines = (
        f"c = take_job(); c.sendall({HEAD}\\r\\n')\nwhile True: c.sendall(b'x'); time.sleep(0.001)"
    )

    def why(deadline_ms: int) -> str | None:
        replica = new_replica()
        assert replica.run(lines, deadline_ms=deadline_ms) == 128 + 15
        assert replica.nothing_stored()
        failed = replica.event("response_failed")
        return failed.values["why"] if failed else None

    assert first_good(map(why, longer(2000)), lambda one: one == "truncated") == "truncated"


def test_an_answer_without_length_that_the_app_itself_ends_in_the_grace_counts(
    replica: Replica,
) -> None:
    replica.write_app(
        f"c = take_job(); c.sendall({HEAD}\\r\\nhello')\n"
        "on(signal.SIGTERM, lambda *_: (c.sendall(b' and bye'), sys.exit(0)))\n"
        "say('ready'); forever()\n"
    )
    replica.start()
    replica.said_exists("ready")
    replica.signal(signal.SIGTERM)
    assert replica.wait() == 0
    assert replica.names()[3:] == ["stopping", "responded", "exited"]
    assert replica.body() == b"hello and bye"


# -- process 1 -------------------------------------------------------------------------------


@pytest.mark.usefixtures("as_root")
def test_process_1_is_not_killed_from_inside(replica: Replica) -> None:
    lines = (
        "c = take_job()\n"
        "for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGUSR1,\n"
        "               signal.SIGPIPE, signal.SIGALRM, signal.SIGTSTP): os.kill(1, number)\n"
        "c.sendall(OK); sys.exit(2)\n"
    )
    assert replica.run(lines, alone=True) == 2
    assert replica.names()[-2:] == ["responded", "exited"]


@pytest.mark.usefixtures("as_root")
def test_an_app_that_asks_process_1_to_end_ends_the_job(replica: Replica) -> None:
    assert replica.run("os.kill(1, signal.SIGTERM); forever()", alone=True) == 128 + 15
    assert replica.values("stopping")["why"] == "signal"


def test_the_usher_waits_without_ever_waking_up(replica: Replica) -> None:
    lines = "c = take_job(); c.sendall(b'HTTP/1.1 200 OK\\r\\n'); say('ready', '1'); forever()"
    replica.write_app(lines)
    replica.start()
    replica.said_exists("ready")
    pid = replica.usher_pid()
    replica.until(lambda: fell_asleep(pid))
    before = wakeups(pid)
    time.sleep(0.5)  # what is measured is what happens in a time
    assert wakeups(pid) == before
    replica.signal(signal.SIGTERM)
    assert replica.wait() == 128 + 15


def wakeups(pid: int) -> int:
    """How often it has been put to sleep, on its own will or not."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def fell_asleep(pid: int) -> bool:
    """Not one that only waits for its turn on a busy machine."""
    before = wakeups(pid)
    time.sleep(0.05)
    return state_of(str(pid)) == "S" and wakeups(pid) == before
