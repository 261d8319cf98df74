"""What the supervisors of one worker share: ledger, engine, spool, roster."""

import os
from dataclasses import dataclass
from pathlib import Path

from app.dispatch import Publish
from app.domain.compute import ComputeResource, parse_resources
from app.ledger import Ledger, connect
from app.settings import Settings
from workers.docker_engine import DockerEngine
from workers.engine import Engine
from workers.fitness import Fitness
from workers.prepare import install_usher
from workers.roster import Roster
from workers.spool import SpoolRoot
from workers.watch import Watcher


@dataclass(frozen=True)
class Site:
    """One node as one worker process sees it."""

    settings: Settings
    ledger: Ledger
    engine: Engine
    spool_root: SpoolRoot
    node: str
    notes: tuple[str, ...]  # for an operator
    identity: str  # of this machine and its engine: two of them can't be one node
    usher: Path
    compute: dict[str, ComputeResource]
    publish: Publish
    roster: Roster
    fitness: Fitness
    watcher: Watcher


SOCKET = "unix:///var/run/docker.sock"  # docker-py's own choice


def boot_id() -> str:
    """Another one on every machine, and after every boot of it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def make_site(settings: Settings, publish: Publish) -> Site:
    """The site of a worker with these settings; makes spool root, usher and network if need be.

    Raises EngineError, Unprepared, SettingsError, ComputeError.
    """
    spool_root = SpoolRoot(settings.spool_root.resolve())
    node = spool_root.make()
    engine = DockerEngine(settings.docker_host)
    engine.ensure_network(settings.network)
    return Site(
        settings=settings,
        ledger=Ledger(connect(settings.redis_url), settings.hint_seconds),
        engine=engine,
        spool_root=spool_root,
        node=node,
        notes=tuple(engine.weaknesses()),
        identity=f"{boot_id()} {settings.docker_host or os.environ.get('DOCKER_HOST', SOCKET)}",
        usher=install_usher(spool_root.path),
        compute=parse_resources(settings.compute_toml()),
        publish=publish,
        roster=Roster(),
        fitness=Fitness(),
        watcher=Watcher(),
    )
