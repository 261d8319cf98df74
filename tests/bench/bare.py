"""The bare loop: the same job by docker-py calls alone. Nothing is kept, nothing is guarded."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

import docker

PORT = 8080
POLL_SECONDS = 0.005
START_SECONDS = 60.0
CALL_SECONDS = 60


@dataclass(frozen=True)
class Times:
    """When a job got so far; seconds since the epoch."""

    began: float
    response: float  # its response is there
    ended: float  # its end is known
    gone: float  # its container is gone

    def milliseconds(self) -> dict[str, float]:
        """Each step since the beginning."""
        steps = {"response": self.response, "ended": self.ended, "gone": self.gone}
        return {name: (at - self.began) * 1000 for name, at in steps.items()}


class BareLoop:
    """Runs jobs on an image and a network; each thread has a client of its own."""

    def __init__(self, image: str, network: str, docker_host: str | None = None) -> None:
        self._docker_host = docker_host
        self._image = image
        self._network = network
        self._local = threading.local()

    @property
    def _api(self) -> Any:
        if not hasattr(self._local, "api"):
            self._local.api = docker.APIClient(self._docker_host, timeout=CALL_SECONDS)
        return self._local.api

    def run_many(self, threads: int, jobs: int, target: str, body: bytes) -> tuple[float, float]:
        """So many jobs in so many threads: when it began, and when the last one was gone."""
        began = time.time()
        with ThreadPoolExecutor(threads) as pool:
            done = [pool.submit(self.run, target, body) for _ in range(jobs)]
        return began, max(one.result().gone for one in done)

    def run(self, target: str, body: bytes) -> Times:
        """One job, from create to remove."""
        api, began = self._api, time.time()
        host = api.create_host_config(network_mode=self._network)
        container = api.create_container(self._image, host_config=host)["Id"]
        try:
            api.start(container)
            address = self._address(container)
            until_healthy(address)
            post(address, target, body)
            response = time.time()
            api.wait(container)
            ended = time.time()
        finally:
            api.remove_container(container, force=True)
        return Times(began, response, ended, time.time())

    def _address(self, container: str) -> str:
        networks = self._api.inspect_container(container)["NetworkSettings"]["Networks"]
        return str(networks[self._network]["IPAddress"])


def until_healthy(address: str, pause: float = POLL_SECONDS) -> None:
    """Polls /health until it answers 200."""
    give_up = time.monotonic() + START_SECONDS
    while not _healthy(address):
        assert time.monotonic() < give_up, f"{address} did not become healthy"
        time.sleep(pause)  # the bare loop polls, as people write it


def post(address: str, target: str, body: bytes) -> bytes:
    """Sends the job, returns the whole response."""
    connection = HTTPConnection(address, PORT, timeout=CALL_SECONDS * 10)
    try:
        connection.request("POST", target, body)
        return connection.getresponse().read()
    finally:
        connection.close()


def _healthy(address: str) -> bool:
    connection = HTTPConnection(address, PORT, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
