"""What talks to Redis does so over TLS, and to nobody whose certificate it can't verify."""

from collections.abc import Iterator
from typing import Any

import kombu.pools
import pytest
import redis

from app.dispatch import Publisher, celery_redis
from app.domain.job import Hint
from app.ledger import Ledger, connect
from tests.tls import Authority, TlsServer, require_tls
from tests.workers.celery_stage import Stage
from tests.workers.test_sweep import patient

__all__ = ["patient"]

HINT = Hint("u1", "j1", "dep", "cpu")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    require_tls()
    server = TlsServer.start(tmp_path_factory.mktemp("tls-redis"))
    assert isinstance(server, TlsServer)
    yield server
    server.stop()


@pytest.fixture
def client(server: TlsServer) -> Iterator[redis.Redis]:
    client = server.connect()
    client.flushall()
    yield client
    client.close()


@pytest.fixture(autouse=True)
def no_connection_is_left() -> None:
    """kombu keeps connections for a whole process, and does not tell them apart by their TLS."""
    kombu.pools.reset()


def hints(client: redis.Redis) -> int:
    found: Any = client.llen("compute.cpu")
    return int(found)


def test_the_ledger_and_the_publisher_verify_who_answers(
    server: TlsServer, client: redis.Redis
) -> None:
    ledger = Ledger(connect(server.url))
    assert ledger.recovery.identity().epoch == 1
    Publisher(server.url)([HINT])
    assert hints(client) == 1
    ledger.client.close()


@pytest.mark.parametrize("trusting", ["nothing", "another authority", "another name"])
def test_nothing_is_said_to_a_stranger(
    server: TlsServer, client: redis.Redis, tmp_path_factory: pytest.TempPathFactory, trusting: str
) -> None:
    """Also without a word about certificates, where kombu by itself would verify nobody."""
    if trusting == "nothing":
        url = server.bare_url
    elif trusting == "another authority":
        other = Authority(tmp_path_factory.mktemp("other") / "tls")
        url = f"{server.bare_url}?ssl_ca_certs={other.file('ca.pem')}"
    else:
        url = server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(url, 60, retries=0).ping()
    Publisher(url)([HINT])
    assert hints(client) == 0


@pytest.mark.parametrize("parameter", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_who_is_told_so_verifies_less(
    server: TlsServer, client: redis.Redis, parameter: str
) -> None:
    trusted = f"ssl_ca_certs={server.authority.file('ca.pem')}"
    url = f"{server.bare_url}?{trusted}&{parameter}".replace("127.0.0.1", "localhost")
    assert connect(url).ping()
    Publisher(url)([HINT])
    assert hints(client) == 1


def test_without_tls_nothing_is_added() -> None:
    assert celery_redis("redis://:pw@host:1/2") == ("redis://:pw@host:1/2", {})


def test_a_worker_takes_a_job_and_stores_its_result(
    server: TlsServer, client: redis.Redis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stage = Stage(server, tmp_path_factory.mktemp("stage"))
    try:
        worker = stage.worker().until_ready()
        assert stage.submit("works-1").fate() == "succeeded"
        assert "insecure" not in worker.words()
    finally:
        stage.close()
