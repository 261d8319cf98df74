"""/v1/job-deployments/<name>/logs and /system-logs: what its replicas printed, what we did.

Each request does a bounded amount of work, however many jobs there are: it looks at the newest
ones only, by their acceptance. What is beyond that has to be asked for by its job.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from app.api import so_far, windows
from app.api.answers import LineOut, SystemEventOut
from app.api.entries import Parameter, Reply, entry
from app.api.log_form import line_out
from app.api.logs import stored
from app.api.schemas import container_name
from app.api.services import client, services
from app.api.windows import PARAMETERS, TEXT, TEXTS, Window
from app.domain.errors import NotFound
from app.domain.job import JobSummary, State, TimelineEntry
from app.domain.log import lines_of, pieces_of
from app.ledger.live import LIVE_SECONDS

blueprint = Blueprint("deployment_logs", __name__, url_prefix="/v1/job-deployments/<name>")
JOBS = 1000  # ended ones, that a request for lines looks at,
LOGS_BYTES = 8 * 1024 * 1024  # and how much of their logs it reads
# Running ones that it looks at. If all are on one machine, its worker asks the engine about one
# after the other: that is what it gets through while the first is no more than two seconds old.
REPLICAS = 64
# Of those that wait, of those that go on, and of ended ones, that a request for events reads:
TIMELINES = 200
SLACK_NS = 5 * 10**9  # that the clocks of Redis and of machines may differ
ENDED = [state for state in State if state.final]
GOING_ON = [State.DISPATCHED, State.STARTING, State.RUNNING]
PRINTING = [State.STARTING, State.RUNNING]
SENTENCES = {
    "queued": "accepted",
    "dispatched": "has a slot, and waits for a machine",
    "starting": "a machine has taken it",
    "created": "its container was created",
    "started": "its container was started",
    "healthy": "the app is healthy",
    "sent": "the request was handed to the app",
    "killed": "the app did not end in its grace, and was killed",
    "released": "its container is gone and its slot free",
}


@blueprint.before_request
def _authenticate() -> None:
    client()


@blueprint.get("/logs")
@entry(
    {200: Reply("The lines.", list[LineOut])},
    parameters=(
        *PARAMETERS,
        Parameter("search_text", "query", TEXT, "Only lines with this text in them."),
        Parameter("container_name", "query", TEXTS, "Only of this container; repeatable."),
        Parameter("pod", "query", TEXTS, "Only of this replica; repeatable."),
    ),
    errors=(404,),
)
def logs(name: str) -> Response:
    """Lines of its replicas in a window of time, the newest first or the oldest.

    Of ended ones what is kept; of running ones what they printed until two seconds ago. A machine
    that does not answer in time leaves out what its replicas printed since it last did.
    """
    window, args = windows.asked(), request.args
    containers, pods = args.getlist("container_name"), args.getlist("pod")
    text = args.get("search_text", "")
    uid = services().ledger.deployments.get(name).uid
    found = _Found(window)
    if containers and container_name(name) not in containers:
        return jsonify([])
    jobs, told = _printed(uid, pods)
    for job in _affordable(_overlapping(jobs, window)):
        if found.complete_before(job):
            break
        found.add(entry for entry in _lines(job, told) if text in entry["message"])
    return jsonify(found.entries)


@blueprint.get("/system-logs")
@entry(
    {200: Reply("What was done.", list[SystemEventOut])},
    parameters=(
        *PARAMETERS,
        Parameter("reason", "query", TEXTS, "Only of this reason; repeatable."),
        Parameter("involved_object", "query", TEXTS, "Only of this job; repeatable."),
    ),
    errors=(404,),
)
def system_logs(name: str) -> Response:
    """What the platform did with its jobs in a window of time, the newest first or the oldest."""
    window, args = windows.asked(), request.args
    reasons, objects = set(args.getlist("reason")), set(args.getlist("involved_object"))
    ledger = services().ledger
    uid = ledger.deployments.get(name).uid
    states = ([State.QUEUED], GOING_ON, ENDED)
    jobs = [job for some in states for job in _jobs(uid, some, TIMELINES)]
    jobs = [job for job in jobs if not objects or job.id in objects]
    jobs = _overlapping(jobs, window)
    found = _Found(window)
    for job, timeline in zip(jobs, ledger.jobs.timelines(uid, [j.id for j in jobs]), strict=True):
        events = (_event_out(job, entry) for entry in timeline)
        found.add(event for event in events if not reasons or event["reason"] in reasons)
    return jsonify(found.entries)


class _Found:
    """The entries of a window, as many as are asked for, in the order asked for."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.entries: list[dict[str, Any]] = []

    def add(self, entries: Iterable[dict[str, Any]]) -> None:
        """Takes those in that belong there. They come in their order."""
        window = self._window
        more = [entry for entry in entries if window.spans(entry["timestamp"])]
        if window.newest_first:
            more.reverse()
        self.entries += more
        self.entries.sort(key=lambda entry: entry["timestamp"], reverse=window.newest_first)
        del self.entries[window.limit :]

    def complete_before(self, job: JobSummary) -> bool:
        """Whether no entry of this job, or of those behind it, can belong there."""
        if len(self.entries) < self._window.limit:
            return False
        (began, ended), last = _life(job), self.entries[-1]["timestamp"]
        return bool(ended < last if self._window.newest_first else began > last)


def _jobs(uid: str, states: list[State], most: int) -> list[JobSummary]:
    return services().ledger.jobs.page(uid, most, None, states).jobs


def _printed(uid: str, pods: list[str]) -> tuple[list[JobSummary], dict[str, bytes]]:
    """The jobs that have lines, and what was told of those that have no log yet, by their ids."""
    running = _jobs(uid, PRINTING, JOBS)  # first: one that ends now is among the ended then
    jobs = {job.id: job for job in [*running, *_jobs(uid, ENDED, JOBS)]}
    some = [job for job in jobs.values() if not pods or job.replica in pods]
    unkept = [job for job in some if job.replica and not job.log]
    still = [job for job in unkept if not job.state.final][:REPLICAS]
    just_ended = [job for job in unkept if _has_just_ended(job)][:REPLICAS]
    now = so_far.of_many(uid, still + just_ended)
    printed = [*(job for job in some if job.log), *now.jobs]
    return [job for job in printed if not pods or job.replica in pods], now.told


def _has_just_ended(job: JobSummary) -> bool:
    """Whether its log may not be kept yet, and what was told while it ran be there."""
    age = timedelta(seconds=LIVE_SECONDS)
    return job.finished_at is not None and job.finished_at > datetime.now(UTC) - age


def _overlapping(jobs: Iterable[JobSummary], window: Window) -> list[JobSummary]:
    """Those that lived in the window: the last ended first, or the first begun."""
    lives = [(_life(job), job) for job in jobs]
    lives = [
        (life, job) for life, job in lives if life[0] <= window.end and life[1] >= window.start
    ]
    if window.newest_first:
        lives.sort(key=lambda one: one[0][1], reverse=True)
    else:
        lives.sort(key=lambda one: one[0][0])
    return [job for _, job in lives]


def _life(job: JobSummary) -> tuple[int, int]:
    """Between which instants anything of it can lie, in nanoseconds since the epoch."""
    ended = job.finished_at or datetime.now(UTC)
    return _nanoseconds(job.created_at) - SLACK_NS, _nanoseconds(ended) + SLACK_NS


def _affordable(jobs: Iterable[JobSummary]) -> Iterator[JobSummary]:
    """As many as may be read; of the last one all."""
    left = LOGS_BYTES
    for job in jobs:
        if left <= 0:
            return
        left -= job.log_size or 0
        yield job


def _lines(job: JobSummary, told: dict[str, bytes]) -> Iterator[dict[str, Any]]:
    with suppress(NotFound):  # its retention is over
        pieces = stored(job) if job.log else pieces_of([told[job.id]])
        yield from (line_out(job.deployment, job.replica, line) for line in lines_of(pieces))


def _event_out(job: JobSummary, entry: TimelineEntry) -> dict[str, Any]:
    reason, message = entry.event, entry.detail or SENTENCES.get(entry.event, entry.event)
    if entry.event == "queued" and entry.detail:
        reason = "retried"
    elif entry.event == job.state and job.reason:
        reason, message = job.reason, f"{job.state}: {message}"
    return {
        "timestamp": _nanoseconds(entry.at),
        "reason": reason,
        "message": message,
        "involved_object": job.id,
        "count": 1,
    }


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp()) * 10**9 + at.microsecond * 1000
