"""What a running replica prints is told to the ledger while somebody follows, and only then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from app.domain.job import Reason, State
from app.domain.log import Piece, Stream, pieces_of
from app.ledger.live import WHOLE_BYTES, Place
from tests.workers.rig import Background, Rig, Usher, runs
from workers.engine import EngineUnavailable
from workers.heartbeat import FOLLOWED_SECONDS, Heartbeat
from workers.relay import FEW_PIECES, REST_SECONDS, Relay
from workers.site import Site


def prints(usher: Usher) -> None:
    """A job that runs on and has printed something."""
    usher.engine.write(usher.name, b"one\ntwo\n")
    runs(usher)


class Followed:
    """A supervised job, and the worker's threads that follow it, step by step."""

    def __init__(self, rig: Rig, **settings: int) -> None:
        self.rig = rig
        rig.script = prints
        rig.submit()
        self.site: Site = rig.site(**settings)
        self.task: Background = rig.supervising(site=self.site)
        rig.until_state(State.RUNNING)
        self.heartbeat, self.relay = Heartbeat(self.site), Relay(self.site)
        self.now = time.monotonic()  # stands still: however slow this is, no time goes by
        rig.engine.calls.clear()

    def step(self) -> None:
        """A beat, and what follows from it."""
        self.heartbeat.beat(0)
        self.relay.step(self.now)

    def rests(self) -> None:
        """The time goes by in which it asks for nothing after a refusal."""
        self.now += REST_SECONDS

    def told(self) -> list[bytes]:
        """What somebody who follows from the beginning is told; this keeps it wanted."""
        return [piece.text for piece in self.pieces()]

    def pieces(self) -> list[Piece]:
        return [*pieces_of(self.rig.ledger.live.follow(self.rig.uid, "j1", Place()).batches)]

    def ends(self) -> None:
        self.rig.usher().finish()
        self.task.answer()


def test_nobody_follows_and_the_engine_is_not_asked(rig: Rig) -> None:
    followed = Followed(rig)
    followed.step()
    assert "logs" not in rig.engine.calls
    followed.ends()
    assert not rig.ledger.client.keys("onejob:*:live")


def test_what_was_printed_so_far_is_told_and_then_what_comes(rig: Rig) -> None:
    followed = Followed(rig)
    assert followed.told() == []
    followed.step()
    assert followed.told() == [b"one\n", b"two\n"]
    rig.engine.write(rig.replica(), b"three\n")
    followed.step()
    followed.step()
    assert followed.told() == [b"one\n", b"two\n", b"three\n"]
    followed.ends()


def test_one_that_printed_nothing_is_told_as_such(rig: Rig) -> None:
    followed = Followed(rig)
    rig.engine.forget_output(rig.replica())
    followed.told()
    followed.step()
    news = rig.ledger.live.follow(rig.uid, "j1", Place())
    assert (news.place.attempt, list(pieces_of(news.batches))) == ("1", [])
    followed.ends()


def test_one_that_is_being_cancelled_is_followed_on(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    rig.ledger.jobs.cancel(rig.uid, "j1", Reason.CANCELLED, "on request")
    (attention,) = followed.site.roster.all()
    before = time.monotonic()
    followed.heartbeat.beat(0)
    assert attention.cancel == Reason.CANCELLED
    assert attention.followed_until > before
    followed.task.answer()


def test_once_nobody_asks_any_more_it_stops(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    followed.step()
    rig.ledger.client.unlink("onejob:due:followed")  # time goes by
    followed.heartbeat.beat(0)
    rig.engine.calls.clear()
    followed.relay.step(time.monotonic() + FOLLOWED_SECONDS)
    assert "logs" not in rig.engine.calls
    followed.ends()


def test_after_a_pause_all_is_told_anew(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    followed.step()
    followed.relay.step(time.monotonic() + FOLLOWED_SECONDS)
    (live,) = rig.ledger.client.keys("onejob:*:live")
    rig.ledger.client.unlink(live)
    followed.told()
    followed.step()
    assert followed.told() == [b"one\n", b"two\n"]
    followed.ends()


def test_the_bound_of_logs_holds(rig: Rig) -> None:
    followed = Followed(rig, log_limit_bytes=30)
    followed.told()
    followed.step()
    assert followed.told() == [b"two\n"]
    followed.ends()


def test_after_each_look_it_says_so_whether_there_was_news_or_not(rig: Rig) -> None:
    followed = Followed(rig)

    def behind() -> float | None:
        (word,) = rig.ledger.live.want(rig.uid, ["j1"])
        assert word is not None
        return word.behind

    assert behind() is None
    followed.step()
    first = behind()
    assert first is not None
    followed.step()
    second = rig.ledger.client.hget(live_of(rig), "looked")
    followed.step()
    assert rig.ledger.client.hget(live_of(rig), "looked") > second
    followed.ends()


def live_of(rig: Rig) -> bytes:
    """The key of what was told."""
    (key,) = rig.ledger.client.keys("onejob:*:live")
    return key


def test_a_burst_between_two_looks_is_told_in_full(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    followed.step()
    texts = [b"%d\n" % n for n in range(2 * FEW_PIECES)]
    rig.engine.write(rig.replica(), b"".join(texts))
    followed.step()
    assert followed.told() == [b"one\n", b"two\n", *texts]
    followed.ends()


def test_one_that_prints_nothing_is_told_once(rig: Rig) -> None:
    followed = Followed(rig)
    rig.engine.forget_output(rig.replica())
    followed.told()
    for _ in range(3):
        followed.step()
    assert rig.ledger.client.hget(live_of(rig), "telling") == b"1"
    rig.engine.write(rig.replica(), b"at last\n")
    followed.step()
    assert followed.told() == [b"at last\n"]
    followed.ends()


def test_who_wants_what_is_printed_and_does_not_say_how_much_wants_all(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    rig.ledger.client.hdel(live_of(rig), "wished")  # as an API of an earlier version
    followed.step()
    assert followed.told() == [b"one\n", b"two\n"]
    followed.ends()


def test_what_a_full_redis_refused_is_told_later(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    followed.step()
    rig.engine.write(rig.replica(), b"three\n")
    before = rig.ledger.client.hgetall(live_of(rig))
    with full(rig.ledger.client):
        for _ in range(3):
            followed.step()
        assert rig.ledger.client.hgetall(live_of(rig)) == before
        assert followed.told() == [b"one\n", b"two\n"]
    followed.rests()
    followed.step()
    assert followed.told() == [b"one\n", b"two\n", b"three\n"]
    followed.ends()


def test_after_a_refusal_the_engine_has_a_rest(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    followed.step()
    rig.engine.write(rig.replica(), b"three\n")
    rig.engine.calls.clear()
    with full(rig.ledger.client):
        for _ in range(5):
            followed.step()
        assert rig.engine.calls.count("logs") == 1
        followed.rests()
        followed.step()
        assert rig.engine.calls.count("logs") == 2
    followed.ends()


def test_a_full_redis_hears_that_there_is_nothing_so_far(rig: Rig) -> None:
    followed = Followed(rig)
    rig.engine.forget_output(rig.replica())
    with full(rig.ledger.client):
        followed.told()
        followed.step()
        assert rig.ledger.client.hget(live_of(rig), "looked")
    followed.ends()


def test_a_full_redis_hears_that_there_is_no_news(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    followed.step()
    looked = rig.ledger.client.hget(live_of(rig), "looked")
    with full(rig.ledger.client):
        followed.step()
        assert rig.ledger.client.hget(live_of(rig), "looked") > looked
    followed.ends()


@contextmanager
def full(client: redis.Redis) -> Iterator[None]:
    """In the block Redis has no room."""
    client.config_set("maxmemory", "1")
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


def test_no_more_is_told_than_is_wanted(rig: Rig) -> None:
    followed, live = Followed(rig), rig.ledger.live
    size = len(Piece(0, Stream.STDOUT, b"two\n").stored())

    def ask(most: int) -> bytes:
        live.want(rig.uid, ["j1"], most)
        followed.step()
        return live.recent(rig.uid, "j1", 1, WHOLE_BYTES)[1]

    assert texts(ask(size)) == [b"two\n"]
    rig.engine.write(rig.replica(), b"3333\n444\n")
    told = ask(size)
    assert texts(told) == [b"two\n", b"444\n"]
    assert ask(size - 1) == told  # there is more than that
    assert live.follow(rig.uid, "j1", Place()).batches == []  # for who wants all it has a gap
    followed.step()
    everything = [b"one\n", b"two\n", b"3333\n", b"444\n"]
    assert followed.told() == texts(ask(size)) == everything
    followed.ends()


def texts(stored: bytes) -> list[bytes]:
    return [piece.text for piece in pieces_of([stored])]


def test_a_part_that_is_told_has_its_last_bytes_whatever_comes(rig: Rig) -> None:
    followed, live = Followed(rig), rig.ledger.live
    lines = [b"%06d\n" % n for n in range(20)]
    most = 5 * len(Piece(0, Stream.STDOUT, lines[0]).stored()) + 1  # and the end of one that is cut
    for n, line in enumerate(lines):
        rig.engine.write(rig.replica(), line)
        live.want(rig.uid, ["j1"], most)
        followed.step()
        if n >= 4:
            assert texts(live.recent(rig.uid, "j1", 1, most)[1]) == lines[n - 4 : n + 1]
    kept = live.recent(rig.uid, "j1", 1, WHOLE_BYTES)[1]
    assert len(kept) <= 2 * most
    followed.ends()


def test_where_no_log_is_kept_none_is_told(rig: Rig) -> None:
    followed = Followed(rig, log_limit_bytes=0)
    followed.told()
    followed.step()
    (word,) = rig.ledger.live.want(rig.uid, ["j1"])
    assert word is not None and word.behind is not None  # nobody waits for it in vain
    assert followed.told() == []
    assert "logs" not in rig.engine.calls
    followed.ends()


def test_an_engine_that_does_not_answer_costs_the_job_nothing(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    rig.engine.fail("logs", EngineUnavailable("no answer"))
    with pytest.raises(EngineUnavailable):
        followed.step()
    followed.step()
    assert followed.told() == [b"one\n", b"two\n"]
    followed.ends()
    assert rig.fate() == ("succeeded", "exit_0")


def test_who_was_replaced_tells_nothing(rig: Rig) -> None:
    followed = Followed(rig)
    followed.told()
    followed.heartbeat.beat(0)
    rig.lapse()
    second = rig.supervising()
    rig.until(lambda: rig.job().fence == 2)
    followed.relay.step(followed.now)
    assert followed.told() == []
    rig.usher().finish()
    followed.heartbeat.beat(0)
    followed.task.answer()
    second.answer()
