"""How much is measured, and what the figures have to be."""

from dataclasses import dataclass

SECTIONS = ("latency", "throughput", "submit", "memory", "fleet", "backlog", "crowd", "compose")
LATENCY_LIMIT = 1.05  # times the bare loop's, at most
THROUGHPUT_LIMIT = 0.95  # times the bare loop's, at least
SUBMIT_LIMIT = 0.6  # times the bare view's, at least
MEMORY_LIMIT_MIB = 0.3  # for each running job, on our side
BACKLOG_LIMIT = 1.25  # times a submit with hardly any queued, at most
REPLICAS = (1, 4, 8)
CONNECTIONS = 16
BODY_BYTES = 1024


@dataclass(frozen=True)
class Plan:
    """The size of a run."""

    latency_samples: int
    latency_warm_ups: int
    jobs: int  # of one throughput sample
    throughput_rounds: int
    submit_seconds: float
    submit_rounds: int
    running: int  # jobs at once, for the memory
    fleet_rounds: int
    depths: tuple[int, ...]  # jobs queued, the fewest first
    backlog_rounds: int
    finished: int  # jobs
    crowd: int  # jobs at once, for how far behind status is
    compose_rounds: int


FULL = Plan(21, 2, 40, 5, 5.0, 5, 100, 3, (10, 10_000, 300_000), 15, 5_000, 200, 3)
QUICK = Plan(5, 1, 8, 2, 1.0, 2, 10, 1, (10, 1_000, 5_000), 3, 200, 12, 1)
