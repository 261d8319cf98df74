"""What the ledger tells of itself: counts that only grow, and how things stand now.

All of it lies in Redis, so every process of the API tells the same, also after a restart. A look
costs one call for the whole, and one for every 100 deployments; neither depends on how many jobs
there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from app.ledger import records
from app.ledger.counts import HISTOGRAMS
from app.ledger.nodes import announced
from app.ledger.verbs import Verbs

DEPLOYMENTS_LIMIT = 100  # in one call: Redis does nothing else meanwhile, for 1 or 2 ms
REMEMBERED_SECONDS = 86_400  # within which an addition that was not answered is repeated


@dataclass(frozen=True, slots=True)
class NodeMeasures:
    """One machine."""

    id: str
    silent_seconds: float
    info: dict[str, Any]  # as it announced itself
    leases: int  # attempts that it supervises or tears down
    lapsed: int  # of these, those that nobody supervises
    strays: int  # slots that wait for it
    draining: bool = False  # it takes no new jobs, as its operator says


@dataclass(frozen=True, slots=True)
class DeploymentMeasures:
    """One deployment."""

    name: str
    state: str
    compute: str
    allowed: int  # replicas at once
    waiting: int  # jobs in its queue
    used: int  # slots that are taken, those of lost machines too
    strays: int  # of these, those of lost machines
    oldest_seconds: float  # the first job of its queue has waited for; 0 without one


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram as Prometheus has it: each bucket counts the smaller ones, too."""

    buckets: list[tuple[float, int]]  # upper bound and count; the last bound is infinite
    sum: float  # seconds or bytes


class Counts:
    """All that was ever counted, by the names of app/ledger/counts.py."""

    def __init__(self, raw: Mapping[str, int]) -> None:
        self._raw = raw

    def counter(self, name: str) -> int:
        """A counter without labels."""
        return self._raw.get(name, 0)

    def labelled(self, name: str) -> dict[tuple[str, ...], int]:
        """A counter with labels, by their values."""
        split = ((tuple(field.split("|")), count) for field, count in self._raw.items())
        return {field[1:]: count for field, count in split if field[0] == name}

    def histogram(self, name: str, *labels: str) -> Histogram:
        """One histogram; empty if nothing was observed."""
        buckets, total, rising = HISTOGRAMS[name], 0, list[tuple[float, int]]()
        field = "|".join((name, *labels))
        for number, bound in enumerate((*buckets.bounds, float("inf")), 1):
            total += self.counter(f"{field}|{number}")
            rising.append((bound, total))
        return Histogram(rising, self.counter(f"{field}|sum") / buckets.scale)


@dataclass(frozen=True, slots=True)
class Measures:
    """How the ledger stands; each part at one instant, the deployments in parts of 100."""

    counts: Counts
    gauges: dict[str, int]  # of the script `measure`, by its names
    nodes: list[NodeMeasures]
    deployments: list[DeploymentMeasures]
    unclaimed: dict[str, int]  # jobs with a slot that no worker has claimed, by compute


@dataclass(frozen=True, slots=True)
class Server:
    """What Redis says of itself."""

    used_bytes: int
    most_bytes: int  # 0: no limit
    appends: bool  # its append-only file is on
    append_ok: bool  # the last write to it went well
    append_bytes: int


class Metrics:
    """Reads what is told, and adds what workers have counted."""

    def __init__(self, client: redis.Redis, verbs: Verbs) -> None:
        self._client = client
        self._verbs = verbs

    def read(self, late_seconds: float) -> Measures:
        """How things stand. An attempt is overrun that late after its deadline.

        Raises redis's errors.
        """
        now, counts, gauges, nodes, uids = self._verbs("measure", late_seconds)
        deployments, unclaimed = self._deployments(uids)
        return Measures(
            counts=Counts(_numbers(counts)),
            gauges=_numbers(gauges),
            nodes=[_node(raw, float(now)) for raw in nodes],
            deployments=deployments,
            unclaimed=unclaimed,
        )

    def server(self) -> Server:
        """What Redis says of itself. Raises redis's errors."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.info("memory")
            pipe.info("persistence")
            memory, persistence = pipe.execute()
        return Server(
            used_bytes=memory["used_memory"],
            most_bytes=memory["maxmemory"],
            appends=bool(persistence["aof_enabled"]),
            append_ok=persistence["aof_last_write_status"] == "ok",
            append_bytes=persistence.get("aof_current_size", 0),
        )

    def add(self, process: str, number: int, fields: Mapping[str, int]) -> None:
        """Adds what a worker process has counted. A repeat with the same number adds nothing."""
        flat = (part for pair in fields.items() for part in pair)
        self._verbs("tally", process, number, REMEMBERED_SECONDS, *flat)

    def _deployments(
        self, uids: Sequence[bytes]
    ) -> tuple[list[DeploymentMeasures], dict[str, int]]:
        found, unclaimed = list[DeploymentMeasures](), dict[str, int]()
        for start in range(0, len(uids), DEPLOYMENTS_LIMIT):
            some = uids[start : start + DEPLOYMENTS_LIMIT]
            now, raw, jobs = self._verbs("measure_deployments", *some)
            found += (_deployment(one, float(now)) for one in raw)
            unclaimed |= _numbers(jobs)
        return found, unclaimed


def _numbers(flat: Sequence[Any]) -> dict[str, int]:
    return {records.text(name): int(value) for name, value in records.pairs(flat).items()}


def _node(raw: Sequence[Any], now: float) -> NodeMeasures:
    name, seen, flat, leases, lapsed, strays = raw
    said = records.pairs(flat)
    silent = max(0.0, now - float(seen))
    return NodeMeasures(
        id=records.text(name),
        silent_seconds=silent,
        info=announced(said),
        leases=leases,
        lapsed=lapsed,
        strays=strays,
        draining=b"draining" in said,
    )


def _deployment(raw: Sequence[Any], now: float) -> DeploymentMeasures:
    name, state, compute, allowed, waiting, slots, strays, since = raw
    return DeploymentMeasures(
        name=records.text(name),
        state=records.text(state),
        compute=records.text(compute),
        allowed=int(allowed),
        waiting=waiting,
        used=slots + strays,
        strays=strays,
        oldest_seconds=max(0.0, now - float(since)) if since else 0.0,
    )
