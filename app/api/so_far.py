"""What running replicas printed so far: their workers tell it to the ledger, once somebody asks.

An answer has all that was printed until two seconds before it, of each replica whose worker looks
in time; of the others it has what was told before. The same is served of a job that has ended, for
the moment until its log is kept.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from app.api.services import services
from app.domain.job import Job, JobSummary, State
from app.domain.log import Piece, Progress, pieces_of
from app.ledger.live import WHOLE_BYTES, Place, Word

FRESH_SECONDS = 1.5  # since the last look; the rest of the two is for reading and sending
POLL_SECONDS = 0.1
# Bytes that are told and read of many replicas together, and of one: an answer of Redis holds up
# others.
ALL_BYTES, ONE_BYTES = 4 * 1024 * 1024, 1024 * 1024

Take = Callable[[list[Word | None], bool], bool]


@dataclass(frozen=True, slots=True)
class SoFar:
    """What some jobs printed."""

    jobs: list[JobSummary] = field(default_factory=list)  # as they are now
    told: dict[str, bytes] = field(default_factory=dict)  # of those without a log: the stored form


def of(job: Job) -> list[Piece] | None:
    """What a running job printed up to now; None if nobody can say."""
    seen: list[Word | None] = []

    def take(words: list[Word | None], last: bool) -> bool:
        seen[:] = words
        return last or not any(map(_may_come, words))

    _ask(job.uid, [job.id], WHOLE_BYTES, take)
    (word,) = seen
    if word is None or not word.started:
        return None
    live, place, found, more = services().ledger.live, Place(), list[bytes](), True
    while more:
        news = live.follow(job.uid, job.id, place)
        found, place, more = found + news.batches, news.place, news.more
    # What an earlier attempt printed is not this one's.
    return Progress().news(pieces_of(found)) if place.attempt == str(word.attempt) else None


def of_many(uid: str, jobs: Sequence[JobSummary]) -> SoFar:
    """The last part of what these jobs printed up to now: they run, or have no log yet."""
    if not jobs:
        return SoFar()
    live, found, share = services().ledger.live, SoFar(), _share(len(jobs))

    def take(words: list[Word | None], last: bool) -> bool:
        if not last and any(map(_may_come, words)):
            return False
        found.jobs.clear()
        found.told.clear()
        for job, word in zip(jobs, words, strict=True):
            if word and word.log:
                found.jobs.append(_now(job, word))
            elif word and word.started and not word.torn_down:
                found.jobs.append(_now(job, word))
                whole, found.told[job.id] = live.recent(uid, job.id, word.attempt, share)
                if not (whole or last):  # it is being told anew
                    return False
        return True

    _ask(uid, [job.id for job in jobs], share, take)
    return found


def _now(job: JobSummary, word: Word) -> JobSummary:
    """A job that was listed a while ago: it may have begun again since."""
    return replace(
        job, attempt=word.attempt, replica=word.replica, log=word.log, log_size=word.log_size
    )


def _share(count: int) -> int:
    """How many bytes of each of so many; a power of two, so that it changes seldom.

    Where it grows, workers begin to tell anew.
    """
    most = min(ONE_BYTES, ALL_BYTES // count)
    return 1 << (most.bit_length() - 1)


def _may_come(word: Word | None) -> bool:
    """Whether a worker tells more of it, or keeps its log, if that is waited for."""
    if word is None or not word.started or word.torn_down or word.log:
        return False
    if word.state not in (State.STARTING, State.RUNNING):
        return word.state.final
    return word.behind is None or word.behind > FRESH_SECONDS


def _ask(uid: str, job_ids: Sequence[str], most: int, take: Take) -> None:
    """Asks for the last of what jobs print, until all is taken at once: so none of it grows old.

    `take` hears how far each is told, and whether that is the last time: workers have had their
    time, or too many wait already.
    """
    here, live = services(), services().ledger.live
    give_up = time.monotonic() + here.settings.log_wait_seconds
    with here.waiting as may_wait:
        while not take(live.want(uid, job_ids, most), not may_wait or time.monotonic() > give_up):
            time.sleep(POLL_SECONDS)  # their workers hear of it and look
