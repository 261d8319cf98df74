"""Attempts: what the node that holds one may write. Each verb compares who writes.

A `Grip` names an attempt and its holder by (attempt, fence). Whoever was replaced has too low a
fence: every verb then answers `False` (or raises `Stale`) and changes nothing.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from app.domain.compute import Offer
from app.domain.job import Hint, Job, Reason, State, TimelineEntry
from app.ledger import keys, records
from app.ledger.payloads import Upload
from app.ledger.verbs import Verbs

RENEW_LIMIT = 500  # leases per script: a longer one would hold up all other clients


class Stale(Exception):
    """Another holder has this attempt, or the job is over."""


@dataclass(frozen=True, slots=True)
class Grip:
    """The right to write for one attempt, as long as nobody took it over."""

    uid: str
    id: str
    attempt: int
    fence: int

    @classmethod
    def of(cls, job: Job) -> "Grip":
        """The grip that the job's record shows."""
        return cls(job.uid, job.id, job.attempt, job.fence)

    @property
    def ref(self) -> str:
        """The job's name among all deployments."""
        return f"{self.uid}/{self.id}"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a claim: a job to supervise, or none; and the jobs it let in."""

    job: Job | None
    hints: list[Hint]
    no_room: bool = False  # it waits until the node has room for it, or another one
    draining: bool = False  # the node takes no new jobs


class Attempts:
    """The attempts of all jobs, as the workers write them."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._client = client
        self._verbs = verbs

    def claim(
        self,
        uid: str,
        job_id: str,
        node: str,
        lease_seconds: float,
        offer: Offer | None = None,
        only_own: bool = False,
    ) -> Claimed:
        """Claims a dispatched job, or takes over this node's attempt if its lease has lapsed.

        A job of a compute resource that the node does not offer stays for others; one that it
        has no room for waits in line. Without an offer the node takes what comes. With `only_own`
        nothing new is claimed: a job that could be is hinted at again by the next sweep, as where
        the node is draining.
        """
        args = (uid, job_id, node, lease_seconds, secrets.token_hex(8))
        verdict, flat, *record = (
            self._verbs("give_back", uid, job_id)
            if only_own
            else self._verbs("claim", *args, offer.text if offer else "")
        )
        hints = records.admitted(uid, flat)
        if verdict == b"not_dispatched":
            _, *record = self._verbs("take_over", *args)
        job = records.job(records.pairs(record[0])) if record else None
        return Claimed(job, hints, verdict == b"no_room", verdict == b"draining")

    def fill_room(self, node: str, queue: str, offer: Offer) -> tuple[bool, list[Hint]]:
        """Whether jobs wait for room that the node offers, and those it has room for now.

        None while hints lie in its Celery queue `queue`.
        """
        waiting, flat = self._verbs("fill_room", node, queue, offer.text)
        return bool(waiting), records.hints(flat)

    def confirm(self, grip: Grip, state: State) -> Reason | None:
        """Raises Stale unless the grip and the state still hold; returns a requested cancel."""
        verdict, *rest = self._verbs("confirm", grip.uid, grip.id, state, *_numbers(grip))
        if verdict != b"holds":
            raise Stale(grip.ref)
        return Reason(records.text(rest[0])) if rest[0] else None

    def advance(
        self,
        grip: Grip,
        old: State,
        new: State,
        event: str,
        fields: Mapping[str, str | int],
        seen: Sequence[TimelineEntry] = (),
    ) -> None:
        """Moves an attempt on between starting and running. Raises Stale.

        What was `seen` before goes into the timeline, at its own instants.
        """
        args = (old, *_numbers(grip), new, event, records.told(seen), *_flat(fields))
        answer = self._verbs("transition", grip.uid, grip.id, *args)
        if answer != b"done":
            raise Stale(grip.ref)

    def note(self, grip: Grip, number: int, event: str, detail: str) -> None:
        """Notes what happens to a starting attempt; its holder counts the notes. Raises Stale."""
        args = (*_numbers(grip), number, event, detail)
        if self._verbs("note", grip.uid, grip.id, *args) != b"done":
            raise Stale(grip.ref)

    def finish(
        self,
        grip: Grip,
        state: State,
        reason: Reason,
        detail: str,
        fields: Mapping[str, str | int],
        seen: Sequence[TimelineEntry] = (),
    ) -> None:
        """Ends the attempt and the job. The slot stays taken until `release`. Raises Stale.

        What was `seen` of it goes into the timeline, at its own instants.
        """
        args = (*_numbers(grip), state, reason, detail, records.told(seen), *_flat(fields))
        answer = self._verbs("finish", grip.uid, grip.id, *args)
        if answer != b"done":
            raise Stale(grip.ref)

    def keep_log(self, grip: Grip, log: Upload, size: int, cut: bool) -> None:
        """Keeps a log with the job, which is over, and stores what of it is not stored yet.

        `size` is that of what was printed, in bytes, without its instants.
        Raises Stale, and redis.ResponseError where Redis is full.
        """
        about = (log.token, size, int(cut))
        parts = (log.chunks, log.head, log.tail)
        answer = self._verbs("keep_log", grip.uid, grip.id, *_numbers(grip), *about, *parts)
        if answer != b"done":
            raise Stale(grip.ref)

    def release(self, grip: Grip) -> list[Hint]:
        """Frees the slot of a final job whose container and spool are gone. Raises Stale."""
        return self._freeing("release", grip)

    def abandon(self, grip: Grip, reason: Reason, detail: str, counts: bool = True) -> None:
        """Gives the attempt up: once its container is gone, `requeue`. Raises Stale.

        One that does not count is made again under the same number.
        """
        answer = self._verbs(
            "abandon", grip.uid, grip.id, *_numbers(grip), reason, detail, int(counts)
        )
        if answer != b"done":
            raise Stale(grip.ref)

    def requeue(self, grip: Grip) -> list[Hint]:
        """Queues the job again whose attempt was abandoned and is gone. Raises Stale.

        A job whose cancel was asked for is cancelled instead.
        """
        return self._freeing("requeue", grip)

    def leave(self, grip: Grip, grace_seconds: float, may_run: bool, detail: str) -> list[Hint]:
        """Leaves what there is of an ended or abandoned attempt to an engine out of reach.

        Its slot stays taken while its replica `may_run`: until the replica's deadline and the grace
        are over. Raises Stale.
        """
        slots = "kept" if may_run else "freed"
        return self._freeing("leave", grip, grace_seconds, slots, detail)

    def renew(self, node: str, lease_seconds: float, grips: Sequence[Grip]) -> list[str]:
        """Renews leases; for each `held`, `followed <n>`, `lost` or the reason of a cancel.

        Such a reason has ` followed <n>` behind it where somebody follows what the attempt prints.
        `n` is how many bytes of that are wanted: its last, in the stored form.
        """
        answers: list[bytes] = []
        for start in range(0, len(grips), RENEW_LIMIT):
            some = grips[start : start + RENEW_LIMIT]
            args = [part for grip in some for part in (grip.uid, grip.id, *_numbers(grip))]
            answers += self._verbs("renew", node, lease_seconds, *args)
        return [records.text(answer) for answer in answers]

    def let_go(self, grip: Grip, node: str) -> None:
        """Lets the lease lapse at once, for the next worker of the node."""
        self._verbs("let_go", grip.uid, grip.id, node, *_numbers(grip))

    def lapsed(self, node: str, queue: str, limit: int = 100) -> list[Hint]:
        """The node's attempts that nobody supervises."""
        return records.hints(self._verbs("lapsed", node, queue, limit))

    def held(self, node: str) -> list[str]:
        """Refs of all attempts that stand in the node's lease set."""
        raw: Any = self._client.zrange(keys.leases(node), 0, -1)
        return [records.text(ref) for ref in raw]

    def _freeing(self, verb: str, grip: Grip, *args: str | float) -> list[Hint]:
        verdict, flat = self._verbs(verb, grip.uid, grip.id, *_numbers(grip), *args)
        if verdict == b"stale":
            raise Stale(grip.ref)
        return records.admitted(grip.uid, flat)


def _numbers(grip: Grip) -> tuple[int, int]:
    return grip.attempt, grip.fence


def _flat(fields: Mapping[str, str | int]) -> Iterable[str | int]:
    return (part for pair in fields.items() for part in pair)
