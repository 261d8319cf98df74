"""A worker that begins now, and is the only one: what it moves on, the others need not have."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.domain.job import Hint
from tests.workers.rig import PAST, Engine, Rig
from workers.site import Site
from workers.spool import SpoolRoot
from workers.supervisor import supervise
from workers.sweep import Sweep
from workers.upkeep import Upkeep

TURNS = 20  # more than anything here takes


class Fresh:
    """A worker's sweep, its upkeep, and what their hints lead to."""

    def __init__(self, rig: Rig, site: Site | None = None) -> None:
        self.rig = rig
        self.site = replace(site or rig.site(), publish=self)
        self.sweep = Sweep(self.site, self)  # type: ignore[arg-type]
        self.upkeep = Upkeep(self.site, grace_seconds=0)
        self.hints: list[Hint] = []
        self._now = 1000.0

    def __call__(self, hints: Iterable[Hint]) -> None:
        """The publisher, which loses nothing."""
        self.hints.extend(hints)

    def to_node(self, hints: Iterable[Hint], node: str) -> None:
        """The publisher, for the node's own queue."""
        assert node == self.site.node
        self.hints.extend(hints)

    def look(self) -> None:
        """A second later, for the sweep; a minute, for the upkeep, so that all of it is due."""
        self._now += 1
        self.sweep.sweep(self._now)
        self.upkeep.step(self._now * 60)

    def turn(self) -> int:
        """Time goes by for all that waits for time, and each part does its work once.

        Returns how many hints that led to.
        """
        pass_time(self.rig)
        self.look()
        some, self.hints = self.hints, []
        for hint in some:
            supervise(self.site, hint.uid, hint.id)
        return len(some)

    def run(self) -> None:
        """Until there is nothing to do any more."""
        for _ in range(TURNS):
            if not self.turn():
                return
        raise AssertionError(f"it goes on for more than {TURNS} turns")


def pass_time(rig: Rig) -> None:
    """All leases have lapsed, and all hints are old."""
    client: Any = rig.ledger.client
    for pattern in ("onejob:node:*:leases", "onejob:due:hints:*"):
        for key in client.scan_iter(pattern):
            old = dict.fromkeys(client.zrange(key, 0, -1), PAST)
            client.zadd(key, old, xx=True)


def elsewhere(rig: Rig, folder: Path) -> Site:
    """A worker of another machine, with an engine of its own."""
    root = SpoolRoot(folder)
    node, engine = root.make(), Engine()
    engine.on_start = rig.engine.on_start
    return replace(
        rig.site(),
        node=node,
        identity="that machine",
        engine=engine,
        spool_root=root,
        usher=root.path / "node",
    )


def dump(rig: Rig) -> dict[bytes, bytes]:
    """All that is in Redis."""
    client: Any = rig.ledger.client
    return {key: client.dump(key) for key in client.scan_iter()}
