"""Answers that wait for the end of their job: `Prefer: wait=N` and `respond-async-container`.

Our server holds the connection of such a request without a thread, and asks for its answer again
once the job is over or the time is up. Under another server the thread waits, if one may.
"""

import socket
from concurrent.futures import wait
from typing import Any

import redis
from flask import Blueprint, Response, request

from app.api import errors
from app.api.endings import Ending
from app.api.results import acceptance, outcome
from app.api.services import services
from app.domain.errors import NotFound

blueprint = Blueprint("holding", __name__)
LOOK_SECONDS = 1.0  # at the client, whether it is still there


@blueprint.before_app_request
def resume() -> Response | None:
    """Answers a request that was held; leaves all others."""
    body: Any = request.environ["wsgi.input"]
    return _answer(body.held) if getattr(body, "resumed", False) else None


def hold(deployment: str, uid: str, job_id: str, seconds: float) -> Response:
    """The result of a job that ends in this time, else the usual answer."""
    body: Any = request.environ["wsgi.input"]
    ending = services().endings.wait_for(deployment, uid, job_id, seconds)
    if hasattr(body, "held"):
        body.held = ending  # the server takes it from here; without a place it sends this
        return acceptance(deployment, job_id)
    _wait(ending)
    return _answer(ending)


def _answer(ending: Ending) -> Response:
    usual = acceptance(ending.deployment, ending.job_id)
    if not ending.came:
        return usual
    try:
        return outcome(services().ledger.jobs.get(ending.uid, ending.job_id))
    except NotFound:
        message = "the job has gone with its deployment"
        gone = errors.answer("cancelled", message, 410)
        gone.headers["X-Inference-Id"] = ending.job_id
        return gone
    except redis.RedisError:
        return usual  # the job was accepted: an error would say that it was not


def _wait(ending: Ending) -> None:
    with services().waiting as may_wait:
        # Without other threads nobody would be answered meanwhile.
        while may_wait and request.environ["wsgi.multithread"] and not ending.done():
            wait([ending], LOOK_SECONDS)
            if _has_hung_up(request.environ.get("gunicorn.socket")):
                break
    ending.cancel()


def _has_hung_up(client: Any) -> bool:
    if client is None:
        return False
    try:
        return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
