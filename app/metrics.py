"""/metrics, for Prometheus: what the ledger tells, and this server's own traffic.

The ledger's part is the same whichever process answers, and after any restart. Where several
servers share one ledger, each of them tells all of it: take the largest then, not the sum.
"""

import logging
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import redis
from flask import Blueprint, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from app import exposition
from app.api.entries import Reply, entry
from app.api.services import Services, services
from app.ledger.memory import soft_limit
from app.traffic import TRAFFIC

logger = logging.getLogger(__name__)
blueprint = Blueprint("metrics", __name__)
LATE_SECONDS = 5.0  # after deadline and grace, for an end to be noticed and told


@blueprint.get("/metrics")
@entry(
    {200: Reply("Prometheus's text format.", {"type": "string"}, CONTENT_TYPE_PLAIN_0_0_4)},
    access="none",
)
def metrics() -> Response:
    """All that is measured, as text. 200 also without Redis: `onejob_redis_up` says so."""
    return Response(generate_latest(_REGISTRY), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class Measured(Collector):
    """Asks the ledger anew for each scrape."""

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield exposition.build(_version())
        yield from exposition.traffic(TRAFFIC.answered())
        try:
            families = list(_ledgers(services()))
        except redis.RedisError as error:
            logger.warning("metrics without Redis: %s", error)
            families = []
        yield exposition.redis_up(bool(families))
        yield from families


def _ledgers(here: Services) -> Iterator[Metric]:
    settings, ledger = here.settings, here.ledger.metrics
    measures = ledger.read(settings.stop_grace_seconds + LATE_SECONDS)
    server = ledger.server()
    limit = soft_limit(settings.memory_limit_bytes, server.most_bytes)
    yield from exposition.server(server, limit)
    yield from exposition.counters(measures.counts)
    yield from exposition.histograms(measures.counts)
    yield from exposition.totals(measures)
    yield from exposition.deployments(measures.deployments)
    yield from exposition.computes(measures, here.compute)
    yield from exposition.nodes(measures.nodes, settings.node_timeout_seconds)


def _version() -> str:
    try:
        return version("onejob")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


_REGISTRY = CollectorRegistry()
_REGISTRY.register(Measured())
