"""Ten thousand dispatched jobs behind busy machines, for ten minutes of a clock that is moved.

What the flood rule bounds: a message is published only where fewer lie in the queue than jobs wait
for a claim, and each job's at most once in the hint time. So the queue never holds more than there
are such jobs; and all that is published again is what was taken out of the queue without a claim,
by worker processes that hold it back or by a broker that lost it. Sweeps that ask at the same
instant each get what is missing, at most a hundred: the queue can be longer by that for each of
them but the first, and no more is published until it has shrunk.
"""

from typing import Any

import pytest

from app.dispatch import Publisher, compute_queue
from app.domain.job import Hint
from tests.workers.rig import Rig
from workers.sweep import Sweep

JOBS = 10_000
STEP_SECONDS = 5.0  # the hint time: at each step every hint is old again
STEPS = 120  # ten minutes
QUEUE = compute_queue("cpu")
DISPATCHED = "onejob:due:hints:cpu"
LIMIT = 100  # hints of one sweep


class Backlog:
    """The jobs, their queue, and a clock."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.client: Any = rig.ledger.client
        self.published = 0
        refs = [f"{rig.uid}/j{n}" for n in range(JOBS)]
        # As `accept` leaves them, as far as the sweep looks at it; that would take a while.
        with self.client.pipeline(transaction=False) as pipe:
            for n in range(JOBS):
                pipe.hset(f"onejob:job:{rig.uid}:j{n}", "deployment", "dep")
            pipe.execute()
        now, _ = self.client.time()
        self.client.zadd(DISPATCHED, dict.fromkeys(refs, now + STEP_SECONDS))
        self.client.rpush(QUEUE, *["a message"] * JOBS)

    def __call__(self, hints: list[Hint]) -> None:
        """A publisher that is fast."""
        self.published += len(hints)
        if hints:
            self.client.lpush(QUEUE, *["a message"] * len(hints))

    def pass_step(self) -> None:
        """What lies ahead comes nearer, as if the clock had moved; what is due stays due."""
        now, _ = self.client.time()
        ahead = self.client.zrangebyscore(DISPATCHED, now, "+inf", withscores=True)
        if ahead:
            self.client.zadd(DISPATCHED, {ref: at - STEP_SECONDS for ref, at in ahead})

    def take(self, count: int) -> None:
        """A message leaves the queue, and nobody claims anything for it."""
        self.client.rpop(QUEUE, count)

    def claim(self, count: int) -> None:
        """A worker takes messages and claims their jobs."""
        self.take(count)
        self.client.zpopmax(DISPATCHED, count)

    @property
    def lying(self) -> int:
        return int(self.client.llen(QUEUE))

    @property
    def unclaimed(self) -> int:
        return int(self.client.zcard(DISPATCHED))


@pytest.fixture
def backlog(rig: Rig) -> Backlog:
    return Backlog(rig)


def sweeps(backlog: Backlog, publisher: Any, count: int = 2) -> list[Sweep]:
    return [Sweep(backlog.rig.site(), publisher) for _ in range(count)]


def test_while_all_messages_lie_there_none_is_published(backlog: Backlog) -> None:
    two = sweeps(backlog, backlog)
    for _ in range(STEPS):
        backlog.pass_step()
        for sweep in two:
            sweep.republish()
    assert (backlog.published, backlog.lying) == (0, JOBS)


def test_what_busy_workers_hold_back_is_published_once(backlog: Backlog) -> None:
    """Two processes have taken as many messages as they have threads, and all of those wait."""
    backlog.take(2 * 100)
    publisher = Publisher(backlog.rig.url)
    two = sweeps(backlog, publisher)
    for _ in range(STEPS):
        backlog.pass_step()
        for sweep in two:
            sweep.republish()
            assert backlog.lying <= backlog.unclaimed
    assert backlog.lying == JOBS  # 200 were published, and no more in ten minutes


def test_what_is_lost_is_published_again_and_as_often_as_it_is_lost(backlog: Backlog) -> None:
    two = sweeps(backlog, backlog)
    lost = 0
    for step in range(STEPS):
        if step % 12 == 0:  # each minute
            backlog.take(150)
            lost += 150
            backlog.claim(50)
        backlog.pass_step()
        for sweep in two:
            sweep.republish()
            assert backlog.lying <= backlog.unclaimed
    assert backlog.published == lost == 1500
    assert backlog.lying == backlog.unclaimed == JOBS - 500


def test_sweeps_that_ask_at_the_same_instant_exceed_it_by_their_limit_at_most(
    backlog: Backlog,
) -> None:
    backlog.take(LIMIT)
    backlog.pass_step()
    jobs = backlog.rig.ledger.jobs
    asked = [jobs.due_hints("cpu", QUEUE, STEP_SECONDS) for _ in range(4)]
    assert len({hint.id for hints in asked for hint in hints}) == 4 * LIMIT  # none of them twice
    for hints in asked:
        backlog(hints)
    assert backlog.lying == JOBS + 3 * LIMIT
    (sweep,) = sweeps(backlog, backlog, 1)
    for _ in range(STEPS):
        backlog.pass_step()
        sweep.republish()
    assert backlog.published == 4 * LIMIT
    backlog.take(3 * LIMIT)  # that was too much, and nothing is missing yet
    backlog.pass_step()
    sweep.republish()
    assert backlog.published == 4 * LIMIT
