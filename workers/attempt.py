"""One attempt in the hands of its supervisor: the record, what is there of it, and how it is
written on.

Each write to the ledger is compared on (state, attempt, fence): one that was replaced gets
`Stale` there and lets go. Redis's errors pass: whoever calls tries again.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

import redis

from app.domain.job import Job, Reason, State, TimelineEntry
from app.domain.log import HEAD_BYTES, last_part
from app.domain.verdict import Outcome
from app.ledger import records
from app.ledger.attempts import Grip
from workers import harvest, plan
from workers.engine import Container, EngineError, EngineUnavailable, Phase
from workers.events import Events, parse
from workers.harvest import StoredResponse
from workers.recipe import Recipe
from workers.secret_files import SecretFiles
from workers.site import Site
from workers.spool import Spool
from workers.steps import View

SENTENCE_CHARACTERS = 2000
LAST_PIECES = 100  # of a log, for its last line that is not empty
LOG_TRIES = 3  # of an engine that does not answer
LOG_SECONDS = 5.0  # for a container to end whose app has ended: then its log is whole
logger = logging.getLogger(__name__)


class Attempt:
    """An attempt that this process holds by its grip."""

    def __init__(self, site: Site, job: Job) -> None:
        self.site = site
        self.job = job
        self.grip = Grip.of(job)
        self.recipe = Recipe(site, job)
        self.replica = plan.replica_name(job)
        self.spool: Spool = site.spool_root.attempt(self.replica)
        self.secret_files: SecretFiles = site.secret_root.attempt(self.replica)
        self.container: Container | None = None
        # Whether `container` is what the engine says. The first claim of an attempt that has no
        # directory yet can have no container: the directory comes first.
        self.known = job.fence == 1 and not self.spool.exists()
        self._seen = ("", parse(""))  # the event file's text as last read, and what it says
        self._untold: list[Callable[[], None]] = []
        self._notes = count(1)
        self._log_tries = 0
        self._confirmed_at = float("-inf")
        self._kept = False  # its usher's run-once marker was taken by this supervisor

    # -- what is there -----------------------------------------------------------------------

    def look(self) -> View:
        """All there is of the attempt."""
        self.ask_engine()
        return View(
            job=self.job,
            spool_exists=self.spool.exists(),
            usher_started=self.spool.started(),
            events=self.events(),
            container=self.container,
            kept_from_starting=self.spool.kept_from_starting(),
        )

    def ask_engine(self) -> None:
        """Has the engine's word on the container, if it is not known."""
        if not self.known:
            self.container = self.site.engine.find(self.replica)
            self.known = True

    def events(self) -> Events:
        """What the usher has told so far."""
        text = self.spool.read_events()
        if text != self._seen[0]:
            self._seen = (text, parse(text))
        return self._seen[1]

    def provably_unsent(self) -> bool:
        """Whether the request can't have reached an app: then another attempt does no harm."""
        if self.job.state is not State.STARTING or self.events().sent:
            return False
        if self.job.started_at is None and not self.spool.started():
            return True
        text = self.spool.read_all_events()
        return text is not None and not parse(text).sent

    def never_runs(self) -> bool:
        """Whether no app has run, nor will: no late start of a sleeper can change that any more."""
        if self.job.state is State.RUNNING or self.job.started_at is not None:
            return False
        if self._kept:
            return True
        with suppress(OSError):  # the disk: then nobody can say
            kept = self.spool.keep_from_starting()
            self._kept = kept and self.spool.kept_from_starting()  # not where there is no directory
            return kept
        return False

    def last_line(self) -> str | None:
        """What the app printed last, if the engine still knows."""
        if self.container is None:
            return None
        with suppress(EngineError):
            self.site.engine.wait(self.container.id, LOG_SECONDS)
            return harvest.last_line(self.site.engine.logs(self.container.id, LAST_PIECES))
        return None

    def keep_log(self) -> None:
        """Copies the last part of what the replica printed into the ledger. Raises Stale.

        Without it goes what can't be had: a log is no reason to keep a slot.
        """
        limit = self.site.settings.log_limit_bytes
        if self.container is None or self.container.phase is Phase.CREATED or not limit:
            return
        self._log_tries += 1
        try:
            self.site.engine.wait(self.container.id, LOG_SECONDS)
            found = self.site.engine.logs(self.container.id, limit // HEAD_BYTES + 1)
            log, cut = last_part(found, limit)
            upload = harvest.log_upload(self.job, log, self.site.ledger.payloads)
            size = sum(len(piece.text) for piece in log)
            self.site.ledger.attempts.keep_log(self.grip, upload, size, cut)
        except (EngineError, redis.ResponseError) as error:
            if isinstance(error, EngineUnavailable) and self._log_tries < LOG_TRIES:
                raise
            logger.warning("%s: its log is lost: %s", self.replica, error)

    def keep_response(self) -> StoredResponse | None:
        """Copies the response into the ledger; None if what lies there can't be served."""
        limit = self.site.settings.response_limit_bytes
        return harvest.store_response(self.job, self.spool, limit, self.site.ledger.payloads)

    def overdue(self) -> float:
        """Seconds until the usher should long have ended the job by itself."""
        assert self.job.deadline_at is not None
        margin = timedelta(seconds=self.site.settings.stop_grace_seconds + 0.5)
        return (self.job.deadline_at + margin - datetime.now(UTC)).total_seconds()

    # -- how it goes on ----------------------------------------------------------------------

    def note(self, event: str, detail: str) -> None:
        """Something happened before it is started that belongs in the timeline."""
        note, number = self.site.ledger.attempts.note, next(self._notes)
        self._untold.append(partial(note, self.grip, number, event, detail))

    def note_started(self, at: datetime) -> None:
        """The container ran from then on: from there its deadline counts."""
        deadline_at = at + timedelta(seconds=self.recipe.spec.scaling.deadline_seconds)
        fields = {
            "replica": self.replica,
            "started_at": records.seconds(at),
            "deadline_at": records.seconds(deadline_at),
        }
        made = self.container.created_at if self.container else None
        seen = [TimelineEntry("created", made)] if made else []
        self._advance(State.STARTING, "started", fields, seen)
        self.job = replace(self.job, started_at=at, deadline_at=deadline_at, replica=self.replica)
        self.recipe.job = self.job

    def note_sent(self) -> None:
        """The request was handed to the app, as the usher says."""
        event = self.events().get("sent")
        at = event.at if event else datetime.now(UTC)
        fields = {"sent_at": records.seconds(at)}
        healthy = self.events().get("healthy")
        seen = [TimelineEntry("healthy", healthy.at)] if healthy else []
        self._advance(State.RUNNING, "sent", fields, seen)
        self.job = replace(self.job, state=State.RUNNING, sent_at=at)

    def note_unseen(self) -> None:
        """What happened while nobody looked belongs in the record, too."""
        seen = self.events()
        if self.job.started_at is None:
            known = self.container.started_at if self.container else None
            event = seen.get("started")
            if at := known or (event and event.at):
                self.note_started(at)
        if seen.sent and self.job.state is State.STARTING:
            self.note_sent()

    def _advance(
        self, to: State, event: str, fields: dict[str, str], seen: list[TimelineEntry]
    ) -> None:
        advance = self.site.ledger.attempts.advance
        self._untold.append(partial(advance, self.grip, State.STARTING, to, event, fields, seen))

    def tell(self) -> None:
        """Tells the ledger what was noted, in its order. Raises Stale, and redis's errors.

        Apart from the noting, so that an attempt is followed while Redis is away.
        """
        while self._untold:
            self._untold[0]()
            del self._untold[0]

    def confirm(self, fresh_seconds: float = 0) -> Reason | None:
        """Asks whether the attempt is still ours, unless that was just asked. Raises Stale.

        Returns a cancel that was asked for.
        """
        if time.monotonic() < self._confirmed_at + fresh_seconds:
            return None
        asked = self.site.ledger.attempts.confirm(self.grip, State.STARTING)
        self._confirmed_at = time.monotonic()
        return asked

    def end(self, outcome: Outcome, fields: dict[str, str | int] | None = None) -> None:
        """Ends the attempt and the job; the slot stays taken until `release`. Raises Stale."""
        self.tell()
        detail = outcome.detail[:SENTENCE_CHARACTERS]
        seen = harvest.story(self.events())
        self.site.ledger.attempts.finish(
            self.grip, outcome.state, outcome.reason, detail, fields or {}, seen
        )
        self.job = replace(
            self.job,
            state=outcome.state,
            reason=outcome.reason,
            detail=detail,
            cancel=None,
            teardown=self.site.node,
        )

    def abandon(self, reason: Reason, detail: str, counts: bool = True) -> None:
        """Gives this attempt up: `requeue` follows. Raises Stale.

        Said first, and done then: whoever takes the attempt over in between starts nothing more.
        """
        self.tell()
        detail = detail[:SENTENCE_CHARACTERS]
        self.site.ledger.attempts.abandon(self.grip, reason, detail, counts)
        self.job = replace(self.job, abandoned=reason)

    def requeue(self) -> None:
        """Removes what is there and queues the job again. Raises Stale."""
        self._remove()
        self.site.publish(self.site.ledger.attempts.requeue(self.grip))
        self.site.room_freed()
        self.job = replace(self.job, state=State.QUEUED, abandoned=None)

    def leave(self, detail: str) -> None:
        """Leaves what is there of it, which is over, to an engine that is out of reach.

        Raises Stale.
        """
        may_run, grace = not self.never_runs(), self.site.settings.stop_grace_seconds
        detail = detail[:SENTENCE_CHARACTERS]
        self.site.publish(self.site.ledger.attempts.leave(self.grip, grace, may_run, detail))
        self.site.room_freed()
        if self.job.state.final:
            self.job = replace(self.job, teardown=None)
        else:
            self.job = replace(self.job, state=State.QUEUED, abandoned=None)

    def release(self) -> None:
        """Keeps the log, removes what is there, then frees the slot. Raises Stale."""
        self.ask_engine()
        self.keep_log()
        self._remove()
        self.site.publish(self.site.ledger.attempts.release(self.grip))
        self.site.room_freed()
        self.job = replace(self.job, teardown=None)

    def _remove(self) -> None:
        """The container first, its directory last: see promises on sleepers."""
        self.ask_engine()
        if self.container is not None:
            self.site.engine.remove(self.container.id)
        self.container, self.known = None, True
        self.secret_files.remove()
        self.spool.remove()
