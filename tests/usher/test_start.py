"""How a replica begins: once, by its plan, with a clean process and the deadline told."""

import os
import signal
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.usher.replica import Replica

SERVE = "c = take_job(); c.sendall(OK)\n"


def test_a_job_from_start_to_end(replica: Replica) -> None:
    before = time.time()
    assert replica.run(SERVE) == 0
    assert replica.names() == ["started", "healthy", "sent", "responded", "exited"]
    times = [event.at / 1e6 for event in replica.events()]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= time.time()
    assert replica.values("responded") == {"status": "200", "bytes": "2"}
    assert replica.values("exited")["code"] == "0"
    assert set(replica.values("exited")) == {"code", "oom_kills", "memory_peak"}
    assert replica.head() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    assert replica.body() == b"ok"


def test_what_the_worker_has_to_read_anyone_can_read(replica: Replica) -> None:
    os.umask(previous := os.umask(0o077))
    try:
        os.umask(0o077)
        replica.run("say('umask', oct(os.umask(0)))\n" + SERVE)
    finally:
        os.umask(previous)
    for name in ("started", "events", "response.head", "response.body"):
        assert stat.S_IMODE((replica.spool / name).stat().st_mode) == 0o644
    assert replica.said("umask") == "0o77"


def test_the_events_file_is_made_if_it_is_not_there(replica: Replica) -> None:
    (replica.spool / "events").unlink()
    assert replica.run(SERVE) == 0
    assert replica.names()[-1] == "exited"


def test_it_does_not_run_twice(replica: Replica) -> None:
    replica.run(SERVE)
    before = replica.events()
    (replica.spool / "request").write_bytes(b"GET /other HTTP/1.1\r\n\r\n")
    replica.write_app("say('again')")
    replica.start()
    assert replica.wait() == 125
    assert replica.events()[:-1] == before
    assert replica.names()[-1] == "refused"
    assert not (replica.home / "again").exists()
    assert replica.body() == b"ok"


def test_a_second_start_does_not_wait_at_what_the_app_left(replica: Replica) -> None:
    replica.write_app("say('again')")
    (replica.spool / "started").touch()
    (replica.spool / "events").unlink()
    os.mkfifo(replica.spool / "events")
    replica.start()
    assert replica.wait() == 125
    assert not (replica.home / "again").exists()


@pytest.mark.parametrize(
    "command, errno, code",
    [
        ((), 2, 127),
        (("",), 2, 127),
        (("/no/such/file",), 2, 127),
        (("no-such-command-anywhere",), 2, 127),
        (("/dev/null/x",), 20, 127),
        (("/tmp",), 13, 126),
        (("./text",), 13, 126),
        (("./no-interpreter",), 2, 127),
        (("./not-a-program",), 8, 126),
        (("x" * 300,), 36, 126),
    ],
)
def test_a_command_that_can_not_be_executed(
    shipped: Path, tmp_path: Path, command: tuple[str, ...], errno: int, code: int
) -> None:
    replica = Replica(shipped, tmp_path)  # its own libc decides, as in a real replica
    (replica.home / "text").write_text("x")
    for name, content in (("no-interpreter", b"#!/no/such\n"), ("not-a-program", b"\x7fELFx")):
        (replica.home / name).write_bytes(content)
        (replica.home / name).chmod(0o755)
    replica.write_command(*command)
    replica.start()
    assert replica.wait() == code
    assert replica.names() == ["exec_failed", "exited"]
    assert replica.values("exec_failed") == {"errno": str(errno)}
    assert replica.values("exited")["code"] == str(code)
    assert "cannot execute" in replica.log()


def test_the_command_is_looked_up_in_path_and_gets_its_arguments_as_they_are(
    replica: Replica,
) -> None:
    tool = replica.home / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "%s|" "$0" "$@" > arguments\nexit 9\n')
    tool.chmod(0o755)
    replica.write_command("tool", "", "a b", "ä\n", b"\xff")
    replica.start(env={"PATH": f"{tool.parent}:{os.environ['PATH']}"})
    assert replica.wait() == 9
    assert replica.until((replica.home / "arguments").read_bytes) == (
        os.fsencode(tool) + b"||a b|" + "ä\n".encode() + b"|\xff|"
    )


def test_a_command_that_ends_at_once_is_told_as_started_and_exited(replica: Replica) -> None:
    replica.write_command("/bin/true")
    replica.start()
    assert replica.wait() == 0
    assert replica.names() == ["started", "exited"]


def test_the_deadline_is_told_to_the_app_and_to_the_worker(replica: Replica) -> None:
    before = time.time_ns() // 1000
    replica.run("say('env', os.environ['JOB_DEADLINE'])\n" + SERVE, deadline_ms=7_200_000)
    told = int(replica.values("started")["deadline"])
    started = replica.events()[0].at
    assert before <= told - 7_200_000_000 <= started
    expected = datetime.fromtimestamp(told // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert replica.said("env") == expected


def test_the_app_gets_the_environment_of_the_container(replica: Replica) -> None:
    replica.write_app("say('env', repr(sorted(os.environ)))\n" + SERVE)
    replica.start(env={"JOB_ID": "j", "JOB_DEADLINE": "never"})
    replica.wait()
    names = replica.said("env")
    assert "'JOB_ID'" in names
    assert names.count("JOB_DEADLINE") == 1


def test_the_app_starts_with_clean_signals_and_files(replica: Replica) -> None:
    lines = (
        "lines = dict(l.split(':\\t') for l in open('/proc/self/status') if l.startswith('Sig'))\n"
        "say('signals', repr({k: int(lines[k], 16) for k in ('SigBlk', 'SigIgn')}))\n"
        "say('files', repr(sorted(int(f) for f in os.listdir('/proc/self/fd'))))\n"
        "say('session', str(os.getsid(0) == os.getpid()))\n"
    )
    replica.write_app(lines)
    replica.start(before=("env", "--ignore-signal=INT,HUP,USR1", "--block-signal=USR2,TERM"))
    replica.wait()
    ignored_by_python = (1 << signal.SIGPIPE - 1) | (1 << signal.SIGXFSZ - 1)
    assert replica.said("signals") == repr({"SigBlk": 0, "SigIgn": ignored_by_python})
    assert replica.said("files") == "[0, 1, 2, 3]"  # the last is the listing itself
    assert replica.said("session") == "True"


BAD_PLANS: dict[str, dict[str, object]] = {
    "missing": {"port": None},
    "missing-path": {"health_path": None},
    "version": {"version": 2},
    "unknown": {"colour": "blue"},
    "port-0": {"port": 0},
    "port-high": {"health_port": 65536},
    "word": {"deadline_ms": "soon"},
    "negative": {"grace_ms": -1},
    "empty": {"startup_ms": ""},
    "blank": {"startup_ms": " 1"},
    "huge": {"deadline_ms": 10**20},
    "no-deadline": {"deadline_ms": 0},
    "bool": {"health_enabled": 2},
    "signal": {"stop_signal": 65},
    "path-relative": {"health_path": "health"},
    "path-blank": {"health_path": "/a b"},
    "path-lines": {"health_path": "/a\rX: y"},
    "path-long": {"health_path": "/" + "a" * 3000},
}


@pytest.mark.parametrize("changes", BAD_PLANS.values(), ids=BAD_PLANS)
def test_a_plan_that_is_not_understood_starts_nothing(
    replica: Replica, changes: dict[str, object]
) -> None:
    assert replica.run("say('ran')", **changes) == 125
    assert replica.names() == ["error"]
    assert replica.values("error") == {"what": "plan", "errno": "22"}
    assert not (replica.home / "ran").exists()
    assert (replica.spool / "started").exists()


@pytest.mark.parametrize(
    "spoil", [lambda t: t + "port 80\n", lambda t: t[:-1], lambda t: t + "\n", lambda t: t + "x\n"]
)
def test_a_plan_of_another_form_starts_nothing(
    replica: Replica, spoil: Callable[[str], str]
) -> None:
    replica.write_app("say('ran')")
    plan = replica.spool / "plan"
    plan.write_text(spoil(plan.read_text()))
    replica.start()
    assert replica.wait() == 125
    assert replica.values("error") == {"what": "plan", "errno": "22"}


@pytest.mark.parametrize(
    "name, content, errno",
    [
        ("plan", None, 2),
        ("argv", None, 2),
        ("request", None, 2),
        ("request", b"", 61),
        ("argv", b"/bin/true", 22),
        ("argv", b"x" * (1024 * 1024) + b"\0", 7),
        ("argv", b"\0" * 70_000, 7),
        ("plan", b"x" * 100_000, 27),
    ],
)
def test_what_can_not_be_read_starts_nothing(
    replica: Replica, name: str, content: bytes | None, errno: int
) -> None:
    replica.write_app("say('ran')")
    (replica.spool / name).unlink()
    if content is not None:
        (replica.spool / name).write_bytes(content)
    replica.start()
    assert replica.wait() == 125
    assert replica.values("error") == {"what": name, "errno": str(errno)}
    assert name in replica.log()
    assert not (replica.home / "ran").exists()


def test_a_long_command_is_fine(replica: Replica) -> None:
    words = ["x" * 1000] * 500
    replica.write_command("/bin/sh", "-c", 'echo $# > count; exit "$(($# % 100))"', "sh", *words)
    replica.start()
    assert replica.wait() == 0
    assert replica.said("count").strip() == "500"
