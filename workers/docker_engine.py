"""The engine's verbs on Docker. What is asked for becomes arguments in pure functions."""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.utils

from app.domain.log import Piece
from workers import docker_log, docker_network
from workers.docker_errors import answered, translated
from workers.docker_form import container_of, create_arguments, listed_container
from workers.docker_store import ImageStore
from workers.engine import (
    LIVE_RESTORE_OFF,
    NODE_LABEL,
    Container,
    ContainerSpec,
    EngineTrouble,
    EngineUnavailable,
    Image,
    Phase,
)
from workers.images import Login, PulledImage, Watch, unwatched

logger = logging.getLogger(__name__)
CALL_SECONDS = 60.0
LOOK_SECONDS = 10.0
CONNECTIONS = 64  # kept open for later calls; docker-py's default of 10 is closed and made anew
PULL_SECONDS = 1800.0
STALL_SECONDS = 300.0  # between two words of a pull, or wherever docker-py would wait for ever
# Seconds; nothing tells when a name is settled, and an engine may wait for its disk meanwhile.
NAME_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4, *[0.8] * 15)


class DockerEngine:
    """A Docker engine of this machine; see `workers.engine.Engine` for the verbs.

    `docker_host` is its address; None: DOCKER_HOST, or the socket. `call_seconds` bounds every
    call, `pull_seconds` a pull, `stall_seconds` its silence; each pull is in a block of
    `timed("pull")`. `images` is a directory for what is known of images, the same for all
    processes of a machine. Raises EngineUnavailable where no engine answers.
    """

    def __init__(
        self,
        docker_host: str | None = None,
        *,
        call_seconds: float = CALL_SECONDS,
        pull_seconds: float = PULL_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        images: Path | None = None,
        connections: int = CONNECTIONS,
        timed: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        where = {"base_url": docker_host} if docker_host else docker.utils.kwargs_from_env()
        with translated():
            self._api = _BoundedClient(
                version="auto", timeout=call_seconds, max_pool_size=connections, **where
            )
            self._api.silence_seconds = stall_seconds
            # For what is asked often, so that it is known that it hangs, and for what a job's end
            # waits for though it can do without.
            self._looks = _BoundedClient(
                version=self._api.api_version,
                timeout=min(call_seconds, LOOK_SECONDS),
                max_pool_size=connections,
                **where,
            )
        self._store = ImageStore(self._api, stall_seconds, pull_seconds, images, timed)
        self._networks: set[str] = set()

    # -- images ------------------------------------------------------------------------------

    def image(
        self, ref: str, *, refresh: bool, watch: Watch = unwatched, login: Login | None = None
    ) -> Image:
        """See Engine, and `workers.docker_store`."""
        return self._store.image(ref, refresh, watch, login)

    def pulled(self) -> list[PulledImage]:
        """See Engine."""
        return self._store.pulled()

    def discard(self, image: PulledImage) -> bool:
        """See Engine."""
        return self._store.discard(image)

    def fullness(self) -> float | None:
        """See Engine."""
        return self._store.fullness()

    # -- containers --------------------------------------------------------------------------

    def create(self, spec: ContainerSpec) -> Container:
        """See Engine."""
        arguments = create_arguments(spec)
        for pause in NAME_PAUSES:
            time.sleep(pause)
            made = self._create(arguments, spec.name) or self.find(spec.name)
            if made is not None:
                return made
        raise EngineTrouble(f"the name {spec.name} is taken by a container that is not there")

    def _create(self, arguments: dict[str, Any], name: str) -> Container | None:
        """The new container; None if there is one of this name, made now or before."""
        with translated():
            try:
                made = self._api.create_container_from_config(arguments, name)
            except docker.errors.APIError as error:
                if answered(error) != 409:
                    raise
                return None
        for warning in made.get("Warnings") or ():
            _warn(str(warning))
        return Container(made["Id"], name, Phase.CREATED)

    def start(self, id: str) -> None:
        """See Engine. A network of ours that was pruned away is made again."""
        try:
            self._start(id)
        except EngineTrouble as trouble:
            missing = re.search(r"network (\S+) not found", str(trouble))
            if missing is None or missing[1] not in self._networks:
                raise
            self.ensure_network(missing[1])
            self._start(id)

    def _start(self, id: str) -> None:
        with translated():
            self._api.start(id)

    def find(self, name: str) -> Container | None:
        """See Engine."""
        with translated():
            try:
                inspected = self._api.inspect_container(name)
            except docker.errors.NotFound:
                return None
        # The engine also takes an id, or the first digits of one, for a name.
        return container_of(inspected) if inspected["Name"] == f"/{name}" else None

    def stop(self, id: str, seconds: float) -> None:
        """See Engine. The engine counts whole seconds: they are rounded up."""
        with translated(), _gone_will_do(404):
            self._api.stop(id, timeout=max(0, math.ceil(seconds)))

    def kill(self, id: str) -> None:
        """See Engine."""
        with translated(), _gone_will_do(404, 409):
            self._api.kill(id)

    def wait(self, id: str, seconds: float) -> None:
        """See Engine."""
        with suppress(EngineUnavailable), translated(), _gone_will_do(404):
            self._api.wait(id, timeout=seconds, condition="not-running")

    def remove(self, id: str) -> None:
        """See Engine. Raises EngineTrouble if the engine could not remove all of it."""
        with translated(), _gone_will_do(404):
            try:
                self._api.remove_container(id, v=True, force=True)
            except docker.errors.APIError as error:
                if answered(error) != 409:
                    raise
                self._await_removal(id)

    def _await_removal(self, id: str) -> None:
        """Another one removes it just now."""
        self._api.wait(id, timeout=self._api.timeout, condition="removed")
        self._api.inspect_container(id)  # its NotFound is what we hope for
        raise EngineTrouble(f"container {id} is still there after its removal")

    def owned(self, node: str) -> list[Container]:
        """See Engine. `started_at` and `exit` are always None here."""
        with translated():
            listed = self._looks.containers(all=True, filters={"label": f"{NODE_LABEL}={node}"})
        return [listed_container(entry) for entry in listed]

    def logs(self, id: str, pieces: int, since: int = 0) -> list[Piece]:
        """See Engine. Raises EngineTrouble for an answer that makes no sense."""
        with translated():
            answer = self._looks.output(id, pieces, docker_log.since(since))
        try:
            return list(docker_log.pieces_of(answer))
        except ValueError as error:
            raise EngineTrouble(f"the log of container {id} can't be read: {error}") from error

    # -- the rest ----------------------------------------------------------------------------

    def weaknesses(self) -> list[str]:
        """See Engine."""
        with translated():
            restores = bool(self._api.info()["LiveRestoreEnabled"])
        return [] if restores else [LIVE_RESTORE_OFF]

    def machine(self) -> tuple[float, int]:
        """See Engine."""
        with translated():
            info = self._api.info()
        return float(info["NCPU"]), int(info["MemTotal"])

    def ensure_network(self, name: str) -> None:
        """See Engine, and `workers.docker_network` for what its containers can't reach."""
        docker_network.ensure(self._api, name)
        self._networks.add(name)

    def close(self) -> None:
        """See Engine. Pulls break off at their next word."""
        self._store.close()
        self._api.close()
        self._looks.close()


class _BoundedClient(docker.APIClient):  # type: ignore[misc]  # docker-py ships no types
    """docker-py's client, without its calls that may wait for ever (it pulls so).

    And without what it does at every call for cases that are not ours.
    """

    silence_seconds = STALL_SECONDS

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.base_url.startswith("http+docker:"):
            self.trust_env = False  # no proxy and no netrc stands before a socket file

    def output(self, container: str, tail: int, since: str) -> bytes:
        """A container's output with instants, in one call, and with the streams told apart.

        Its own `logs` joins the streams, and inspects the container before: ours have no terminal.
        """
        wanted = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": tail, "since": since}
        answer = self._get(self._url("/containers/{0}/logs", container), params=wanted)
        self._raise_for_status(answer)
        return bytes(answer.content)

    def send(self, request: Any, **options: Any) -> Any:
        """As requests' Session has it."""
        if options.get("timeout") is None:
            options["timeout"] = self.silence_seconds
        return super().send(request, **options)


@contextmanager
def _gone_will_do(*statuses: int) -> Iterator[None]:
    """For verbs that want a container stopped or gone: these answers say that it is."""
    try:
        yield
    except docker.errors.APIError as error:
        if answered(error) not in statuses:
            raise


@lru_cache(maxsize=64)
def _warn(text: str) -> None:
    """Once per process is enough."""
    logger.warning("the engine warns: %s", text)
