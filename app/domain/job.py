"""What a job is: its states, the reasons for its end, its record.

            cancel, purge ──────────────► cancelled
           │      TTL ran out ──────────► expired
 queued ─► dispatched ─► starting ─► running ─► succeeded
    ▲          │            │           ├─────► failed
    └──────────┘            │           ├─────► timed_out
  refused at the claim      └───────────┴─────► cancelled

An attempt of a starting or running job can be followed by another one: then the job is queued
again, at the front.

Who moves a job on, state by state ("the sweep" is every worker's):

- queued: the script that frees a slot or accepts a job admits it; the sweep goes on with an
  admission that stopped at its bound; its TTL expires it, through the sweep.
- dispatched: a worker claims it; the sweep publishes a lost hint again; its TTL expires it.
- starting, running: the worker that holds the lease; when that lapses, any worker of the node, by
  the sweep's hint; when the node has been silent for the node timeout, the sweep of another one.
  The usher ends the replica at its deadline, whoever else is there. An engine that fails for the
  node timeout is no longer waited for: what it provably did not start is queued again, within its
  TTL; what it may have started ends as the usher tells, or once its deadline and grace are over.
- a final state is reached once and never left. Its slot is freed once its container is gone: by
  the same workers; for a lost node, or an engine that does not answer, when the replica's deadline
  and grace are over.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # in its deployment's queue
    DISPATCHED = "dispatched"  # holds a slot, no worker has claimed it
    STARTING = "starting"  # claimed by a node: pull, create, start, health
    RUNNING = "running"  # the request was handed to the app
    SUCCEEDED = "succeeded"  # the process exited with 0
    FAILED = "failed"  # exit ≠ 0, signal, start error, bad response …
    TIMED_OUT = "timed_out"  # the deadline
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # waited longer than its TTL

    @property
    def final(self) -> bool:
        """Whether the job is over."""
        return self not in _OPEN


_OPEN = frozenset({State.QUEUED, State.DISPATCHED, State.STARTING, State.RUNNING})


class Reason(StrEnum):
    """Why a job ended. The one table of reasons: nothing else spells them."""

    EXIT_0 = "exit_0"
    EXIT_NONZERO = "exit_nonzero"
    SIGNALLED = "signalled"
    OOM_KILLED = "oom_killed"
    NEVER_HEALTHY = "never_healthy"
    EXITED_BEFORE_REQUEST = "exited_before_request"
    RESPONSE_INVALID = "response_invalid"
    RESPONSE_TOO_LARGE = "response_too_large"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_DENIED = "image_denied"
    IMAGE_PULL_FAILED = "image_pull_failed"
    COMMAND_NOT_FOUND = "command_not_found"
    START_FAILED = "start_failed"
    STARTUP_TIMEOUT = "startup_timeout"
    DEADLINE = "deadline"
    QUEUE_TTL = "queue_ttl"
    CANCELLED = "cancelled"
    PURGED = "purged"
    DEPLOYMENT_DELETED = "deployment_deleted"
    NODE_LOST = "node_lost"
    ENGINE_LOST = "engine_lost"


# What a deployment's retry policy may name: ends that another attempt may not come to.
RETRIABLE: Final = tuple(
    reason
    for reason in Reason
    if reason
    not in (
        Reason.EXIT_0,
        Reason.QUEUE_TTL,
        Reason.CANCELLED,
        Reason.PURGED,
        Reason.DEPLOYMENT_DELETED,
    )
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job's record. Instants are UTC; an unset member is None."""

    id: str  # unique within its deployment
    deployment: str  # the deployment's name
    uid: str  # the deployment's identity: a name made again gets a new one
    state: State
    attempt: int  # counts from 1
    fence: int  # counts the claims of this attempt; a late writer's is too low
    method: str
    target: str  # raw path and query behind the deployment's name
    digest: str  # of method, target and body: tells a safe repeat from a conflict
    payload: str  # token of the stored request
    payload_size: int  # bytes of its body
    prefer: str | None
    compute: str
    version: int  # of the deployment's spec, fixed when the job gets its slot
    created_at: datetime
    expires_at: datetime  # when it must have started
    dispatched_at: datetime | None = None
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    sent_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    result_expires_at: datetime | None = None
    node: str | None = None
    replica: str | None = None  # the container's name
    gpus: tuple[str, ...] = ()  # devices of the node that are this attempt's alone
    teardown: str | None = None  # the node whose container still has to go
    cancel: Reason | None = None  # asked for, not yet carried out
    abandoned: Reason | None = None  # why another attempt follows once its container is gone
    reason: Reason | None = None
    detail: str | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    response: str | None = None  # token of the stored response
    response_status: int | None = None
    response_size: int | None = None
    log: str | None = None  # token of what the replica printed
    log_size: int | None = None
    log_cut: bool = False  # only its last part was kept

    @property
    def ref(self) -> str:
        """The job's name among all deployments."""
        return f"{self.uid}/{self.id}"


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What a list shows of a job; its members are those of `Job`."""

    id: str
    deployment: str
    state: State
    attempt: int
    method: str
    payload_size: int
    compute: str
    version: int
    created_at: datetime
    expires_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    result_expires_at: datetime | None = None
    node: str | None = None
    replica: str | None = None
    reason: Reason | None = None
    detail: str | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    response_status: int | None = None
    response_size: int | None = None
    log: str | None = None
    log_size: int | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some of a deployment's jobs, the newest first."""

    jobs: list[JobSummary]
    place: str | None  # the next page begins behind it; None: this is the last


@dataclass(frozen=True, slots=True)
class EarlierAttempt:
    """An attempt that was followed by another one, and what it came to."""

    attempt: int
    node: str | None
    reason: Reason
    detail: str
    claimed_at: datetime | None
    started_at: datetime | None
    sent_at: datetime | None
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to a job."""

    event: str
    at: datetime
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as a status route shows it."""

    job: Job
    position: int | None  # in its deployment's queue, 1 = next; None once it left it
    timeline: list[TimelineEntry]
    earlier: list[EarlierAttempt]


@dataclass(frozen=True, slots=True)
class Hint:
    """ "Look at this job": all that a message carries, and where it goes."""

    uid: str
    id: str
    deployment: str
    compute: str
