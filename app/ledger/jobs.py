"""Jobs: one method per verb. Every verb is one script, so it happens whole or not at all.

Verbs that free a slot return the hints of the jobs that got it; the caller publishes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import redis

from app.domain.errors import Conflict, NotFound, RateLimited, ServiceUnavailable
from app.domain.job import Hint, Job, JobPage, JobSummary, JobView, Reason, State, TimelineEntry
from app.ledger import keys, records
from app.ledger.deployments import DeploymentRecord
from app.ledger.guesses import Guess, Outdated
from app.ledger.payloads import Upload
from app.ledger.verbs import Verbs

PAGE_STEP = 200  # jobs that one script reads: a longer one would hold up all other clients


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client asks for, beside the payload."""

    method: str
    target: str  # raw path and query behind the deployment's name
    digest: str  # of method, target and body
    prefer: str | None
    queue_limit: int  # jobs that may wait in the deployment's queue
    record_retention_seconds: int
    result_retention_seconds: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a submission that was accepted, now or before."""

    repeated: bool
    hints: list[Hint]


class Jobs:
    """The jobs of all deployments."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._client = client
        self._verbs = verbs

    def accept(
        self,
        deployment: DeploymentRecord,
        job_id: str,
        submission: Submission,
        upload: Upload,
        guess: Guess | None = None,
    ) -> Accepted:
        """Binds the id, stores the record, queues the job and admits it, in one round trip.

        Raises Conflict (the id is another request's; the deployment is being deleted),
        RateLimited (its queue is full), NotFound (it is gone), ServiceUnavailable (a part of
        the upload was dropped before it was whole). Raises Outdated if the `guess` is not true:
        nothing was done, and the upload can be accepted after another look.
        """
        args = _accept_args(deployment, job_id, submission, upload)
        verdict, *rest = self._verbs("accept", *args, *_guess_args(guess))
        if guess is not None and verdict in (b"outdated", b"missing"):
            raise Outdated
        if verdict != b"accepted":
            upload.discard()
        if verdict not in (b"accepted", b"repeated"):
            raise _refusal(verdict, deployment.name, job_id, rest)
        return Accepted(verdict == b"repeated", records.admitted(deployment.uid, rest[0]))

    def get(self, uid: str, job_id: str) -> Job:
        """One job's record; NotFound if there is none."""
        raw: Any = self._client.hgetall(keys.job(uid, job_id))
        return _job(raw, job_id)

    def view(self, uid: str, job_id: str) -> JobView:
        """One job with its place in the queue and its timeline, at one instant."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.job(uid, job_id))
            pipe.zrank(keys.queue(uid), job_id)
            pipe.lrange(keys.timeline(uid, job_id), 0, -1)
            pipe.lrange(keys.attempts(uid, job_id), 0, -1)
            raw, rank, timeline, earlier = pipe.execute()
        position = None if rank is None else rank + 1
        return JobView(
            _job(raw, job_id), position, records.timeline(timeline), records.earlier(earlier)
        )

    def timelines(self, uid: str, job_ids: Sequence[str]) -> list[list[TimelineEntry]]:
        """The timelines of some jobs of a deployment; [] of one that is gone. One round trip."""
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.lrange(keys.timeline(uid, job_id), 0, -1)
            return [records.timeline(raw) for raw in pipe.execute()]

    def over(self, jobs: Sequence[tuple[str, str]]) -> list[bool]:
        """Of jobs by uid and id: whether each is over, or gone. One round trip."""
        states = self._verbs("states", *(part for job in jobs for part in job))
        return [state is None or State(records.text(state)).final for state in states]

    def page(
        self, uid: str, limit: int, place: str | None = None, states: Iterable[State] = ()
    ) -> JobPage:
        """The newest jobs of a deployment behind a place, all or those in some states.

        A place is what the page before says; it stays good whatever comes and goes. A round trip
        for each PAGE_STEP of them.
        """
        wanted, found = list(dict.fromkeys(states)), list[JobSummary]()
        while True:
            step = self._step(uid, min(limit - len(found), PAGE_STEP), place, wanted)
            found, place = found + step.jobs, step.place
            if place is None or len(found) == limit:
                return JobPage(found, place)

    def _step(self, uid: str, limit: int, place: str | None, wanted: Sequence[State]) -> JobPage:
        names = (field.name for field in fields(JobSummary))
        args: tuple[str | int, ...] = (limit, place or "", len(wanted), *wanted, *names)
        next_place, *raw = self._verbs("list_jobs", uid, *args)
        jobs = [records.summary(records.pairs(flat)) for flat in raw]
        return JobPage(jobs, records.text(next_place) or None)

    def cancel(self, uid: str, job_id: str, reason: Reason, detail: str) -> list[Hint]:
        """Cancels a job that has no container, flags one that may have; NotFound if unknown."""
        verdict, flat = self._verbs("cancel", uid, job_id, reason, detail)
        if verdict == b"missing":
            raise NotFound(f"no job {job_id!r}")
        return records.admitted(uid, flat)

    def purge(self, uid: str, limit: int = 500) -> list[Hint]:
        """Cancels every job that waits at this moment. Returns the hints of those that got a slot.

        What is accepted meanwhile is not meant, so that it comes to an end.
        """
        hints, last, cursor = list[Hint](), "", ""
        while cursor != "0":
            raw_last, raw_cursor, flat = self._verbs("purge", uid, limit, last, cursor)
            last, cursor = records.text(raw_last), records.text(raw_cursor)
            hints += records.admitted(uid, flat)
        return hints

    def expire(self, uid: str, job_id: str) -> list[Hint]:
        """Ends one waiting job if its TTL ran out."""
        return records.hints(self._verbs("expire", 1, f"{uid}/{job_id}")[1])

    def expire_due(self, limit: int = 100) -> tuple[bool, list[Hint]]:
        """Ends waiting jobs whose TTL ran out; says whether there may be more.

        Goes on with admissions that stopped at their bound, too.
        """
        more, flat = self._verbs("expire", limit, "")
        return bool(more), records.hints(flat)

    def forget_due(self, limit: int = 100) -> bool:
        """Deletes records whose retention is over; says whether there may be more."""
        return bool(self._verbs("forget_due", limit) == limit)

    def admit(self, uid: str) -> list[Hint]:
        """Gives a deployment's free slots to the jobs that wait longest, 100 in a call.

        The rest of a longer admission is `expire_due`'s.
        """
        return records.admitted(uid, self._verbs("admit", uid))

    def due_hints(self, compute: str, queue: str, seconds: float, limit: int = 100) -> list[Hint]:
        """Dispatched jobs whose message seems lost (see the script's flood rule)."""
        return records.hints(self._verbs("due_hints", compute, queue, seconds, limit))


def id_taken(name: str, job_id: str) -> Conflict:
    """The refusal of a request whose id was another one's."""
    return Conflict(f"X-Inference-Id {job_id!r} was used for another request to {name!r}")


def _accept_args(
    deployment: DeploymentRecord, job_id: str, submission: Submission, upload: Upload
) -> tuple[str | bytes | int, ...]:
    return (
        deployment.uid,
        job_id,
        submission.digest,
        submission.method,
        submission.target,
        upload.token,
        upload.size,
        upload.chunks,
        submission.prefer or "",
        deployment.spec.scaling.queue_message_ttl_seconds,
        submission.queue_limit,
        submission.record_retention_seconds,
        submission.result_retention_seconds,
        upload.head,
        upload.tail,
    )


def _guess_args(guess: Guess | None) -> tuple[str | bytes | int, ...]:
    return (guess.key_id, guess.entry, guess.deployment.version) if guess else ("", "", "")


def _refusal(verdict: bytes, name: str, job_id: str, rest: list[Any]) -> Exception:
    if verdict == b"conflict":
        return id_taken(name, job_id)
    if verdict == b"terminating":
        return Conflict(f"deployment {name!r} is being deleted and takes no more jobs")
    if verdict == b"full":
        return RateLimited(f"{rest[0]} jobs wait in the queue of {name!r}: it is full", 5)
    if verdict == b"unstored":
        return ServiceUnavailable("the request's body was not stored in time; send it again")
    return NotFound(f"no deployment {name!r}")


def _job(raw: Mapping[bytes, bytes], job_id: str) -> Job:
    if not raw:
        raise NotFound(f"no job {job_id!r}")
    return records.job(raw)
