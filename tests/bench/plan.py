"""How much is measured, and what the figures have to be."""

from dataclasses import dataclass

SECTIONS = ("latency", "throughput", "submit", "memory")
LATENCY_LIMIT = 1.05  # times the bare loop's, at most
THROUGHPUT_LIMIT = 0.95  # times the bare loop's, at least
SUBMIT_LIMIT = 0.6  # times the bare view's, at least
MEMORY_LIMIT_MIB = 0.3  # for each running job, on our side
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


FULL = Plan(21, 2, 40, 5, 5.0, 5, 100)
QUICK = Plan(5, 1, 8, 2, 1.0, 2, 10)
