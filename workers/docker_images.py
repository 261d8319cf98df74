"""The engine's images: looked up, pulled and built, before any job runs.

ImagesError
|-- NoEngine     no engine answers, or not to us
|-- NotPulled    no registry gave the image
`-- NotBuilt     the build broke off
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.utils
import requests

CALL_SECONDS = 60
TAIL_LINES = 5


class ImagesError(Exception):
    """What the engine was asked for did not happen; the text is the engine's."""


class NoEngine(ImagesError):
    """No engine answers, or it does not answer us."""


class NotPulled(ImagesError):
    """No registry gave the image."""


class NotBuilt(ImagesError):
    """The build broke off."""


@dataclass(frozen=True)
class EngineSummary:
    """The engine as far as preparing needs it; `architecture` is the kernel's word (x86_64)."""

    version: str
    architecture: str
    live_restore: bool


class Images:
    """The images of one engine. `docker_host` is its address; None: DOCKER_HOST, or the socket."""

    def __init__(self, docker_host: str | None = None) -> None:
        where = {"base_url": docker_host} if docker_host else docker.utils.kwargs_from_env()
        try:
            self._api = docker.APIClient(version="auto", timeout=CALL_SECONDS, **where)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise NoEngine(str(error)) from error

    def engine(self) -> EngineSummary:
        """What engine it is. Raises NoEngine."""
        try:
            info = self._api.info()
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise NoEngine(str(error)) from error
        return EngineSummary(
            info["ServerVersion"], info["Architecture"], bool(info["LiveRestoreEnabled"])
        )

    def labels(self, tag: str) -> dict[str, str] | None:
        """The labels of a local image; None if there is no such image."""
        try:
            image = self._api.inspect_image(tag)
        except docker.errors.ImageNotFound:
            return None
        return dict(image["Config"].get("Labels") or {})

    def pull(self, tag: str) -> None:
        """Fetches an image. Raises NotPulled with the registry's words."""
        try:
            for line in self._api.pull(tag, stream=True, decode=True):
                if "error" in line:
                    raise NotPulled(line["error"])
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise NotPulled(_words(error)) from error

    def build(self, folder: Path, tag: str, base: str, labels: Mapping[str, str]) -> None:
        """Builds a folder's Dockerfile on `base` (its argument BASE), by the classic builder.

        Raises NotBuilt with the last lines of the build.
        """
        try:
            steps = self._api.build(
                path=str(folder),
                tag=tag,
                buildargs={"BASE": base},
                labels=dict(labels),
                rm=True,
                forcerm=True,
                decode=True,
            )
            _follow(steps)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise NotBuilt(_words(error)) from error

    def close(self) -> None:
        """Closes the connections."""
        self._api.close()


def _words(error: Exception) -> str:
    """The engine's own explanation, where there is one, without the request around it."""
    return str(getattr(error, "explanation", None) or error)


def _follow(steps: Iterable[Mapping[str, Any]]) -> None:
    seen: deque[str] = deque(maxlen=TAIL_LINES)
    for step in steps:
        if text := str(step.get("stream", "")).strip():
            seen.append(text)
        if "error" in step:
            raise NotBuilt("\n".join([*seen, str(step["error"]).strip()]))
