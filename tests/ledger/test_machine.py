"""Any verbs in any order, by a client that sends each once or twice: what always holds.

The cap is never exceeded; a final state is reached once and never left; every job stands in the
sets that its state says and in no others; who was replaced writes nothing; and what is left at
the end can be run to its end, and deleted without a trace.
"""

from collections import Counter
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Grip, Stale
from tests.ledger.scene import PAST, Scene, Stuttering, check_places, keys_with, offer_of
from tests.redis_server import RedisServer

JOBS = [f"j{n}" for n in range(6)]
names = st.sampled_from(JOBS)
computes = st.sampled_from(["cpu", "gpu"])
STARTED = {"started_at": "1700000000.0", "deadline_at": "1700000060.0"}


class Verbs(RuleBasedStateMachine):
    """One deployment, its API, two nodes and time."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.scene = Scene(Ledger(self.client), cap=2)
        self.cap, self.compute, self.deadline = 2, "cpu", 60
        self.held: dict[str, Grip] = {}
        self.replaced: list[Grip] = []
        self.fences: dict[tuple[str, int], int] = {}
        self.strays: dict[str, set[str]] = {}
        self.ended: dict[str, tuple[State, Any]] = {}

    # -- the API -----------------------------------------------------------------------------

    @initialize()
    def first(self) -> None:
        for name in JOBS[:3]:
            self.scene.submit(name)

    @rule(name=names)
    def submit(self, name: str) -> None:
        self.scene.submit(name)

    @rule(name=names)
    def cancel(self, name: str) -> None:
        if self.scene.raw(name):
            self.scene.cancel(name)

    @rule(state=st.sampled_from(["running", "paused"]))
    def pause_or_resume(self, state: str) -> None:
        self.scene.change(state=state)
        self.scene.ledger.jobs.admit(self.scene.uid)

    @rule(compute=computes)
    def change_compute(self, compute: str) -> None:
        self.compute = compute
        self._patch()

    @rule(cap=st.integers(1, 3))
    def change_cap(self, cap: int) -> None:
        self.cap = cap
        self._patch()

    @rule(deadline=st.integers(60, 62))
    def change_deadline(self, deadline: int) -> None:
        self.deadline = deadline
        self._patch()

    def _patch(self) -> None:
        self.scene.patch(cap=self.cap, compute=self.compute, deadline=self.deadline)

    # -- the workers -------------------------------------------------------------------------

    @rule(name=names, compute=computes)
    def claim(self, name: str, compute: str) -> None:
        slots = self._taken()
        job = self.scene.claim(name, f"{compute}-node", offer_of(compute)).job
        if job is None:
            return
        assert name not in self.held, "a good lease is respected"
        assert job.compute == compute
        assert slots <= self.cap, "nothing starts above the cap"
        assert job.fence > self.fences.get((name, job.attempt), 0), "no fence is given twice"
        self.fences[name, job.attempt] = job.fence
        self.held[name] = Grip.of(job)

    @rule(name=names)
    def take_over(self, name: str) -> None:
        if name not in self.held:
            return
        node = self.scene.job(name).node
        assert node is not None
        self.scene.lapse(name, node)
        new, old = self.scene.grip(name, node), self.held[name]
        assert (new.attempt, new.fence) == (old.attempt, old.fence + 1)
        self.fences[name, new.attempt] = new.fence
        self.replaced.append(old)
        self.held[name] = new

    @rule(name=names)
    def advance(self, name: str) -> None:
        if name not in self.held:
            return
        grip, job = self.held[name], self.scene.job(name)
        advance = self.scene.ledger.attempts.advance
        if job.state is State.STARTING and job.started_at is None:
            advance(grip, State.STARTING, State.STARTING, "started", STARTED)
        elif job.state is State.STARTING:
            advance(grip, State.STARTING, State.RUNNING, "sent", {"sent_at": "1700000001.0"})

    @rule(name=names, failed=st.booleans())
    def finish(self, name: str, failed: bool) -> None:
        if name in self.held and not self.scene.state(name).final:
            outcome = (
                (State.FAILED, Reason.SIGNALLED) if failed else (State.SUCCEEDED, Reason.EXIT_0)
            )
            self.scene.ledger.attempts.finish(self.held[name], *outcome, "ended", {})

    @rule(name=names)
    def release(self, name: str) -> None:
        if name in self.held and self.scene.state(name).final:
            self.scene.ledger.attempts.release(self.held[name])
            self.replaced.append(self.held.pop(name))

    @rule(name=names, counts=st.booleans())
    def abandon(self, name: str, counts: bool) -> None:
        if name in self.held and not self.scene.state(name).final:
            reason = Reason.ENGINE_LOST
            self.scene.ledger.attempts.abandon(self.held[name], reason, "no container", counts)

    @rule(name=names)
    def requeue(self, name: str) -> None:
        if name in self.held and self.scene.job(name).abandoned:
            self.scene.ledger.attempts.requeue(self.held[name])
            self.replaced.append(self.held.pop(name))

    @rule(name=names, may_run=st.booleans())
    def leave(self, name: str, may_run: bool) -> None:
        if name in self.held and (self.scene.state(name).final or self.scene.job(name).abandoned):
            node, grip = self.scene.holder(name), self.held.pop(name)
            assert node is not None
            self.scene.ledger.attempts.leave(grip, 10, may_run, "its engine hangs")
            self.replaced.append(grip)
            if may_run:
                self.strays.setdefault(node, set()).add(f"{name}#{grip.attempt}")

    # -- machines that are lost --------------------------------------------------------------

    @rule(compute=computes, free=st.booleans())
    def lose_node(self, compute: str, free: bool) -> None:
        node = f"{compute}-node"
        self.client.zadd("onejob:nodes", {node: PAST}, xx=True)
        lost = [name for name in self.held if self.scene.holder(name) == node]
        while self.scene.ledger.nodes.lose(node, 60, 10, free)[0]:
            pass
        for name in lost:
            grip = self.held.pop(name)
            self.replaced.append(grip)
            if not free:
                self.strays.setdefault(node, set()).add(f"{name}#{grip.attempt}")
            assert self.scene.job(name).reason is not None or self.scene.job(name).attempt > 1

    @rule(compute=computes)
    def node_comes_back(self, compute: str) -> None:
        node, nodes = f"{compute}-node", self.scene.ledger.nodes
        for stray in nodes.strays(node):
            nodes.drop_stray(node, stray, "removed")
        self.strays.pop(node, None)

    @rule(compute=computes)
    def forget_node(self, compute: str) -> None:
        node = f"{compute}-node"
        known = self.client.zscore("onejob:nodes", node) is not None
        if not known or self.scene.ledger.attempts.held(node):
            return
        self.client.zadd("onejob:nodes", {node: PAST}, xx=True)
        self.scene.ledger.nodes.forget(node)
        self.strays.pop(node, None)

    @rule()
    def deadlines_of_strays_pass(self) -> None:
        for member in self.client.zrange("onejob:due:strays", 0, -1):
            self.client.zadd("onejob:due:strays", {member: PAST})
        self.scene.ledger.nodes.free_strays()
        self.strays.clear()

    def _taken(self) -> int:
        return len(self.scene.slots()) + sum(len(some) for some in self.strays.values())

    @precondition(lambda self: self.replaced)
    @rule(data=st.data(), verb=st.sampled_from(["confirm", "advance", "finish", "let_go", "renew"]))
    def write_late(self, data: st.DataObject, verb: str) -> None:
        grip, attempts = data.draw(st.sampled_from(self.replaced)), self.scene.ledger.attempts
        node = self.scene.job(grip.id).node or "node1"
        before = self.scene.raw(grip.id)
        if verb == "let_go":
            attempts.let_go(grip, node)
        elif verb == "renew":
            attempts.renew(node, 60, [grip])
        else:
            with pytest.raises(Stale):
                self._write(verb, grip)
        assert self.scene.raw(grip.id) == before

    def _write(self, verb: str, grip: Grip) -> None:
        attempts = self.scene.ledger.attempts
        if verb == "confirm":
            attempts.confirm(grip, State.STARTING)
        elif verb == "advance":
            attempts.advance(grip, State.STARTING, State.RUNNING, "sent", {"sent_at": "9.0"})
        else:
            attempts.finish(grip, State.TIMED_OUT, Reason.DEADLINE, "late", {})

    # -- time and the sweep ------------------------------------------------------------------

    @rule()
    def purge(self) -> None:
        before = {name: self.scene.state(name) for name in JOBS if self.scene.raw(name)}
        assert self.scene.ledger.jobs.purge(self.scene.uid, limit=2) == []
        waiting = [n for n, s in before.items() if s in (State.QUEUED, State.DISPATCHED)]
        assert all(self.scene.job(name).reason is Reason.PURGED for name in waiting)

    @rule(name=names)
    def outlive_ttl(self, name: str) -> None:
        if self.scene.raw(name):
            self.scene.outlive_ttl(name)

    @rule()
    def sweep(self) -> None:
        jobs = self.scene.ledger.jobs
        while jobs.expire_due()[0]:
            pass
        jobs.forget_due()
        for compute in ("cpu", "gpu"):
            named = jobs.due_hints(compute, "celery", 5)
            assert {self.scene.state(hint.id) for hint in named} <= {State.DISPATCHED}

    # -- what always holds -------------------------------------------------------------------

    @invariant()
    def every_job_stands_where_it_should(self) -> None:
        check_places(self.scene)

    @invariant()
    def no_slot_is_free_while_a_job_waits(self) -> None:
        waiting = self.client.zcard(f"onejob:deployment:{self.scene.uid}:queue")
        running = self.client.hget(f"onejob:deployment:{self.scene.uid}", "state") == b"running"
        if waiting and running:
            assert self._taken() >= self.cap

    @invariant()
    def every_spec_that_a_job_needs_is_kept_and_no_other(self) -> None:
        used = {self.scene.job(name).version for name in self.scene.slots()}
        current = self.scene.ledger.deployments.get("dep").version
        assert self.scene.versions() == used | {current}
        paused = self.client.hget(f"onejob:deployment:{self.scene.uid}", "state") == b"paused"
        for name in self.scene.slots():
            job = self.scene.job(name)
            if job.state is State.DISPATCHED and not paused:
                spec = self.scene.ledger.deployments.spec(job.uid, job.version)
                assert spec.scaling.deadline_seconds == self.deadline

    @invariant()
    def every_stray_keeps_its_slot(self) -> None:
        raw = self.client.smembers(f"onejob:deployment:{self.scene.uid}:strays")
        kept = {member.decode() for member in raw}
        assert kept == set().union(*self.strays.values())
        assert self.client.zcard("onejob:due:strays") == len(kept)

    @invariant()
    def a_final_state_is_never_left(self) -> None:
        for name in JOBS:
            raw = self.scene.raw(name)
            if raw and State(raw[b"state"].decode()).final:
                end = (State(raw[b"state"].decode()), raw[b"finished_at"])
                assert self.ended.setdefault(name, end) == end
                finals = [event for event in self.scene.events(name) if event == end[0]]
                assert len(finals) == 1
            assert name not in self.ended or raw

    @invariant()
    def everything_is_counted_once(self) -> None:
        counts = self.scene.ledger.metrics.read(0).counts
        jobs = [self.scene.job(name) for name in JOBS if self.scene.raw(name)]
        assert counts.counter("accepted") == len(jobs)
        ends = Counter((str(job.state), str(job.reason)) for job in jobs if job.state.final)
        assert counts.labelled("ended") == ends
        views = [self.scene.ledger.jobs.view(self.scene.uid, job.id) for job in jobs]
        repeated = Counter((str(e.reason),) for view in views for e in view.earlier)
        assert counts.labelled("repeated") == repeated

    def teardown(self) -> None:
        for name, grip in self.held.items():
            if not self.scene.state(name).final:
                self.scene.finish(grip)
            self.scene.ledger.attempts.release(grip)
        for node in ("cpu-node", "gpu-node"):
            self.node_comes_back(node.removesuffix("-node"))
        self.scene.ledger.deployments.terminate("dep")
        while (answer := self.scene.ledger.deployments.shrink(self.scene.uid)) == "more":
            pass
        assert answer == "gone"
        assert keys_with(self.client, self.scene.uid) == []
        assert set(self.client.keys("*")) <= {b"onejob:nodes", b"onejob:counts"}


@pytest.mark.parametrize("kind", [redis.Redis, Stuttering], ids=["once", "each script twice"])
def test_any_order_of_verbs_keeps_the_promises(
    redis_server: RedisServer, kind: type[redis.Redis]
) -> None:
    client = kind(port=redis_server.port, socket_timeout=30)
    machine = type("Machine", (Verbs,), {"client": client})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
        ),
    )
    client.close()
