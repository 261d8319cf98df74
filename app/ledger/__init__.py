"""The ledger: the truth about deployments, jobs and payloads, in Redis.

Every write that changes a state is one Lua script, repeatable and compared on what it changes.
"""

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from app.ledger.attempts import Attempts
from app.ledger.deployments import Deployments
from app.ledger.inference_keys import InferenceKeys
from app.ledger.jobs import Jobs
from app.ledger.live import Live
from app.ledger.metrics import Metrics
from app.ledger.nodes import Nodes
from app.ledger.payloads import Payloads
from app.ledger.recovery import Recovery
from app.ledger.sealing import Sealer
from app.ledger.secrets import Secrets
from app.ledger.verbs import Verbs


class Ledger:
    """All of the ledger over one Redis client. `secrets_key` is the setting of that name."""

    def __init__(
        self, client: redis.Redis, hint_seconds: float = 5, secrets_key: str | None = None
    ) -> None:
        verbs = Verbs(client)
        self.client = client
        self.deployments = Deployments(client, verbs, hint_seconds)
        self.jobs = Jobs(client, verbs)
        self.attempts = Attempts(client, verbs)
        self.live = Live(client, verbs)
        self.payloads = Payloads(client, verbs)
        self.keys = InferenceKeys(client, verbs)
        self.nodes = Nodes(client, verbs)
        self.recovery = Recovery(client, verbs)
        self.metrics = Metrics(client, verbs)
        self.secrets = Secrets(client, verbs, Sealer(secrets_key))


def connect(
    url: str, timeout_seconds: float = 5, retries: int = 1, repeat_timeouts: bool = True
) -> redis.Redis:
    """A client whose every call is bounded. Raises redis's ConnectionError and TimeoutError.

    Each write may be repeated by the client after a timeout: every verb allows for that. Where
    somebody waits for the answer, timeouts are better not repeated.
    """
    backoff = ExponentialBackoff(cap=0.5, base=0.05)
    repeated = (redis.ConnectionError, redis.TimeoutError, TimeoutError)
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=min(timeout_seconds, 0.4),
        health_check_interval=30,
        retry=Retry(backoff, retries, repeated if repeat_timeouts else (redis.ConnectionError,)),
    )
