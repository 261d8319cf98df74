"""Turns what Redis returns into the domain's records."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.domain.job import EarlierAttempt, Hint, Job, JobSummary, Reason, State, TimelineEntry

_INSTANTS = (
    "created_at",
    "expires_at",
    "dispatched_at",
    "claimed_at",
    "started_at",
    "sent_at",
    "finished_at",
    "deadline_at",
    "result_expires_at",
)
_NUMBERS = (
    "attempt",
    "fence",
    "payload_size",
    "version",
    "exit_code",
    "response_status",
    "response_size",
    "log_size",
)
_TEXTS = (
    "id",
    "deployment",
    "uid",
    "method",
    "target",
    "digest",
    "payload",
    "compute",
    "node",
    "replica",
    "teardown",
    "detail",
    "response",
    "log",
)


def text(value: bytes) -> str:
    """Decodes a value; what an app printed need not be UTF-8."""
    return value.decode("utf-8", "replace")


def instant(value: str | bytes) -> datetime:
    """An instant from seconds since the epoch."""
    return datetime.fromtimestamp(float(value), UTC)


def seconds(value: datetime) -> str:
    """The inverse of `instant`, to the microsecond."""
    return f"{value.timestamp():.6f}"


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A hash from the flat list that a script returns: name, value, name, value, …"""
    return dict(zip(*[iter(flat)] * 2, strict=True))


def job(raw: Mapping[bytes, bytes]) -> Job:
    """A job from its hash."""
    values = {text(name): text(value) for name, value in raw.items()}
    return Job(
        prefer=values.get("prefer") or None,
        cancel=Reason(values["cancel"]) if "cancel" in values else None,
        abandoned=Reason(values["abandoned"]) if "abandoned" in values else None,
        log_cut=values.get("log_cut") == "1",
        gpus=tuple(filter(None, values.get("gpus", "").split(","))),
        **_members(values),
    )


def summary(raw: Mapping[bytes, bytes]) -> JobSummary:
    """What a list shows of a job, from those fields of its hash."""
    return JobSummary(**_members({text(name): text(value) for name, value in raw.items()}))


def _members(values: Mapping[str, str]) -> dict[str, Any]:
    members: dict[str, Any] = {name: values[name] for name in _TEXTS if name in values}
    members |= {name: int(values[name]) for name in _NUMBERS if name in values}
    members |= {name: instant(values[name]) for name in _INSTANTS if name in values}
    members["reason"] = Reason(values["reason"]) if "reason" in values else None
    members["oom_killed"] = values.get("oom_killed") == "1"
    return members | {"state": State(values["state"])}


def timeline(raw: Sequence[bytes]) -> list[TimelineEntry]:
    """A job's timeline from its list."""
    entries = (json.loads(text(entry)) for entry in raw)
    return [TimelineEntry(e["event"], instant(e["at"]), e.get("detail")) for e in entries]


def told(entries: Sequence[TimelineEntry]) -> str:
    """Entries for a timeline, as scripts take them: JSON, or "" for none."""
    if not entries:
        return ""
    raw = [{"event": e.event, "at": seconds(e.at), "detail": e.detail} for e in entries]
    return json.dumps([{name: value for name, value in e.items() if value} for e in raw])


def earlier(raw: Sequence[bytes]) -> list[EarlierAttempt]:
    """A job's earlier attempts from their list."""
    return [_earlier(json.loads(text(entry))) for entry in raw]


def _earlier(entry: Mapping[str, str]) -> EarlierAttempt:
    at = {name: instant(entry[name]) for name in entry if name.endswith("_at")}
    return EarlierAttempt(
        attempt=int(entry["attempt"]),
        node=entry.get("node"),
        reason=Reason(entry["reason"]),
        detail=entry["detail"],
        claimed_at=at.get("claimed_at"),
        started_at=at.get("started_at"),
        sent_at=at.get("sent_at"),
        ended_at=at["ended_at"],
    )


def hints(flat: Sequence[bytes]) -> list[Hint]:
    """Hints from a flat list: uid, id, compute, deployment, …"""
    values = [text(value) for value in flat]
    return [
        Hint(uid=uid, id=job_id, compute=compute, deployment=deployment)
        for uid, job_id, compute, deployment in zip(*[iter(values)] * 4, strict=True)
    ]


def admitted(uid: str, flat: Sequence[bytes]) -> list[Hint]:
    """Hints of one deployment from a flat list: id, compute, deployment, …"""
    values = [text(value) for value in flat]
    return [
        Hint(uid=uid, id=job_id, compute=compute, deployment=deployment)
        for job_id, compute, deployment in zip(*[iter(values)] * 3, strict=True)
    ]
