"""All talk to Redis over TLS, with a password from a file, and show certificates of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.ledger import connect
from tests.conftest import engine_answers, require
from tests.e2e.house import House, HouseStack, until
from tests.e2e.test_flower import ask, task, until_it_knows_the_worker
from tests.tls import MutualTlsServer, require_tls

pytestmark = pytest.mark.docker


class TlsStack(HouseStack):
    """On a Redis that lets nobody in without TLS, a certificate and its password."""

    @property
    def redis_url(self) -> str:
        """Of the server."""
        return self.server.url

    def start_redis(self) -> None:
        """Starts it, and writes its URL down."""
        self.server = MutualTlsServer.start(self.layout.data / "redis")
        self._url_file.touch(mode=0o600)
        self._url_file.write_text(self.redis_url + "\n")

    def environ(self) -> dict[str, str]:
        """The URL has the password: it stands in no environment."""
        given = super().environ()
        del given["ONEJOB_REDIS_URL"]
        return given | {"ONEJOB_REDIS_URL_FILE": str(self._url_file)}

    def stop(self, told: Callable[[str], None]) -> None:
        """As ever."""
        super().stop(told)
        self.server.stop()

    @property
    def _url_file(self) -> Path:
        return self.layout.data / "redis-url"


class TlsHouse(House):
    """A house on such a Redis."""

    stack_class = TlsStack
    stack: TlsStack


@pytest.fixture(scope="module")
def tls_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsHouse]:
    """With Flower."""
    require(engine_answers(), "no Docker engine answers")
    require_tls()
    house = TlsHouse(tmp_path_factory.mktemp("tls"), stop_grace_seconds=2)
    try:
        house.start()
        house.stack.start_flower()
        until_it_knows_the_worker(house)
        yield house
        house.until_nothing_is_left()
    finally:
        house.stop()


def succeeds(house: TlsHouse, name: str) -> str:
    """Deploys, and runs a job to its good end; its id."""
    house.deploy(name, "c = take_job(); c.sendall(OK)\n")
    job_id = house.faces.submit(name)
    assert house.finished(name, job_id)["State"] == "succeeded"
    assert house.faces.result(name, job_id).body == b"ok"
    return job_id


def test_a_job_runs_and_flower_and_the_result_backend_know_it(tls_house: TlsHouse) -> None:
    job_id = succeeds(tls_house, "sealed")
    assert task(tls_house, "sealed", job_id, "SUCCESS")["name"] == "onejob.run"
    client = connect(tls_house.stack.redis_url)
    until(lambda: client.exists(f"celery-task-meta-sealed.{job_id}"))
    client.close()


def test_flower_asks_redis_for_the_queues_itself(tls_house: TlsHouse) -> None:
    empty = {"name": "compute.cpu", "messages": 0}
    until(lambda: empty in ask(tls_house, "/api/queues/length")["active_queues"])


def test_after_a_restart_of_redis_they_are_back(tls_house: TlsHouse) -> None:
    tls_house.stack.server.kill()
    tls_house.stack.server.restart()
    succeeds(tls_house, "again")


def test_nobody_was_told_the_password(tls_house: TlsHouse) -> None:
    for name in ("api", "worker", "flower"):
        child = tls_house.child(name)
        environ = Path(f"/proc/{child.pid}/environ").read_text()
        assert "ONEJOB_REDIS_URL_FILE=" in environ
        for text in (environ, child.log.read_text(errors="replace")):
            assert "rediss://:" not in text.replace("rediss://:**@", "")
