"""A new deployment's image is pulled ahead where its jobs can run, if the operator wishes so."""

from collections.abc import Iterator

import pytest

from app.dispatch import node_queue
from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.server import ApiServer
from tests.redis_server import RedisServer

CPU = {"cpus": 2.0, "memory_mb": 4096, "gpus": 0, "network": "own"}


@pytest.fixture(scope="module")
def ahead(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server whose operator wishes so."""
    started = ApiServer.start(tmp_path_factory.mktemp("ahead"), redis_server.url, prepull=True)
    yield started
    started.stop()


@pytest.fixture
def nodes(ledger: Ledger) -> None:
    """One that is alive, one that has not the compute, one that is silent."""
    ledger.nodes.announce("silent", {"compute": {"cpu": CPU}})
    ledger.client.zadd("onejob:nodes", {"silent": 1})
    ledger.nodes.announce("n1", {"compute": {"cpu": CPU}})
    ledger.nodes.announce("n2", {"compute": {"gpu": CPU}})


def asked(ledger: Ledger) -> list[str]:
    return [name for name in ("silent", "n1", "n2") if ledger.client.llen(node_queue(name))]


@pytest.mark.usefixtures("nodes")
def test_every_live_node_that_has_its_compute_is_asked(ahead: ApiServer, ledger: Ledger) -> None:
    Faces.of(ahead.port, ledger).deploy("hello")
    assert asked(ledger) == ["n1"]


@pytest.mark.usefixtures("nodes")
def test_a_deployment_that_is_refused_pulls_nothing(ahead: ApiServer, ledger: Ledger) -> None:
    faces = Faces.of(ahead.port, ledger)
    faces.deploy("hello")
    ledger.client.delete(node_queue("n1"))
    body = {"name": "hello"}
    assert faces.control("POST", "/job-deployments", body).status == 400
    assert asked(ledger) == []


@pytest.mark.usefixtures("nodes")
def test_without_the_wish_nobody_is_asked(api: Faces, ledger: Ledger) -> None:
    api.deploy("hello")
    assert asked(ledger) == []
