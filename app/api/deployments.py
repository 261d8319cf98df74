"""/v1/job-deployments: what may be run, and how much of it."""

import time
from contextlib import suppress
from typing import Any

import redis
from flask import Blueprint, Response, jsonify

from app.api import answers, schemas
from app.api.bodies import json_object, timeout_ms
from app.api.entries import Change, Reply, entry
from app.api.parts import timeout
from app.api.services import client, names, services
from app.domain.deployment import Deployment, Scaling
from app.domain.errors import Conflict
from app.domain.members import Names
from app.ledger.deployments import DeploymentRecord, Overtaken

blueprint = Blueprint("deployments", __name__, url_prefix="/v1/job-deployments")
DELETE_TIMEOUT_MS = 60_000
POLL_SECONDS = 0.1
_WHOLE = Reply("All of it.", answers.DeploymentOut)
_DONE = Reply("It is done.")
CHANGE_TRIES = 10  # others may change it between our look and our change


@blueprint.before_request
def _authenticate() -> None:
    client()


@blueprint.get("")
@entry({200: Reply("All of them.", list[answers.SummaryOut])})
def index() -> Response:
    """All deployments, oldest first."""
    records = services().ledger.deployments.list()
    return jsonify([schemas.summary_out(record) for record in records])


@blueprint.post("")
@entry({201: _WHOLE}, body=Deployment, errors=(409,))
def create() -> tuple[Response, int]:
    """A new deployment; all of it comes back."""
    here = services()
    spec = schemas.read_deployment(json_object("a deployment"), names())
    record = here.ledger.deployments.create(spec, client())
    _prepull(record)
    return jsonify(schemas.deployment_out(record, here.settings.public_url)), 201


@blueprint.get("/<name>")
@entry({200: _WHOLE}, errors=(404,))
def show(name: str) -> Response:
    """One deployment."""
    here = services()
    record = here.ledger.deployments.get(name)
    return jsonify(schemas.deployment_out(record, here.settings.public_url))


@blueprint.patch("/<name>")
@entry({200: _WHOLE}, body=Change(Deployment), errors=(404, 409))
def change(name: str) -> Response:
    """Changes what is sent, and keeps the rest; all of it comes back.

    Jobs that have started keep what they started with.
    """
    body, known = json_object("what is to change"), names()
    for _ in range(CHANGE_TRIES):
        with suppress(Overtaken):
            record = _change(name, body, known)
            return jsonify(schemas.deployment_out(record, services().settings.public_url))
    raise Conflict(f"deployment {name!r} is being changed by others all the time; try again")


@blueprint.get("/<name>/scaling")
@entry({200: Reply("The numbers.", Scaling)}, errors=(404,))
def scaling(name: str) -> Response:
    """Its three scaling numbers."""
    return jsonify(services().ledger.deployments.get(name).spec.scaling.model_dump())


@blueprint.get("/<name>/status")
@entry({200: Reply("In a word.", answers.StatusOut)}, errors=(404,))
def status(name: str) -> Response:
    """Whether it is running, paused or terminating."""
    return jsonify(status=services().ledger.deployments.get(name).state)


@blueprint.post("/<name>/pause")
@entry({201: _DONE}, errors=(404, 409))
def pause(name: str) -> tuple[str, int]:
    """Starts no more of its jobs; they are accepted and wait."""
    here = services()
    here.ledger.deployments.pause(here.ledger.deployments.get(name).uid)
    return "", 201


@blueprint.post("/<name>/resume")
@entry({201: _DONE}, errors=(404, 409))
def resume(name: str) -> tuple[str, int]:
    """Starts its jobs again."""
    here = services()
    here.publish(here.ledger.deployments.resume(here.ledger.deployments.get(name).uid))
    return "", 201


@blueprint.post("/<name>/purge-queue")
@entry({201: _DONE}, errors=(404, 409))
def purge_queue(name: str) -> tuple[str, int]:
    """Cancels all of its jobs that wait; what has started goes on."""
    here = services()
    here.publish(here.ledger.jobs.purge(here.ledger.deployments.get(name).uid))
    return "", 201


@blueprint.delete("/<name>")
@entry(
    {200: Reply("How far it is.", answers.DeletedOut)},
    parameters=(timeout("Milliseconds to wait for its end; 60000 if it is left out."),),
    errors=(404,),
)
def delete(name: str) -> Response:
    """Cancels what waits, stops what runs, and forgets the deployment when nothing is left.

    Answers when it is gone, or after `timeout` milliseconds: the deletion then goes on.
    """
    give_up = time.monotonic() + timeout_ms(DELETE_TIMEOUT_MS) / 1000
    record = services().ledger.deployments.terminate(name)
    with services().waiting as may_wait:
        while not (gone := _shrink(record.uid, give_up)) and time.monotonic() < give_up:
            if not may_wait:
                break
            time.sleep(POLL_SECONDS)  # replicas end on other machines
    return jsonify(name=name, status="deleted" if gone else "terminating")


def _prepull(record: DeploymentRecord) -> None:
    """Has the image pulled where its jobs can run, if the operator wishes so."""
    here = services()
    if not here.settings.prepull:
        return
    with suppress(redis.RedisError):  # the deployment is made: its first job pulls
        nodes = here.ledger.nodes.offering(record.spec.compute.name)
        here.prepull(record.name, record.uid, record.version, nodes)


def _change(name: str, body: dict[str, Any], known: Names) -> DeploymentRecord:
    here = services()
    base = here.ledger.deployments.get(name)
    spec = schemas.read_change(base.spec, body, known)
    record, hints = here.ledger.deployments.change(base, spec)
    here.publish(hints)
    if spec.containers[0].image != base.spec.containers[0].image:
        _prepull(record)
    return record


def _shrink(uid: str, give_up: float) -> bool:
    """Deletes as far as it goes in the time there is: a long queue takes many steps."""
    deployments = services().ledger.deployments
    answer = deployments.shrink(uid)
    while answer == "more" and time.monotonic() < give_up:
        answer = deployments.shrink(uid)
    return answer == "gone"
