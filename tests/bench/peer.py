"""The peer: the Celery task that an afternoon gives, with Celery's defaults.

`celery -A tests.bench.peer worker`; BENCH_REDIS_URL is broker and result backend.
"""

import os
import time
from typing import Any

import docker
import requests
from celery import Celery

URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/1")
POLL_SECONDS = 0.1
START_SECONDS = 60

app = Celery("peer", broker=URL, backend=URL)


@app.task  # type: ignore[untyped-decorator]
def run_container(image: str, network: str, target: str, body: str) -> dict[str, Any]:
    """Runs a container, hands it one request, and returns the response and when it came."""
    container = docker.from_env().containers.run(image, detach=True, network=network)
    try:
        container.reload()
        address = container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
        url = f"http://{address}:8080"
        _until_healthy(f"{url}/health")
        response = requests.post(f"{url}{target}", data=body, timeout=600)
        response_at = time.time()
        container.wait()
    finally:
        container.remove(force=True)
    return {"body": response.text, "response_at": response_at, "gone_at": time.time()}


def _until_healthy(url: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(POLL_SECONDS)
    raise TimeoutError(url)
