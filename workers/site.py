"""What the supervisors of one worker share: ledger, engine, spool, roster."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.dispatch import Publish, Publisher
from app.domain.compute import ComputeResource, Offer, parse_resources
from app.domain.shared import SharedVolume, parse_volumes
from app.ledger import Ledger, connect
from app.settings import Settings
from workers.docker_engine import DockerEngine
from workers.engine import Engine
from workers.fitness import Fitness
from workers.measured_engine import MeasuredEngine
from workers.prepare import install_usher
from workers.room import Room, capacity, shortages
from workers.roster import Roster
from workers.secret_files import SecretRoot
from workers.spool import SpoolRoot
from workers.tally import Tally
from workers.watch import Watcher


@dataclass(frozen=True)
class Site:
    """One node as one worker process sees it."""

    settings: Settings
    ledger: Ledger
    engine: Engine
    spool_root: SpoolRoot
    secret_root: SecretRoot
    node: str
    notes: tuple[str, ...]  # for an operator
    identity: str  # of this machine and its engine: two of them can't be one node
    usher: Path
    room: Room
    publish: Publish
    roster: Roster
    fitness: Fitness
    watcher: Watcher
    volumes: Mapping[str, SharedVolume] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    @property
    def compute(self) -> Mapping[str, ComputeResource]:
        """The compute resources of this machine, by name."""
        return self.room.offer.compute

    def room_freed(self) -> None:
        """A replica of ours is gone; who waits for its room is told, if jobs may be taken now."""
        if self.fitness.fit:
            self.room.freed()


SOCKET = "unix:///var/run/docker.sock"  # docker-py's own choice


def boot_id() -> str:
    """Another one on every machine, and after every boot of it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def make_site(settings: Settings, publisher: Publisher) -> Site:
    """The site of a worker with these settings; makes spool root, usher and network if need be.

    Raises EngineError, Unprepared, SettingsError, ComputeError, VolumesError.
    """
    spool_root = SpoolRoot(settings.spool_root.resolve())
    node = spool_root.make()
    tally = Tally()
    docker = DockerEngine(
        settings.docker_host,
        pull_seconds=settings.pull_seconds,
        stall_seconds=settings.pull_stall_seconds,
        images=spool_root.images,
        timed=tally.timed,
    )
    engine = MeasuredEngine(docker, tally)
    engine.ensure_network(settings.network)
    ledger = Ledger(connect(settings.redis_url), settings.hint_seconds, settings.secrets_key)
    offer = Offer(capacity(settings, engine), parse_resources(settings.compute_toml()))
    return Site(
        settings=settings,
        ledger=ledger,
        engine=engine,
        spool_root=spool_root,
        # Without links: the engine mounts what is checked.
        secret_root=SecretRoot(settings.secrets_root.resolve() / node),
        node=node,
        notes=(*engine.weaknesses(), *shortages(offer)),
        identity=f"{boot_id()} {settings.docker_host or os.environ.get('DOCKER_HOST', SOCKET)}",
        usher=install_usher(spool_root.path),
        room=Room(ledger.attempts, node, offer, publisher.to_node),
        publish=publisher,
        roster=Roster(),
        fitness=Fitness(),
        watcher=Watcher(),
        volumes=parse_volumes(settings.volumes_toml()),
        tally=tally,
    )
