"""The forms of answers about jobs, for the API's document; see `answers`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from app.domain import job


class EventOut(BaseModel):
    """One thing that happened to a job."""

    Event: str
    At: datetime
    Detail: str = ""  # only where there is one


class EarlierOut(BaseModel):
    """An attempt that was followed by another one."""

    Attempt: int
    Node: str | None
    Reason: job.Reason
    Detail: str
    StartedAt: datetime | None
    EndedAt: datetime


class AttemptOut(BaseModel):
    """One attempt; the last one may still go on, or be yet to come."""

    Attempt: int
    Node: str | None
    Reason: job.Reason | None
    Detail: str | None
    ClaimedAt: datetime | None
    StartedAt: datetime | None
    SentAt: datetime | None
    EndedAt: datetime | None


class JobOut(BaseModel):
    """What every answer about a job says of it."""

    Id: str
    Status: Literal["Initialized", "Queue", "Inference", "Completed"]
    Error: str | None
    State: job.State
    Reason: job.Reason | None
    ExitCode: int | None
    OOMKilled: bool
    Attempt: int
    Replica: str | None
    Node: str | None
    CreatedAt: datetime
    StartedAt: datetime | None
    FinishedAt: datetime | None
    DeadlineAt: datetime | None
    ResponseStatus: int | None
    ResultExpiresAt: datetime | None


class JobStatusOut(JobOut):
    """Where a job stands."""

    QueuePosition: int | None
    EarlierAttempts: list[EarlierOut]
    Timeline: list[EventOut]


class ResultOut(BaseModel):
    """What is kept of a response."""

    Status: int | None
    Size: int | None
    ExpiresAt: datetime | None


class LogOut(BaseModel):
    """What is kept of what the replica printed."""

    Size: int | None
    ExpiresAt: datetime | None


class RequestLineOut(BaseModel):
    """What a list says of a job's request."""

    Method: str
    Size: int


class RequestOut(RequestLineOut):
    """A job's request; its target is the raw path and query behind the deployment's name."""

    Target: str


class _KeptOut(BaseModel):
    Deployment: str
    Version: int
    Compute: str
    QueueExpiresAt: datetime
    Result: ResultOut
    Log: LogOut


class JobSummaryOut(_KeptOut, JobOut):
    """A job as the list shows it."""

    Request: RequestLineOut


class JobListOut(BaseModel):
    """A page of jobs, the newest first; `cursor` names the next one."""

    jobs: list[JobSummaryOut]
    cursor: str | None


class LinksOut(BaseModel):
    """Where more is."""

    Self: str
    Cancel: str
    Retry: str
    Logs: str
    Status: str
    Result: str


class JobWholeOut(_KeptOut, JobStatusOut):
    """One job, in full."""

    CancelRequested: bool
    GPUs: list[str]
    Attempts: list[AttemptOut]
    Request: RequestOut
    Links: LinksOut


class AcceptedOut(BaseModel):
    """A request became a job; its id comes in `X-Inference-Id`, too."""

    Id: str
    StatusPath: str
    ResultPath: str
