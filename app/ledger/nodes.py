"""Nodes: the machines that run replicas, what they offer, and what follows if one is lost."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from app.domain.compute import ComputeResource
from app.domain.errors import Conflict, NotFound
from app.domain.job import Hint
from app.ledger import keys, records
from app.ledger.verbs import Verbs

SILENT_SECONDS = 15.0  # a node that was not heard of for longer offers nothing
NODE_PATTERN = re.compile(r"[0-9a-f]{16}", re.ASCII)  # a node's id
_STRAY = re.compile(r"([^/]+)/(.+)#([0-9]+)")


class NodeTaken(Exception):
    """Another machine gave a sign of life under this node's id."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A replica that a lost node may still run."""

    uid: str
    id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as an operator sees it."""

    id: str
    silent_seconds: float  # since its last sign of life
    attempts: int  # that it supervises or tears down
    strays: int  # slots that wait for it
    info: dict[str, Any]
    draining: bool = False  # it takes no new jobs, as its operator says

    @property
    def takes_jobs(self) -> bool:
        """Whether it would take a job now, if it is alive."""
        return not self.draining and not self.info.get("problems")

    @property
    def empty(self) -> bool:
        """Whether nothing of any job is there."""
        return not self.attempts and not self.strays


class Nodes:
    """All nodes that announced themselves and were not forgotten."""

    def __init__(
        self, client: redis.Redis, verbs: Verbs, silent_seconds: float = SILENT_SECONDS
    ) -> None:
        self._client = client
        self._verbs = verbs
        self.silent_seconds = silent_seconds

    def announce(
        self, node: str, info: dict[str, Any], identity: str = "", process: str = ""
    ) -> bool:
        """A sign of life of one of a node's worker processes, each with a name of its own.

        `info` is what it offers (`compute`: name → resource), `problems` for which it takes no
        jobs, and `notes`. `identity` is its machine's and its engine's: two of them can't have
        one id. Returns whether the node is draining. Raises NodeTaken.
        """
        text = json.dumps(info)
        answer = self._verbs("announce", node, text, identity, self.silent_seconds, process)
        if answer == b"taken":
            raise NodeTaken(_taken(node))
        return bool(answer == b"draining")

    def drain(self, node: str, draining: bool = True) -> None:
        """Has a node take no new jobs, or take them again; what it runs goes on. NotFound."""
        if self._verbs("set_draining", node, "yes" if draining else "no") == b"missing":
            raise NotFound(f"no node {node!r}")

    def check(self, node: str, identity: str) -> None:
        """Raises NodeTaken where `announce` would. Changes nothing."""
        known: Any = self._client.hget(keys.node(node), "identity")
        silent = [view.silent_seconds for view in self.all() if view.id == node]
        alive = min(silent, default=1e9) < self.silent_seconds
        if alive and known not in (None, b"", identity.encode()):
            raise NodeTaken(_taken(node))

    def alive(self) -> list[dict[str, Any]]:
        """What the nodes offer that gave a sign of life lately, by Redis's clock."""
        return [node.info for node in self.all() if node.silent_seconds <= self.silent_seconds]

    def offering(self, compute: str) -> list[str]:
        """The ids of the nodes that are alive and have a compute resource."""
        return [
            node.id
            for node in self.all()
            if node.silent_seconds <= self.silent_seconds
            and compute in node.info.get("compute", {})
        ]

    def compute(self) -> dict[str, ComputeResource]:
        """The compute resources of the nodes that are alive, by name."""
        return {
            name: ComputeResource.model_validate(resource)
            for info in self.alive()
            for name, resource in info.get("compute", {}).items()
        }

    def all(self) -> list[NodeView]:
        """Every node, the one heard of last first."""
        clock: Any = self._client.time()
        signs: Any = self._client.zrange(keys.nodes(), 0, -1, desc=True, withscores=True)
        with self._client.pipeline(transaction=False) as pipe:
            for raw, _ in signs:
                node = records.text(raw)
                pipe.hgetall(keys.node(node))
                pipe.zcard(keys.leases(node))
                pipe.scard(keys.node_strays(node))
            answers = pipe.execute()
        now = clock[0] + clock[1] / 1e6
        return [
            NodeView(
                id=records.text(raw),
                silent_seconds=now - seen,
                attempts=attempts,
                strays=strays,
                info=announced(said),
                draining=b"draining" in said,
            )
            for (raw, seen), said, attempts, strays in zip(
                signs, answers[::3], answers[1::3], answers[2::3], strict=True
            )
        ]

    # -- nodes that are lost -------------------------------------------------------------------

    def lose(
        self, node: str, timeout_seconds: float, grace_seconds: float, free_slots: bool
    ) -> tuple[bool, list[Hint]]:
        """Ends a bounded part of what a node held, if it has been silent for that long.

        Says whether there may be more, and who got a slot. Slots that the node's replicas may
        still need stay taken, unless `free_slots`.
        """
        slots = "freed" if free_slots else "kept"
        more, flat = self._verbs("lose_node", node, timeout_seconds, grace_seconds, slots, 100)
        return bool(more), records.hints(flat)

    def free_strays(self) -> tuple[bool, list[Hint]]:
        """Frees slots of strays whose deadline has passed; says whether there may be more."""
        more, flat = self._verbs("free_strays", 100)
        return bool(more), records.hints(flat)

    def strays(self, node: str) -> list[Stray]:
        """The replicas that a node may still run though their jobs were taken from it."""
        raw: Any = self._client.smembers(keys.node_strays(node))
        found = (_STRAY.fullmatch(records.text(ref)) for ref in raw)
        return [Stray(m[1], m[2], int(m[3])) for m in found if m]

    def drop_stray(self, node: str, stray: Stray, found: str) -> list[Hint]:
        """Frees the slot of a stray that is gone for certain. `found` goes into the timeline."""
        flat = self._verbs("drop_stray", node, stray.uid, stray.id, stray.attempt, found)
        return records.admitted(stray.uid, flat)

    def forget(self, node: str) -> list[Hint]:
        """Forgets a node that runs nothing, as its operator says, and frees the slots it kept.

        What it holds must have been lost before: see `lose`. Raises NotFound; Conflict if it is
        alive, or holds attempts still.
        """
        if self._client.zscore(keys.nodes(), node) is None:
            raise NotFound(f"no node {node!r}")
        verdict, hints = b"more", list[Hint]()
        while verdict == b"more":
            verdict, flat = self._verbs("forget_node", node, self.silent_seconds, 100)
            hints += records.hints(flat)
        if verdict == b"alive":
            raise Conflict(
                f"node {node!r} gave a sign of life less than "
                f"{self.silent_seconds:g} s ago: stop its workers first"
            )
        if verdict == b"holds":
            raise Conflict(f"node {node!r} still holds attempts")
        return hints


def announced(said: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What a node offers, by what its worker processes said (its hash).

    It takes jobs if one of them does.
    """
    infos = [json.loads(said[name]) for name in sorted(said) if name.startswith(b"info:")]
    found: dict[str, Any] = {"compute": {}}
    for info in infos:
        found |= info | {"compute": found["compute"] | info.get("compute", {})}
    found["live_restore"] = all(info.get("live_restore", True) for info in infos)
    problems, notes = _all(infos, "problems"), _all(infos, "notes")
    if problems and not all(info.get("problems") for info in infos):
        notes += [f"not all of its workers take jobs: {problem}" for problem in problems]
        problems = []
    return found | {"problems": problems, "notes": notes}


def _all(infos: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    """Each entry of a list of all of them, once."""
    return list(dict.fromkeys(entry for info in infos for entry in info.get(name, ())))


def _taken(node: str) -> str:
    return f"another machine that is alive has the node id {node}: was this spool root copied?"
