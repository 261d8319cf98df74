"""A deployment and short words for what happens to its jobs; what Redis holds, in plain sets."""

import copy
from collections.abc import Iterable
from typing import Any

import redis

from app.domain.compute import Capacity, ComputeResource, Offer
from app.domain.deployment import Deployment
from app.domain.job import Hint, Job, Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Claimed, Grip
from app.ledger.deployments import DeploymentRecord
from app.ledger.jobs import Accepted, Submission

NODE = "node1"
LEASE = 60.0
HINT_SECONDS = 600  # no test takes so long: what was just hinted at stays so


def offer_of(*names: str) -> Offer:
    """A machine with room for all, that has these compute resources."""
    return Offer(Capacity(100_000, 2**30), {name: ComputeResource() for name in names})


WIDE = offer_of("cpu")
PAST = 1_000_000_000.0
DAY = 86_400


class Stuttering(redis.Redis):
    """Sends every script twice and keeps the second answer: what a timed-out call can lead to."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Runs a command."""
        if args[0] in ("EVALSHA", "EVAL"):
            super().execute_command(*args, **options)
        return super().execute_command(*args, **options)


class Scene:
    """One deployment, driven the way the API and the workers do it."""

    def __init__(self, ledger: Ledger, name: str = "dep", **wanted: Any) -> None:
        """`wanted`: see `spec`."""
        self.ledger = ledger
        self.redis = ledger.client
        self.deployment: DeploymentRecord = ledger.deployments.create(spec(name, **wanted), "me")
        self.uid = self.deployment.uid

    def beside(self, client: redis.Redis) -> "Scene":
        """The same deployment through another client."""
        other = copy.copy(self)
        other.ledger, other.redis = Ledger(client), client
        return other

    # -- verbs -------------------------------------------------------------------------------

    def submit(self, job_id: str, body: bytes = b"body", **changes: Any) -> Accepted:
        """Accepts a job with a body."""
        upload = self.ledger.payloads.upload(b"head")
        upload.write(body)
        asked = submission(**changes)
        return self.ledger.jobs.accept(self.deployment, job_id, asked, upload)

    def claim(self, job_id: str, node: str = NODE, offer: Offer = WIDE) -> Claimed:
        """Claims, or takes over."""
        return self.ledger.attempts.claim(self.uid, job_id, node, LEASE, offer)

    def grip(self, job_id: str, node: str = NODE) -> Grip:
        """Claims, or takes over, what must be there to claim."""
        job = self.claim(job_id, node).job
        assert job is not None
        return Grip.of(job)

    def started(self, job_id: str) -> Grip:
        """Submits a job and claims it."""
        self.submit(job_id)
        return self.grip(job_id)

    def run(self, grip: Grip) -> None:
        """The request was sent."""
        fields = {"sent_at": "1700000000.000000"}
        self.ledger.attempts.advance(grip, State.STARTING, State.RUNNING, "sent", fields)

    def finish(self, grip: Grip, **fields: str | int) -> None:
        """The process exited with 0."""
        self.ledger.attempts.finish(grip, State.SUCCEEDED, Reason.EXIT_0, "exited with 0", fields)

    def end(self, grip: Grip) -> list[Hint]:
        """Finishes and releases."""
        self.finish(grip)
        return self.ledger.attempts.release(grip)

    def requeue(self, grip: Grip, counts: bool = True) -> list[Hint]:
        """The attempt is given up, and its container gone."""
        attempts = self.ledger.attempts
        attempts.abandon(grip, Reason.ENGINE_LOST, "no container", counts)
        return attempts.requeue(grip)

    def cancel(self, job_id: str) -> list[Hint]:
        """A client's cancel."""
        return self.ledger.jobs.cancel(self.uid, job_id, Reason.CANCELLED, "on request")

    def patch(self, **wanted: Any) -> list[Hint]:
        """Gives the deployment another spec (see `spec`); what is not said is the default."""
        deployments, name = self.ledger.deployments, self.deployment.name
        self.deployment, hints = deployments.change(deployments.get(name), spec(name, **wanted))
        return list(hints)

    # -- changes without a verb, and time -------------------------------------------------------

    def change(self, **fields: str | int) -> None:
        """Writes into the deployment's hash."""
        self.redis.hset(f"onejob:deployment:{self.uid}", mapping=fields)

    def outlive_ttl(self, job_id: str) -> None:
        """Moves the end of a job's TTL into the past."""
        self.redis.hset(f"onejob:job:{self.uid}:{job_id}", "expires_at", f"{PAST:.6f}")
        self.redis.zadd("onejob:due:ttl", {self.ref(job_id): PAST}, xx=True)

    def lapse(self, job_id: str, node: str = NODE) -> None:
        """Moves the end of a job's lease into the past."""
        self.redis.zadd(f"onejob:node:{node}:leases", {self.ref(job_id): PAST}, xx=True)

    # -- looks -------------------------------------------------------------------------------

    def ref(self, job_id: str) -> str:
        """The job's name among all deployments."""
        return f"{self.uid}/{job_id}"

    def job(self, job_id: str) -> Job:
        """A job's record."""
        return self.ledger.jobs.get(self.uid, job_id)

    def state(self, job_id: str) -> State:
        """A job's state."""
        return self.job(job_id).state

    def holder(self, job_id: str) -> str | None:
        """The node that holds a job's attempt, or what is left of it."""
        job = self.job(job_id)
        return job.teardown if job.state.final else job.node

    def raw(self, job_id: str) -> dict[bytes, bytes]:
        """A job's hash."""
        found: Any = self.redis.hgetall(f"onejob:job:{self.uid}:{job_id}")
        return dict(found)

    def events(self, job_id: str) -> list[str]:
        """The events of a job's timeline."""
        return [entry.event for entry in self.ledger.jobs.view(self.uid, job_id).timeline]

    def versions(self) -> set[int]:
        """The versions of the spec that are kept."""
        found: Any = self.redis.hkeys(f"onejob:deployment:{self.uid}:specs")
        return {int(version) for version in found}

    def slots(self) -> set[str]:
        """The jobs that hold a slot."""
        found: Any = self.redis.smembers(f"onejob:deployment:{self.uid}:slots")
        return {member.decode() for member in found}


def spec(
    name: str = "dep",
    cap: int = 1,
    ttl: int = 600,
    compute: str = "cpu",
    size: int = 1,
    deadline: int = 60,
    **more: Any,
) -> Deployment:
    """What a client says about a deployment."""
    return Deployment.model_validate(
        {
            "name": name,
            "containers": [{"image": "example/app:1", "exposed_port": 8080}],
            "compute": {"name": compute, "size": size},
            "scaling": {
                "max_replica_count": cap,
                "queue_message_ttl_seconds": ttl,
                "deadline_seconds": deadline,
            },
        }
        | more
    )


def submission(**changes: Any) -> Submission:
    """What a client asks for."""
    members: dict[str, Any] = {
        "method": "POST",
        "target": "/",
        "digest": "d1",
        "prefer": None,
        "queue_limit": 100_000,
        "record_retention_seconds": 30 * DAY,
        "result_retention_seconds": 7 * DAY,
    }
    return Submission(**(members | changes))


def ids(hints: Iterable[Hint]) -> list[str]:
    """The jobs that hints name, in order."""
    return [hint.id for hint in hints]


_WHERE = {
    State.QUEUED: {"queue", "ttl"},
    State.DISPATCHED: {"slots", "ttl", "hints", State.DISPATCHED},
    State.STARTING: {"slots", "leases", State.STARTING},
    State.RUNNING: {"slots", "leases", State.RUNNING},
}


def places(scene: Scene) -> dict[str, set[str]]:
    """For each job of the deployment, the sets that it stands in, whether it has a record or not.

    All leases of nodes and all dispatched jobs of compute resources count as one.
    """
    client, found = scene.redis, dict[str, set[str]]()
    refs = {
        "queue": {scene.ref(i) for i in _zset(client, f"onejob:deployment:{scene.uid}:queue")},
        "slots": {scene.ref(i) for i in scene.slots()},
        "ttl": _zset(client, "onejob:due:ttl"),
        "hints": _zset(client, *client.scan_iter("onejob:due:hints:*")),
        "leases": _zset(client, *client.scan_iter("onejob:node:*:leases")),
        "deadlines": _zset(client, "onejob:due:deadlines"),
        "retention": _zset(client, "onejob:due:retention"),
    }
    states = f"onejob:deployment:{scene.uid}:state:"
    for key in client.scan_iter(f"{states}*"):
        place = key.decode().removeprefix(states)
        refs[place] = {scene.ref(job_id) for job_id in _zset(client, key)}
    for place, members in refs.items():
        for uid, _, job_id in (ref.partition("/") for ref in members):
            if uid == scene.uid:
                found.setdefault(job_id, set()).add(place)
    return found


def expected_places(job: Job) -> set[str]:
    """The sets that a job has to stand in, by its record alone."""
    ends = {"deadlines"} if job.deadline_at else set[str]()
    if job.state.final:
        return {job.state, "retention"} | ({"slots", "leases"} | ends if job.teardown else set())
    return _WHERE[job.state] | ends


def check_places(scene: Scene) -> None:
    """Each job of the deployment stands where its state says, and nowhere else; and no other."""
    jobs = _zset(scene.redis, f"onejob:deployment:{scene.uid}:jobs")
    assert places(scene) == {job_id: expected_places(scene.job(job_id)) for job_id in jobs}


def keys_with(client: redis.Redis, word: str) -> list[str]:
    """Every key whose name has the word in it, and every key with a member that has it."""
    return sorted(key.decode() for key in client.scan_iter() if _mentions(client, key, word))


def _mentions(client: redis.Redis, key: bytes, word: str) -> bool:
    kind: Any = client.type(key)
    members: Any = []
    if kind == b"zset":
        members = client.zrange(key, 0, -1)
    elif kind == b"set":
        members = client.smembers(key)
    elif kind == b"hash" and not key.startswith(b"onejob:payload:"):
        members = [part for pair in client.hgetall(key).items() for part in pair]
    return any(word.encode() in part for part in (key, *members))


def _zset(client: redis.Redis, *names: Any) -> set[str]:
    found: set[str] = set()
    for name in names:
        members: Any = client.zrange(name, 0, -1)
        found |= {member.decode() for member in members}
    return found
