"""What is measured, as Prometheus's families. Pure: from measures to names, texts and series.

No label has more values than somebody has configured, and that of deployments has a bound besides:
those with most waiting jobs have series of their own, all others are one, `_other`, which can't be
a deployment's name.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from app.domain.job import RETRIABLE, Reason, State
from app.ledger.counts import SWEPT
from app.ledger.metrics import Counts, DeploymentMeasures, Measures, NodeMeasures, Server
from app.ledger.nodes import SILENT_SECONDS
from app.traffic import Answered

DEPLOYMENTS_LIMIT = 200  # with series of their own
OTHER = "_other"
_STATES: Final = {
    Reason.EXIT_0: State.SUCCEEDED,
    Reason.DEADLINE: State.TIMED_OUT,
    Reason.QUEUE_TTL: State.EXPIRED,
    Reason.CANCELLED: State.CANCELLED,
    Reason.PURGED: State.CANCELLED,
    Reason.DEPLOYMENT_DELETED: State.CANCELLED,
}
# A series that begins with its first event shows no rise for it: so those known begin at 0.
_ENDS: Final = [(_STATES.get(reason, State.FAILED), reason) for reason in Reason]
_HISTOGRAMS: Final = {
    "queue": ("queue_seconds", "From a job's acceptance to its first claim by a worker."),
    "prepare": ("prepare_seconds", "From an attempt's claim until its container was started."),
    "healthy": ("healthy_seconds", "From a container's start until it was handed its request."),
    "run": ("run_seconds", "From the handing over of a request to the end of its app."),
    "job": ("job_seconds", "From acceptance to end, of jobs whose app had its request."),
    "result": ("result_bytes", "Bodies of the responses that were kept."),
}


def build(version: str) -> Metric:
    """Which version this is."""
    return _gauge("build_info", "The version, as a label.", {(version,): 1}, "version")


def redis_up(answers: bool) -> Metric:
    """Whether the rest could be told."""
    return _single("redis_up", "Whether Redis answers.", answers)


def traffic(answered: Iterable[Answered]) -> Iterator[Metric]:
    """The requests that this server answered."""
    text = "Requests answered, by kind, class of status, and origin; job: it tells a job's outcome."
    labels = ("route", "origin", "status")
    requests = CounterMetricFamily("onejob_http_requests", text, labels=labels)
    text = "From a request's head until its answer began, by kind and origin."
    seconds = HistogramMetricFamily("onejob_http_request_seconds", text, labels=labels[:2])
    for one in answered:
        for status, count in one.statuses.items():
            requests.add_metric((one.route, one.origin, status), count)
        seconds.add_metric((one.route, one.origin), _bounds(one.buckets), one.sum_seconds)
    yield from (requests, seconds)


def server(known: Server, soft_limit: int | None) -> Iterator[Metric]:
    """Redis's memory and file."""
    limit = soft_limit or 0
    yield _single("redis_memory_used_bytes", "Memory that Redis uses.", known.used_bytes)
    yield _single("redis_memory_max_bytes", "Redis's maxmemory; 0: none.", known.most_bytes)
    yield _single("redis_memory_soft_limit_bytes", "Above it submits are refused; 0: none.", limit)
    yield _single("redis_aof_enabled", "Whether Redis keeps an append-only file.", known.appends)
    yield _single("redis_aof_write_ok", "Whether the last write to it went well.", known.append_ok)
    yield _single("redis_aof_size_bytes", "Size of the append-only file.", known.append_bytes)


def counters(counts: Counts) -> Iterator[Metric]:
    """What happened, and how often."""
    accepted = {(): counts.counter("accepted")}
    yield _counter("jobs_accepted", "Jobs accepted.", accepted)
    ended = {(str(state), str(reason)): 0 for state, reason in _ENDS} | counts.labelled("ended")
    yield _counter("jobs_ended", "Jobs that are over, by their end.", ended, "state", "reason")
    again = {(str(reason),): 0 for reason in RETRIABLE} | counts.labelled("repeated")
    text = "Attempts that were followed by another one, by why they ended."
    yield _counter("attempts_repeated", text, again, "reason")
    swept = {(kind,): 0 for kind in SWEPT} | counts.labelled("swept")
    yield _counter("sweep_actions", "What sweep and upkeep did, by kind.", swept, "kind")
    errors = counts.labelled("engine_error")
    text = "Failed calls of container engines, by verb and kind of failure."
    yield _counter("engine_errors", text, errors, "verb", "error")


def histograms(counts: Counts) -> Iterator[Metric]:
    """How long things took, and how large they were."""
    for field, (name, text) in _HISTOGRAMS.items():
        family, one = HistogramMetricFamily(f"onejob_{name}", text), counts.histogram(field)
        family.add_metric((), _bounds(one.buckets), one.sum)
        yield family
    text = "Calls of container engines, by verb."
    calls = HistogramMetricFamily("onejob_engine_call_seconds", text, labels=("verb",))
    for verb in sorted({labels[0] for labels in counts.labelled("engine")}):
        one = counts.histogram("engine", verb)
        calls.add_metric((verb,), _bounds(one.buckets), one.sum)
    yield calls


def totals(measures: Measures) -> Iterator[Metric]:
    """How the whole stands."""
    gauges = measures.gauges
    text = "Jobs that no worker has claimed: queued or dispatched."
    yield _single("waiting_jobs", text, gauges["waiting"])
    text = "Attempts whose container was started and that go on."
    yield _single("started_attempts", text, gauges["started"])
    text = "Attempts that go on though their deadline and the grace have passed."
    yield _single("overrun_attempts", text, gauges["overrun"])
    yield _single("slots_lost", "Slots that lost machines' replicas hold.", gauges["strays"])
    text = "Nodes that a recovery of the ledger waits for."
    yield _single("recovery_waiting_nodes", text, gauges["reports"])
    overdue = {(kind,): gauges[f"past_{kind}"] for kind in ("ttl", "retention", "strays")}
    yield _gauge("overdue", "What the sweep has yet to see to, by kind.", overdue, "kind")


def deployments(known: Sequence[DeploymentMeasures]) -> Iterator[Metric]:
    """The deployments: all of them, and those with most waiting one by one."""
    states = {(state,): 0 for state in ("running", "paused", "terminating")}
    for one in known:
        states[one.state,] += 1
    yield _gauge("deployments", "Deployments, by state.", states, "state")
    oldest = max((_oldest(one) for one in known), default=0)
    text = "How long the oldest job has been in a queue, paused deployments apart."
    yield _single("oldest_queued_seconds", text, oldest)
    shown = {(one.name,): one for one in _bounded(known)}
    for name, text, values in (
        ("queued_jobs", "Jobs in its queue.", {k: d.waiting for k, d in shown.items()}),
        ("slots_used", "Slots taken, lost ones too.", {k: d.used for k, d in shown.items()}),
        ("slots_allowed", "Replicas allowed at once.", {k: d.allowed for k, d in shown.items()}),
        ("slots_lost", "Slots that lost machines hold.", {k: d.strays for k, d in shown.items()}),
        ("oldest_queued_seconds", "The same for each.", {k: _oldest(d) for k, d in shown.items()}),
    ):
        yield _gauge(f"deployment_{name}", text, values, "deployment")


def _oldest(one: DeploymentMeasures) -> float:
    return one.oldest_seconds if one.state == "running" else 0.0


def _bounded(known: Sequence[DeploymentMeasures]) -> list[DeploymentMeasures]:
    ranked = sorted(known, key=lambda one: (-one.waiting, one.name))
    shown, rest = ranked[:DEPLOYMENTS_LIMIT], ranked[DEPLOYMENTS_LIMIT:]
    return [*shown, _summed(rest)] if rest else shown


def _summed(rest: Sequence[DeploymentMeasures]) -> DeploymentMeasures:
    return replace(
        rest[0],
        name=OTHER,
        state="running",
        allowed=sum(one.allowed for one in rest),
        waiting=sum(one.waiting for one in rest),
        used=sum(one.used for one in rest),
        strays=sum(one.strays for one in rest),
        oldest_seconds=max(_oldest(one) for one in rest),
    )


def computes(measures: Measures, configured: Iterable[str]) -> Iterator[Metric]:
    """What waits for each compute resource, and who could take it."""
    fit = [node for node in measures.nodes if _state(node) == "alive"]
    offered = [name for node in fit for name in node.info.get("compute", {})]
    wanted = [one.compute for one in measures.deployments]
    waiting = {
        (name,): measures.unclaimed.get(name, 0) for name in (*configured, *offered, *wanted)
    }
    for one in measures.deployments:
        if one.state == "running":
            waiting[one.compute,] += one.waiting
    text = "Jobs that wait for a compute resource, in deployments that are not paused."
    yield _gauge("compute_waiting_jobs", text, waiting, "compute")
    nodes = {name: offered.count(*name) for name in waiting}
    yield _gauge("compute_nodes", "Nodes that take jobs for it now.", nodes, "compute")


def nodes(known: Sequence[NodeMeasures], timeout_seconds: float) -> Iterator[Metric]:
    """The machines."""
    states = {(state,): 0 for state in ("alive", "draining", "unfit", "silent", "lost")}
    for node in known:
        states[_state(node, timeout_seconds),] += 1
    text = "Nodes, by state; draining and unfit ones are alive and take no jobs."
    yield _gauge("nodes", text, states, "state")
    for name, text, values in (
        ("silent_seconds", "Since its last sign of life.", [n.silent_seconds for n in known]),
        ("fit", "Whether it takes jobs, as it said last.", [_fit(n) for n in known]),
        ("live_restore", "Whether jobs outlive its engine.", [_restores(n) for n in known]),
        ("leases", "Attempts it supervises or tears down.", [n.leases for n in known]),
        ("lapsed_leases", "Of these, those nobody supervises.", [n.lapsed for n in known]),
        ("slots_lost", "Slots that wait for it, or for its loss.", [n.strays for n in known]),
    ):
        labels = [(node.id,) for node in known]
        yield _gauge(f"node_{name}", text, dict(zip(labels, values, strict=True)), "node")


def _fit(node: NodeMeasures) -> bool:
    return not node.info.get("problems")


def _restores(node: NodeMeasures) -> bool:
    return bool(node.info.get("live_restore", True))


def _state(node: NodeMeasures, timeout_seconds: float = SILENT_SECONDS) -> str:
    if node.silent_seconds <= SILENT_SECONDS:
        if not _fit(node):
            return "unfit"
        return "draining" if node.draining else "alive"
    return "silent" if node.silent_seconds < timeout_seconds else "lost"


Values = Mapping[Any, float]  # by the values of the labels


def _counter(name: str, text: str, values: Values, *labels: str) -> Metric:
    family = CounterMetricFamily(f"onejob_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, values: Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"onejob_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _single(name: str, text: str, value: float) -> Metric:
    return _gauge(name, text, {(): value})


def _bounds(buckets: Iterable[tuple[float, int]]) -> list[tuple[str, int]]:
    return [(floatToGoString(bound), count) for bound, count in buckets]  # type: ignore[no-untyped-call]
