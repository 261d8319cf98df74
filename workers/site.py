"""What the supervisors of one worker share: ledger, engine, spool, roster."""

from dataclasses import dataclass
from pathlib import Path

from app.dispatch import Publish
from app.domain.compute import ComputeResource, parse_resources
from app.ledger import Ledger, connect
from app.settings import Settings
from workers.docker_engine import DockerEngine
from workers.engine import Engine
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
    usher: Path
    compute: dict[str, ComputeResource]
    publish: Publish
    roster: Roster
    watcher: Watcher


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
        usher=install_usher(spool_root.path),
        compute=parse_resources(settings.compute_toml()),
        publish=publish,
        roster=Roster(),
        watcher=Watcher(),
    )
