"""What a replica printed is kept with its job, before its container goes."""

import time

import pytest

from app.domain.job import State
from app.domain.log import HEAD_BYTES, Piece, Stream, pieces_of
from app.ledger.attempts import Grip, Stale
from app.ledger.payloads import CHUNK_BYTES, UPLOAD_SECONDS
from tests.workers.rig import Rig, Usher, works
from workers.engine import EngineTrouble, EngineUnavailable

PRINTED = b"loading\n\xff\n42 of 100\n"


def prints(usher: Usher) -> None:
    """A job that goes well, and has printed something."""
    usher.engine.write(usher.name, PRINTED)
    works(usher)


def crashes(usher: Usher) -> None:
    """A job that ends before its request, with words."""
    usher.start()
    usher.engine.write(usher.name, b"no such file: model.bin\n")
    usher.exit(1)


def pieces(rig: Rig) -> list[Piece]:
    """The stored log."""
    token = rig.job().log
    return [] if token is None else [*pieces_of(rig.ledger.payloads.read(token)[1])]


def log_of(rig: Rig) -> bytes:
    """The stored log as it was printed."""
    return b"".join(piece.text for piece in pieces(rig))


def stored_size(text: bytes) -> int:
    """What a log costs in Redis."""
    return len(text) + HEAD_BYTES * text.count(b"\n")


def test_the_log_of_a_job_that_went_well_is_kept_byte_for_byte(rig: Rig) -> None:
    rig.script = prints
    rig.submit()
    rig.supervise()
    assert log_of(rig) == PRINTED
    assert (rig.job().log_size, rig.job().log_cut) == (len(PRINTED), False)
    rig.check_nothing_left()


def test_the_last_line_of_one_that_failed_is_in_its_sentence_too(rig: Rig) -> None:
    rig.script = crashes
    rig.submit()
    rig.supervise()
    assert (rig.job().detail or "").endswith("last log line: no such file: model.bin")
    assert log_of(rig) == b"no such file: model.bin\n"


def test_of_a_long_log_the_last_part_is_kept(rig: Rig) -> None:
    rig.script = prints
    rig.submit()
    rig.supervise(site=rig.site(log_limit_bytes=10 + HEAD_BYTES))
    assert log_of(rig) == PRINTED[-10:]
    assert rig.job().log_cut


def test_of_the_first_line_that_has_no_room_its_end_is_kept(rig: Rig) -> None:
    rig.script = prints
    rig.submit()
    rig.supervise(site=rig.site(log_limit_bytes=4 + HEAD_BYTES))
    assert log_of(rig) == PRINTED[-4:]
    assert rig.job().log_cut


def test_a_log_tells_streams_and_instants(rig: Rig) -> None:
    def prints_twice(usher: Usher) -> None:
        usher.engine.write(usher.name, b"out\n")
        usher.engine.write(usher.name, b"err", Stream.STDERR)
        works(usher)

    rig.script, before = prints_twice, time.time_ns()
    rig.submit()
    rig.supervise()
    first, second = pieces(rig)
    assert [(p.stream, p.text) for p in (first, second)] == [
        ("stdout", b"out\n"),
        ("stderr", b"err"),
    ]
    assert before < first.at < second.at < time.time_ns()


def test_a_log_of_just_the_bound_is_not_cut(rig: Rig) -> None:
    rig.script = prints
    rig.submit()
    rig.supervise(site=rig.site(log_limit_bytes=stored_size(PRINTED)))
    assert (log_of(rig), rig.job().log_cut) == (PRINTED, False)


def test_a_bound_of_nothing_keeps_none_and_asks_for_none(rig: Rig) -> None:
    rig.script = prints
    rig.submit()
    rig.supervise(site=rig.site(log_limit_bytes=0))
    assert rig.job().log is None
    assert "logs" not in rig.engine.calls


def test_a_log_that_the_engine_can_not_give_costs_no_slot(rig: Rig) -> None:
    rig.script = prints
    rig.engine.fail("logs", EngineTrouble("its file is broken"))
    rig.submit()
    rig.supervise()
    assert rig.job().log is None
    rig.check_nothing_left()


def test_a_full_redis_costs_the_log_and_no_slot(rig: Rig) -> None:
    def fill(passed: str) -> None:
        if passed == "before engine.logs":
            rig.ledger.client.config_set("maxmemory", "1")

    rig.script = prints
    rig.submit()
    try:
        rig.supervise(site=rig.site(fill))
    finally:
        rig.ledger.client.config_set("maxmemory", "0")
    assert rig.job().log is None
    assert not rig.ledger.client.keys("onejob:payload:l-*")
    rig.check_nothing_left()


def test_a_short_log_is_stored_and_kept_in_one_call(rig: Rig) -> None:
    passed: list[str] = []
    rig.script = prints
    rig.submit()
    rig.supervise(site=rig.site(passed.append))
    after = passed[passed.index("after engine.logs") : passed.index("before engine.remove")]
    assert [point for point in after if point.startswith("before")] == [
        "before payloads.upload",  # which stores nothing yet
        "before attempts.keep_log",
    ]
    assert rig.ledger.client.ttl(f"onejob:payload:{rig.job().log}") > UPLOAD_SECONDS


def test_a_log_of_more_than_a_chunk_is_kept_whole(rig: Rig) -> None:
    long = b"a line of a long log\n" * 60_000

    def prints_much(usher: Usher) -> None:
        usher.engine.write(usher.name, long)
        works(usher)

    rig.script = prints_much
    rig.submit()
    rig.supervise(site=rig.site(log_limit_bytes=3 * CHUNK_BYTES))
    assert log_of(rig) == long
    assert rig.job().log_size == len(long) > CHUNK_BYTES


def test_a_job_that_never_had_a_container_has_no_log(rig: Rig) -> None:
    rig.submit()
    rig.engine.images.clear()
    rig.supervise()
    assert rig.job().state is State.FAILED
    assert rig.job().log is None


def test_a_log_goes_with_its_job(rig: Rig) -> None:
    rig.script = prints
    rig.submit()
    rig.supervise()
    token = rig.job().log
    rig.ledger.deployments.terminate("dep")
    while rig.ledger.deployments.shrink(rig.uid) != "gone":
        pass
    assert not rig.ledger.client.exists(f"onejob:payload:{token}")


def test_who_was_replaced_keeps_no_log(rig: Rig) -> None:
    rig.script = prints
    rig.submit()
    rig.supervise()
    late = Grip(rig.uid, "j1", 1, rig.job().fence - 1)
    with pytest.raises(Stale):
        rig.ledger.attempts.keep_log(late, rig.ledger.payloads.upload(b""), 0, False)
    assert log_of(rig) == PRINTED


def test_an_engine_that_does_not_answer_for_the_log_is_asked_a_few_times_only(rig: Rig) -> None:
    rig.script = prints
    rig.engine.fail("logs", EngineUnavailable("no answer"), times=9)
    rig.submit()
    rig.supervise()
    assert rig.engine.calls.count("logs") == 3
    assert rig.job().log is None
    rig.check_nothing_left()
