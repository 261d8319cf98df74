"""An engine, scripted or real, with what its contract must know of it beside its verbs."""

import secrets
from contextlib import suppress
from typing import Any

import docker
import docker.errors

from tests.contracts.scripted_engine import Program, ScriptedEngine
from tests.images import Registry, base_image
from tests.registry import remove_images
from workers.docker_engine import DockerEngine
from workers.engine import NODE_LABEL, Container, ContainerSpec, Engine, Image, Limits, Phase
from workers.measured_engine import MeasuredEngine
from workers.tally import Tally

LINES = b"".join(b"this is line %d\n" % number for number in range(300))


def shell(script: str) -> tuple[str, ...]:
    return "/bin/sh", "-c", script


FOREVER = "echo ready; while :; do sleep 0.1; done"
ENDS = shell("exit 3")
RUNS = shell(FOREVER)
POLITE = shell(f"trap 'exit 7' TERM; {FOREVER}")
STUBBORN = shell(f"trap '' TERM; {FOREVER}")
TALKS = shell("i=0; while [ $i -lt 300 ]; do echo this is line $i; i=$((i+1)); done")
PROGRAMS = {
    ENDS: Program(exits=3),
    RUNS: Program(output=b"ready\n"),
    POLITE: Program(stops_with=7, output=b"ready\n"),
    STUBBORN: Program(stops_with=None, output=b"ready\n"),
    TALKS: Program(exits=0, output=LINES),
}


class World:
    """An engine, and what the contract must know of it beside its verbs."""

    engine: Engine
    ref: str

    def __init__(self) -> None:
        self.token = secrets.token_hex(4)
        self.node = f"contract-{self.token}"

    def name(self, which: str = "a") -> str:
        return f"onejob-contract-{self.token}-{which}"

    def spec(self, argv: tuple[str, ...] = RUNS, which: str = "a") -> ContainerSpec:
        return ContainerSpec(
            name=self.name(which),
            image=self.engine.image(self.ref, refresh=False).id,
            argv=argv,
            env={},
            labels={NODE_LABEL: self.node},
            mounts=(),
            limits=Limits(0.5, 64 * 2**20, 50, 0, 2**20),
            network="none",
            stop_signal=15,
            stop_grace_seconds=1,
        )

    def created(self, argv: tuple[str, ...] = RUNS, which: str = "a") -> Container:
        return self.engine.create(self.spec(argv, which))

    def running(self, argv: tuple[str, ...] = RUNS, which: str = "a") -> Container:
        """Started, and past the point where it has set its signal handlers."""
        made = self.created(argv, which)
        self.engine.start(made.id)
        self.await_output(made.id)
        return made

    def ended(self, argv: tuple[str, ...] = ENDS, which: str = "a") -> Container:
        made = self.created(argv, which)
        self.engine.start(made.id)
        self.await_exit(made.id)
        return made

    def found(self, which: str = "a") -> Container:
        found = self.engine.find(self.name(which))
        assert found is not None
        return found

    def printed(self, id: str, pieces: int = 10**6) -> bytes:
        """All that a container printed, or its last pieces."""
        return b"".join(piece.text for piece in self.engine.logs(id, pieces))

    def pushed(self) -> str:
        """A reference that a registry has and the engine has not."""
        raise NotImplementedError

    def await_output(self, id: str) -> None:
        raise NotImplementedError

    def await_exit(self, id: str) -> None:
        raise NotImplementedError

    def volumes(self, id: str) -> list[str]:
        raise NotImplementedError

    def has_volume(self, volume: str) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        for container in self.engine.owned(self.node):
            self.engine.remove(container.id)
        self.engine.close()


class ScriptedWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.engine: ScriptedEngine = ScriptedEngine()
        self.engine.programs = PROGRAMS
        self.ref = next(iter(self.engine.images))

    def pushed(self) -> str:
        ref = f"registry.test/{self.token}:1"
        self.engine.registry[ref] = Image(f"sha256:{self.token}", ("/app",), (), 15)
        return ref

    def await_output(self, id: str) -> None:
        assert self.engine.logs(id, 100)

    def await_exit(self, id: str) -> None:
        assert id in {c.id for c in self.engine.owned(self.node) if c.phase is Phase.EXITED}

    def volumes(self, id: str) -> list[str]:
        return sorted(self.engine.volumes)

    def has_volume(self, volume: str) -> bool:
        return volume in self.engine.volumes


class DockerWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.engine = MeasuredEngine(DockerEngine(None), Tally())  # as a worker has it
        self.ref = base_image()
        self.api: Any = docker.APIClient(timeout=100, **docker.utils.kwargs_from_env())
        self.registry: Registry | None = None

    def pushed(self) -> str:
        self.registry = Registry()
        self.registry.push(self.token, {"Entrypoint": ["/app"]}, self.token)
        return self.registry.ref(self.token)

    def await_output(self, id: str) -> None:
        assert next(self.api.logs(id, stream=True, follow=True))

    def await_exit(self, id: str) -> None:
        self.api.wait(id, timeout=100)

    def volumes(self, id: str) -> list[str]:
        return [m["Name"] for m in self.api.inspect_container(id)["Mounts"]]

    def has_volume(self, volume: str) -> bool:
        with suppress(docker.errors.NotFound):
            return bool(self.api.inspect_volume(volume))
        return False

    def close(self) -> None:
        super().close()
        if self.registry is not None:
            self.registry.close()
            remove_images(self.registry.host)
        self.api.close()
