"""The images of a Docker engine: looked up, pulled once for all who ask, and removed again."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors

from workers import turns
from workers.docker_errors import (
    FAILURES,
    answered,
    image_error,
    passing,
    pull_error,
    timed_out,
    translated,
)
from workers.docker_form import image_of
from workers.engine import EngineError, EngineTrouble, Image, ImageError, ImagePullFailed
from workers.image_records import ImageRecords
from workers.images import Login, PulledImage, Watch
from workers.pulls import Pull, Pulls

logger = logging.getLogger(__name__)
PAUSES = (1.0, 3.0, 9.0)  # seconds, before a registry in trouble is asked again


class ImageStore:
    """The images of one engine, for all threads of this process.

    The client waits `stall_seconds` for the next word of a pull; `seconds` bounds a pull as a
    whole. `folder` is where the processes of this machine meet. Each pull is in a block of
    `timed("pull")`.
    """

    def __init__(
        self,
        api: docker.APIClient,
        stall_seconds: float,
        seconds: float,
        folder: Path | None,
        timed: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self._api = api
        self._timed = timed
        self._stall_seconds = stall_seconds
        self._records = ImageRecords(folder)
        self._pulls = Pulls(self._bring, seconds)
        self._root: str | None = None

    def image(self, ref: str, refresh: bool, watch: Watch, login: Login | None = None) -> Image:
        """See Engine. With `refresh`, one that never was in a registry stays in use as it is."""
        here = None if refresh else self._inspect(ref)
        if here is None:
            failure = self._pulls.follow(ref, refresh, watch, login)
            here = self._inspect(ref)
            if failure is not None and not _will_do(here, failure):
                raise type(failure)(str(failure))  # it may be raised in other threads as well
        if here is None:
            raise EngineTrouble(f"{ref} was pulled, and is not there")
        self._records.note_used(here["Id"])
        return image_of(here)

    def pulled(self) -> list[PulledImage]:
        """See Engine."""
        self._records.tidy()
        return self._records.all()

    def discard(self, image: PulledImage) -> bool:
        """See Engine. An image that got another name meanwhile is not ours any more, and stays."""
        with translated():
            if any(c["ImageID"] == image.id for c in self._api.containers(all=True)):
                return False
            try:
                self._remove_names(image)
            except docker.errors.APIError as error:
                if answered(error) != 409:
                    raise
                return False  # a container needs it after all
        self._records.forget(image.id)
        return self._inspect(image.id) is None

    def fullness(self) -> float | None:
        """See Engine."""
        try:
            disk = os.statvfs(self._data_root())
        except OSError:
            return None
        used = disk.f_blocks - disk.f_bfree
        return 100 * used / (used + disk.f_bavail)

    def close(self) -> None:
        """Pulls break off at their next word."""
        self._pulls.close()

    # -- pulls -------------------------------------------------------------------------------

    def _bring(self, pull: Pull) -> None:
        """Pulls, unless another process of this machine has just done it. Raises EngineError."""
        path = self._records.turn_path(pull.ref)
        with turns.turn(path, pull.wait) as turn:
            here = self._inspect(pull.ref)
            if turn.done_since(pull.asked_at) if pull.refresh else here:
                return
            pull.begin(path)
            before = self._ids()
            with self._timed("pull"):
                self._pull_patiently(pull, once=here is not None)
            turn.note_done()
            self._note_pulled(pull.ref, before)

    def _pull_patiently(self, pull: Pull, once: bool) -> None:
        """Where an image is here already, nobody shall wait for a registry in trouble."""
        logger.info("pulling %s", pull.ref)
        for pause in () if once else PAUSES:
            try:
                return self._pull(pull)
            except ImagePullFailed as failure:
                if not passing(failure):
                    raise
                logger.warning("pulling %s, again in %.0f s: %s", pull.ref, pause, failure)
            pull.pause(pause)
        return self._pull(pull)

    def _pull(self, pull: Pull) -> None:
        progress, auth = Progress(), _auth_config(pull.login)
        try:
            for line in self._api.pull(pull.ref, stream=True, decode=True, auth_config=auth):
                if "error" in line:
                    raise image_error(str(line["error"]))
                progress.heed(line)
                pull.got(progress.done_bytes, progress.known_bytes)
        except FAILURES as error:
            raise self._meaning(error) from error

    def _meaning(self, error: Exception) -> EngineError:
        if answered(error) is None and timed_out(error):
            return ImagePullFailed(f"the pull stood still for {self._stall_seconds:g} s")
        return pull_error(error)

    def _note_pulled(self, ref: str, before: set[str]) -> None:
        """An image that lay here under another name is not ours."""
        here = self._inspect(ref)
        if here and (here["Id"] not in before or self._records.has(here["Id"])):
            try:
                self._records.note_pulled(here["Id"], ref)
            except OSError as error:  # then it is never collected
                logger.warning("the pull of %s is not noted: %s", ref, error)

    # -- the engine --------------------------------------------------------------------------

    def _inspect(self, ref: str) -> Mapping[str, Any] | None:
        with translated():
            try:
                inspected: Mapping[str, Any] = self._api.inspect_image(ref)
            except docker.errors.ImageNotFound:
                return None
            except docker.errors.APIError as error:
                if answered(error) != 400:
                    raise
                raise image_error(str(error.explanation)) from error
        return inspected

    def _ids(self) -> set[str]:
        with translated():
            return set(self._api.images(quiet=True, all=True))

    def _names(self, ref: str, id: str) -> bool:
        here = self._inspect(ref)
        return here is not None and here["Id"] == id

    def _remove_names(self, image: PulledImage) -> None:
        """With its last name the engine removes an image. One without names goes by its id."""
        for ref in image.refs:
            if self._names(ref, image.id):
                self._remove(ref)
        left = self._inspect(image.id)
        if left and not left["RepoTags"]:
            self._remove(image.id)

    def _remove(self, name: str) -> None:
        with suppress(docker.errors.ImageNotFound):
            self._api.remove_image(name)

    def _data_root(self) -> str:
        if self._root is None:
            with translated():
                self._root = str(self._api.info()["DockerRootDir"])
        return self._root


class Progress:
    """What the engine's words say of a pull: the bytes of its layers, as they are downloaded.

    Of a small layer that comes at once it may say nothing.
    """

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    def heed(self, line: Mapping[str, Any]) -> None:
        """One word of the engine's."""
        layer, status = line.get("id", ""), line.get("status")
        detail = line.get("progressDetail") or {}
        if status == "Downloading" and "current" in detail:
            done = detail["current"]
            self._layers[layer] = (done, max(done, detail.get("total", 0)))
        elif status == "Extracting" and "total" in detail:
            self._layers[layer] = (detail["total"], detail["total"])
        elif status in ("Verifying Checksum", "Download complete") and layer in self._layers:
            known = self._layers[layer][1]
            self._layers[layer] = (known, known)

    @property
    def done_bytes(self) -> int:
        """That have come."""
        return sum(done for done, _ in self._layers.values())

    @property
    def known_bytes(self) -> int:
        """Of all layers that have begun."""
        return sum(known for _, known in self._layers.values())


def _auth_config(login: Login | None) -> dict[str, str] | None:
    """As docker-py takes it; None: what this machine's own config says. Raises EngineError."""
    if login is None:
        return None
    user, password = login.ask()
    return {"username": user, "password": password}


def _will_do(here: Mapping[str, Any] | None, failure: EngineError) -> bool:
    """Whether an image that is here will do although its registry did not give a newer one."""
    if here is None or not isinstance(failure, ImageError):
        return False
    # Without digests it never was in a registry: it was built or loaded on this machine.
    return isinstance(failure, ImagePullFailed) or not here.get("RepoDigests")
