"""/<deployment>/<path>: any request becomes a job.

These requests are taken before Flask routes them: the path is the app's business, not ours, so it
is neither decoded nor merged nor redirected. It is read from the raw request line.
"""

import hashlib
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis
from flask import Blueprint, Response, jsonify, request

from app.api.answers import DeploymentHealthOut, Error
from app.api.bodies import inference_id, pieces
from app.api.entries import ANY, Entry, Parameter, Reply, beyond_routing
from app.api.holding import hold
from app.api.parts import ID
from app.api.prefer import Preferences
from app.api.results import ACCEPTED, RESULTS, acceptance
from app.api.services import Services, access, guess, known, services, submission
from app.domain.deployment import RESERVED_NAMES
from app.domain.errors import MethodNotAllowed, NotFound, OnejobError, ServiceUnavailable
from app.domain.transport import RequestHead, forwarded
from app.ledger.deployments import DeploymentRecord
from app.ledger.guesses import Guess, Outdated
from app.ledger.jobs import Submission, id_taken
from app.ledger.payloads import CHUNK_BYTES, Upload

blueprint = Blueprint("data_plane", __name__)
METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")  # RFC 9112, section 3.2.2


@dataclass(frozen=True, slots=True)
class Parcel:
    """A request to a deployment, read and ready to be accepted."""

    job_id: str
    prefer: Preferences
    submission: Submission
    upload: Upload


@blueprint.before_app_request
def take() -> Response | None:
    """Takes what is a deployment's; leaves the rest to the routes."""
    name, target = split_target(request.environ["RAW_URI"])
    if not name or name in RESERVED_NAMES:
        return None
    assumed = guess(name)
    if assumed is None or not _is_small_submit(assumed.deployment, target) or _refusal():
        return _looked_up(name, target)
    parcel = _pack_on_a_guess(name, target)
    try:
        return _submit(assumed.deployment, parcel, assumed)  # the one round trip
    except Outdated:
        return _looked_up(name, target, parcel)


def split_target(uri: str) -> tuple[str, str]:
    """A raw request target's first segment, and the raw target that remains behind it.

    The first is empty where there is none: `/`, `//x`, `*`, `host:port`.
    """
    if absolute := _ORIGIN.match(uri):
        uri = uri[absolute.end() :]
    path, mark, query = uri.partition("?")
    first, _, rest = path.removeprefix("/").partition("/")
    return first if path.startswith("/") else "", f"/{rest}{mark}{query}"


def _is_health_check(deployment: DeploymentRecord, target: str) -> bool:
    check = deployment.spec.containers[0].healthcheck
    return check.enabled and target.partition("?")[0] == check.path.partition("?")[0]


def _health(deployment: DeploymentRecord) -> Response:
    running = deployment.state == "running"
    response = jsonify(status="ok" if running else deployment.state)
    response.status_code = 200 if running else 503
    return response


def _is_small_submit(deployment: DeploymentRecord, target: str) -> bool:
    """Whether this is a submit, and one of which nothing is stored before it is accepted."""
    if request.method not in METHODS or "HTTP_TRANSFER_ENCODING" in request.environ:
        return False
    if request.method == "GET" and _is_health_check(deployment, target):
        return False
    return (request.content_length or 0) < CHUNK_BYTES


def _looked_up(name: str, target: str, parcel: Parcel | None = None) -> Response:
    deployment = access(name)
    if request.method not in METHODS:
        raise MethodNotAllowed(f"{request.method} makes no job; {', '.join(METHODS)} do", METHODS)
    deployment = known(deployment, name)
    if request.method == "GET" and _is_health_check(deployment, target):
        return _health(deployment)
    if parcel is None and (refusal := _refusal()):
        return _repeated(deployment, target, refusal)
    return _submit(deployment, parcel or _pack(target))


def _refusal() -> ServiceUnavailable | None:
    """Why no new work is taken; None if it is."""
    try:
        services().memory.check_room()
    except ServiceUnavailable as refusal:
        return refusal
    return None


def _repeated(deployment: DeploymentRecord, target: str, refusal: ServiceUnavailable) -> Response:
    """The answer to a request that was accepted before: it needs no room. Raises `refusal` else."""
    here, job_id = services(), inference_id()
    try:
        job = here.ledger.jobs.get(deployment.uid, job_id or "")
    except NotFound:
        raise refusal from None
    if _read_body(here, target, lambda _: None) != job.digest:
        raise id_taken(deployment.name, job.id)
    return _accepted(deployment, job.id, Preferences.of(_headers()))


def _pack_on_a_guess(name: str, target: str) -> Parcel:
    try:
        return _pack(target)
    except OnejobError:
        known(access(name), name)  # whoever may not ask is told that, and nothing else
        raise


def _pack(target: str) -> Parcel:
    """Reads the request; full chunks of its body are stored. Raises OnejobError."""
    here, job_id = services(), inference_id() or str(uuid.uuid4())
    headers = _headers()
    prefer = Preferences.of(headers)
    head = RequestHead(request.method, target, forwarded(headers, prefer.for_app, job_id))
    upload = here.ledger.payloads.upload(head.to_bytes())
    try:
        digest = _read_body(here, target, upload.write)
    except OnejobError:
        with suppress(redis.RedisError):  # it also goes by itself
            upload.discard()
        raise
    asked = "respond-async-proxy" if prefer.no_response else None
    return Parcel(job_id, prefer, submission(request.method, target, digest, asked), upload)


def _headers() -> list[tuple[str, str]]:
    """The request's headers as they came; under another server than ours, as WSGI has them."""
    body: Any = request.environ["wsgi.input"]
    return getattr(body, "wire_headers", None) or list(request.headers)


def _submit(deployment: DeploymentRecord, parcel: Parcel, assumed: Guess | None = None) -> Response:
    # Where this fails for want of an answer, the job may be accepted all the same: what was
    # stored stays, and goes by itself if it was not.
    here = services()
    accepted = here.ledger.jobs.accept(
        deployment, parcel.job_id, parcel.submission, parcel.upload, assumed
    )
    here.publish(accepted.hints)
    return _accepted(deployment, parcel.job_id, parcel.prefer)


def _accepted(deployment: DeploymentRecord, job_id: str, prefer: Preferences) -> Response:
    """The answer to an accepted request: where its result will be, or the result itself."""
    seconds = prefer.held_seconds(services().settings.hold_seconds)
    if seconds:
        return hold(deployment.name, deployment.uid, job_id, seconds)
    return acceptance(deployment.name, job_id, prefer.no_response)


def _read_body(here: Services, target: str, keep: Callable[[bytes], None]) -> str:
    """Reads the body, piece by piece. Returns the digest of method, target and body."""
    digest = hashlib.sha256(f"{request.method} {target}\n".encode("latin-1"))
    for piece in pieces(here.settings.request_limit_bytes):
        digest.update(piece)
        keep(piece)
    return digest.hexdigest()


_HEADERS = (
    Parameter("X-Inference-Id", "header", ID, "The job's id, if the client chooses it."),
    Parameter(
        "Prefer",
        "header",
        {"type": "string", "examples": ["respond-async", "wait=60", "respond-async-proxy"]},
        "`wait=N` and `respond-async-container` wait for the result; any other word is the app's.",
    ),
)
_HEALTH = "On the path of the health check: of the deployment. "


def _submit_entry(method: str) -> Entry:
    answers = {**RESULTS, 202: ACCEPTED}
    if method == "GET":
        answers[200] = Reply(_HEALTH + RESULTS[200].text, {}, ANY)
        answers[503] = Reply(_HEALTH, DeploymentHealthOut | Error)
    return Entry(
        answers,
        # OpenAPI has no bodies for these two; here they may have one.
        body=None if method in ("GET", "DELETE") else {},
        media=(ANY,),
        parameters=_HEADERS,
        errors=(404, 409, 413, 429),
        access="key",
    )


def _any_request() -> None:
    """Submits a job.

    The app gets this request: method, path, query, headers and body, byte for byte. The same id
    with the same request is the same job, and with another request a conflict.
    """


for _method in METHODS:
    for _path in ("/{deployment}", "/{deployment}/{path}"):
        beyond_routing(_path, _method.lower(), _any_request, _submit_entry(_method))
