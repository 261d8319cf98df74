"""What the views work with: one set for each process."""

import threading
from dataclasses import dataclass

from flask import Flask, current_app, request

from app.api.endings import Endings
from app.api.following import Followers
from app.auth import Tokens, bearer
from app.dispatch import Prepull, Publish
from app.domain.compute import ComputeResource
from app.domain.errors import NotFound, Unauthorized
from app.domain.job import ID_PATTERN
from app.domain.members import Names
from app.domain.shared import SharedVolume
from app.ledger import Ledger
from app.ledger.deployments import DeploymentRecord
from app.ledger.guesses import Guess
from app.ledger.jobs import Submission
from app.ledger.memory import Memory
from app.ledger.secrets import Kind
from app.settings import Settings

_KEY = "onejob"


class Waiting:
    """Bounds how many threads wait for something to end: the others have to answer."""

    def __init__(self, threads: int) -> None:
        self._places = threading.BoundedSemaphore(max(1, threads // 2))
        self._held = threading.local()

    def __enter__(self) -> bool:
        """Whether this thread may wait."""
        self._held.place = self._places.acquire(blocking=False)
        return bool(self._held.place)

    def __exit__(self, *_: object) -> None:
        if self._held.place:
            self._places.release()


@dataclass(frozen=True)
class Services:
    """The parts of the house that a view may use."""

    settings: Settings
    ledger: Ledger
    memory: Memory
    publish: Publish
    prepull: Prepull
    tokens: Tokens
    waiting: Waiting
    endings: Endings
    followers: Followers
    compute: dict[str, ComputeResource]  # of the operator's file; workers tell of more: `compute`
    volumes: dict[str, SharedVolume]  # of the operator's file


def install(app: Flask, services: Services) -> None:
    """Makes the services known to the views of an app."""
    app.extensions[_KEY] = services


def services() -> Services:
    """The services of the app that handles this request."""
    found: Services = current_app.extensions[_KEY]
    return found


def client() -> str:
    """The client of the control plane that is asking. Raises Unauthorized."""
    return services().tokens.read(bearer(request.headers.get("Authorization")), "access")


def compute() -> dict[str, ComputeResource]:
    """What a deployment may ask for: the compute resources of the file and of live workers."""
    here = services()
    return here.ledger.nodes.compute() | here.compute


def names() -> Names:
    """What a deployment may refer to by name."""
    here = services()
    stored = here.ledger.secrets.names()
    return Names(
        compute=frozenset(compute()),
        secrets=stored[Kind.SECRET],
        file_secrets=stored[Kind.FILE_SECRET],
        volumes=frozenset(here.volumes),
        credentials=stored[Kind.CREDENTIALS],
    )


def client_of_job() -> None:
    """Before a route of one job. Raises Unauthorized; NotFound for an id that can be nobody's."""
    client()
    job_id = (request.view_args or {}).get("job_id", "")
    if not ID_PATTERN.fullmatch(job_id):  # it goes into the names of keys
        raise NotFound(f"no job {job_id[:200]!r}")


def access(name: str) -> DeploymentRecord | None:
    """The deployment that a request of the data plane is for, None if there is none of that name.

    Raises Unauthorized unless the request presents an inference key.
    """
    found = services().ledger.keys.access(name, _presented())
    if found.key_name is None:
        raise Unauthorized("this is not an inference key of this server")
    return found.deployment


def guess(name: str) -> Guess | None:
    """What `access` would say, as far as this process knows; to be held against the truth.

    Raises Unauthorized where the request presents nothing.
    """
    return services().ledger.keys.guess(name, _presented())


def known(deployment: DeploymentRecord | None, name: str) -> DeploymentRecord:
    """The deployment. Raises NotFound if there is none."""
    if deployment is None:
        raise NotFound(f"no deployment {name!r}")
    return deployment


def submission(method: str, target: str, digest: str, prefer: str | None) -> Submission:
    """What a client asks for, under this server's limits."""
    settings = services().settings
    return Submission(
        method=method,
        target=target,
        digest=digest,
        prefer=prefer,
        queue_limit=settings.queue_limit,
        record_retention_seconds=settings.record_retention_seconds,
        result_retention_seconds=settings.result_retention_seconds,
    )


def _presented() -> str:
    return bearer(request.headers.get("Authorization"))
