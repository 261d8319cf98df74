"""A Docker engine for a test, what runs on it, and nothing left of it afterwards."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker

from tests.images import base_image
from workers.docker_engine import DockerEngine
from workers.engine import NODE_LABEL, Container, ContainerSpec, Limits

LIMITS = Limits(cpus=0.5, memory_bytes=64 * 2**20, pids=40, gpus=(), shm_bytes=3 * 2**20)


class Rig:
    """The engine as the worker has it, and docker-py's own client beside it."""

    def __init__(self) -> None:
        self.engine = DockerEngine(None)
        self.api: Any = docker.APIClient(timeout=100, **docker.utils.kwargs_from_env())
        self.token = secrets.token_hex(4)
        self.node = f"rig-{self.token}"
        self.image = self.engine.image(base_image(), refresh=False).id
        self._images: list[str] = []

    def spec(self, program: str, name: str = "a", **changes: Any) -> ContainerSpec:
        """A container that runs a Python program."""
        values: dict[str, Any] = {
            "name": f"onejob-{self.token}-{name}",
            "image": self.image,
            "argv": ("python3", "-uc", program),
            "env": {},
            "labels": {NODE_LABEL: self.node},
            "mounts": (),
            "limits": LIMITS,
            "network": "none",
            "stop_signal": 15,
            "stop_grace_seconds": 1,
        }
        return ContainerSpec(**(values | changes))

    def start(self, spec: ContainerSpec) -> Container:
        made = self.engine.create(spec)
        self.engine.start(made.id)
        return made

    def run(self, spec: ContainerSpec) -> Container:
        """Starts a container and waits for its end."""
        made = self.start(spec)
        self.api.wait(made.id, timeout=100)
        found = self.engine.find(spec.name)
        assert found is not None
        return found

    def printed(self, spec: ContainerSpec) -> Any:
        """What a program prints last, as JSON."""
        ended = self.run(spec)
        log = b"".join(piece.text for piece in self.engine.logs(ended.id, 10_000)).decode()
        assert log, ended
        return json.loads(log.splitlines()[-1])

    def first_line(self, container: Container) -> str:
        """Waits for what a running program prints first."""
        return bytes(next(self.api.logs(container.id, stream=True, follow=True))).decode().strip()

    def image_with(self, *changes: str) -> str:
        """The base image with other settings, in a Dockerfile's words; goes with the rig."""
        made = self.api.create_container_from_config({"Image": self.image, "Cmd": ["true"]})["Id"]
        tag = f"onejob-test-{self.token}-{len(self._images)}"
        try:
            self.api.commit(made, repository=tag, changes="\n".join(changes))
        finally:
            self.api.remove_container(made)
        self._images.append(tag)
        return tag

    def close(self) -> None:
        for container in self.engine.owned(self.node):
            self.engine.remove(container.id)
        for tag in self._images:
            self.api.remove_image(tag, force=True)
        self.engine.close()
        self.api.close()


@contextmanager
def rigged() -> Iterator[Rig]:
    """A rig for the time of a test."""
    rig = Rig()
    try:
        yield rig
    finally:
        rig.close()
