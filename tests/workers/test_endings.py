"""How a job ends: one outcome for each ending, told in its record."""

from collections.abc import Callable

import pytest

from app.domain.job import State
from tests.workers.rig import BODY, HEAD, Rig, Usher, runs, works
from workers.engine import ImageDenied, ImageError, ImageNotFound, ImagePullFailed, StartRefused
from workers.heartbeat import Heartbeat

Script = Callable[[Usher], None]


def ends(*steps: Script) -> Script:
    def script(usher: Usher) -> None:
        usher.start()
        for step in steps:
            step(usher)

    return script


def send(usher: Usher) -> None:
    usher.send()


def answer(usher: Usher) -> None:
    usher.respond()


def tell(words: str) -> Script:
    return lambda usher: usher.tell(words)


def leave(code: int, words: str = "oom_kills=0") -> Script:
    return lambda usher: usher.exit(code, words)


def signalled(number: int, words: str = "oom_kills=0") -> Script:
    return lambda usher: usher.signalled(number, words)


ENDINGS = {
    "exit 0 with a response": (ends(send, answer, leave(0)), "succeeded", "exit_0"),
    "exit 0 without one": (
        ends(send, tell("response_failed why=closed"), leave(0)),
        "succeeded",
        "exit_0",
    ),
    "exit 1": (ends(send, answer, leave(1)), "failed", "exit_nonzero"),
    "a signal": (ends(send, signalled(11)), "failed", "signalled"),
    "a crash before health": (ends(leave(3)), "failed", "exited_before_request"),
    "the deadline": (
        ends(send, tell("stopping why=deadline health=healthy"), signalled(9)),
        "timed_out",
        "deadline",
    ),
    "never answered": (
        ends(tell("stopping why=startup health=none"), signalled(15)),
        "failed",
        "startup_timeout",
    ),
    "never healthy": (
        ends(tell("stopping why=startup health=unhealthy"), signalled(15)),
        "failed",
        "never_healthy",
    ),
    "out of memory": (
        ends(send, signalled(9, "oom_kills=2 memory_peak=1048576")),
        "failed",
        "oom_killed",
    ),
    "no such command": (
        ends(tell("exec_failed errno=2"), leave(127)),
        "failed",
        "command_not_found",
    ),
    "a response over the limit": (
        ends(send, tell("response_failed why=too_large"), leave(0)),
        "failed",
        "response_too_large",
    ),
    "no HTTP": (
        ends(send, tell("response_failed why=malformed"), leave(0)),
        "failed",
        "response_invalid",
    ),
    "a response cut short": (
        ends(send, tell("response_failed why=truncated"), leave(0)),
        "failed",
        "response_invalid",
    ),
    "stopped from outside": (
        ends(send, tell("stopping why=signal health=healthy"), signalled(15)),
        "failed",
        "signalled",
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_each_ending_has_its_outcome(rig: Rig, name: str) -> None:
    rig.script, state, reason = ENDINGS[name]
    rig.submit()
    done = rig.supervise()
    assert rig.fate() == (state, reason)
    assert done is not None
    job = rig.job()
    assert (done.state, done.reason, done.detail) == (job.state, job.reason, job.detail)
    assert job.detail
    rig.check_nothing_left()


def test_a_replica_that_was_killed_from_outside_is_found_by_the_listing(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    site = rig.site()
    task = rig.supervising(site=site)
    rig.until_state(State.RUNNING)
    rig.engine.exit(rig.replica(), 137)  # and its usher could not say a word
    Heartbeat(site).list(0)
    task.answer()
    assert rig.fate() == ("failed", "signalled")
    rig.check_nothing_left()


def test_the_response_is_kept_byte_for_byte(rig: Rig) -> None:
    rig.submit()
    rig.supervise()
    assert rig.result() == (HEAD, BODY)
    job = rig.job()
    assert (job.response_status, job.response_size, job.exit_code) == (200, len(BODY), 0)


def test_a_response_of_500_is_kept_though_the_process_fails(rig: Rig) -> None:
    head = b"HTTP/1.1 500 Oops\r\n\r\n"
    rig.script = ends(send, lambda usher: usher.respond(head, b"why"), leave(1))
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "exit_nonzero")
    assert rig.result() == (head, b"why")
    assert rig.job().response_status == 500


def test_an_app_that_talks_to_the_caller_itself_leaves_no_result(rig: Rig) -> None:
    rig.submit(prefer="respond-async-proxy")
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    assert rig.result() is None


@pytest.mark.parametrize("head", [b"", b"no HTTP\r\n\r\n"])
def test_a_forged_response_is_no_result(rig: Rig, head: bytes) -> None:
    rig.script = ends(send, lambda usher: usher.respond(head), leave(0))
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "response_invalid")
    assert rig.result() is None


def test_a_response_that_grew_over_the_limit_is_no_result(rig: Rig) -> None:
    rig.submit()
    rig.supervise(site=rig.site(response_limit_bytes=len(BODY) - 1))
    assert rig.fate() == ("failed", "response_invalid")


def test_memory_that_ran_out_is_told_with_peak_and_limit(rig: Rig) -> None:
    rig.script = ends(send, signalled(9, "oom_kills=1 memory_peak=1048576"))
    rig.submit()
    rig.supervise()
    job = rig.job()
    assert job.oom_killed
    assert job.exit_code == 137
    assert "peak 1 MiB, limit 2048 MiB" in (job.detail or "")


def test_what_the_app_printed_last_is_told(rig: Rig) -> None:
    def prints(usher: Usher) -> None:
        runs(usher)
        usher.engine.write(usher.name, b"first\nValueError: no \xff such\n\n")
        usher.exit(1)

    rig.script = prints
    rig.submit()
    rig.supervise()
    assert (rig.job().detail or "").endswith("last log line: ValueError: no \ufffd such")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImageNotFound("no such image"), "image_not_found"),
        (ImageDenied("access denied"), "image_denied"),
        (ImagePullFailed("the registry broke"), "image_pull_failed"),
    ],
)
def test_an_image_that_does_not_come_ends_the_job(rig: Rig, error: ImageError, reason: str) -> None:
    rig.engine.fail("image", error)
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", reason)
    assert str(error) in (rig.job().detail or "")
    assert not rig.engine.made
    rig.check_nothing_left()


def test_an_image_that_went_before_the_take_over_ends_the_job(rig: Rig) -> None:
    rig.submit()
    rig.killed_at("after spool.prepare")
    rig.engine.images.clear()
    rig.lapse()
    rig.supervise()
    assert rig.fate() == ("failed", "image_not_found")
    rig.check_nothing_left()


@pytest.mark.parametrize("verb", ["create", "start"])
def test_a_refused_start_ends_the_job(rig: Rig, verb: str) -> None:
    rig.engine.fail(verb, StartRefused("bad mount"))
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "start_failed")
    assert "bad mount" in (rig.job().detail or "")
    rig.check_nothing_left()


def test_works_once_more(rig: Rig) -> None:
    rig.script = works
    for number in range(3):
        rig.submit(f"j{number}")
        rig.supervise(f"j{number}")
    assert [rig.fate(f"j{n}") for n in range(3)] == [("succeeded", "exit_0")] * 3
