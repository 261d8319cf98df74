"""Every Redis key, one place. Lua reads the same table: see `lua_table`.

Single values hold what is said beside them; `ref` is `<deployment uid>/<job id>`.
All keys live on one Redis (no cluster): scripts derive the keys of the job they pop.
"""

from typing import Final

PREFIX: Final = "onejob:"

_TEMPLATES: Final = {
    # deployments
    "deployments": "deployments",  # hash: name → uid
    "deployment": "deployment:%s",  # hash of one deployment, by uid
    "specs": "deployment:%s:specs",  # hash: version → spec (JSON)
    "older": "deployment:%s:older",  # hash: earlier version → how many jobs hold a slot with it
    "queue": "deployment:%s:queue",  # zset of waiting job ids by the order of acceptance
    "slots": "deployment:%s:slots",  # set of job ids that hold a slot
    "strays": "deployment:%s:strays",  # set of id#attempt: see lib/25-stray.lua
    "jobs": "deployment:%s:jobs",  # zset of all its job ids by the order of acceptance
    "in_state": "deployment:%s:state:%s",  # those in one state, but for the queued ones
    # jobs
    "job": "job:%s:%s",  # hash of one job, by uid and id
    "timeline": "job:%s:%s:timeline",  # list of {event, at, detail} (JSON)
    "attempts": "job:%s:%s:attempts",  # list of the attempts that were followed by another (JSON)
    # hash of what a running replica printed, while somebody follows it: wished (how many of its
    # last bytes), and what was told: attempt, telling, reach (how many of them it had when that
    # began), first and next (numbers), bytes, told, looked (until when all is told), and the
    # batches by number
    "live": "job:%s:%s:live",
    "payload": "payload:%s",  # hash: head, chunks (number), 0, 1, … of a request or response
    # what is due: zsets of refs by instant (seconds since the epoch, Redis's clock)
    "ttl": "due:ttl",  # waiting jobs by the end of their TTL
    "deadlines": "due:deadlines",  # started attempts by the latest end of their deadline
    "retention": "due:retention",  # final jobs by the end of their record
    "dispatched": "due:hints:%s",  # dispatched, unclaimed jobs of a compute by their next hint
    # dispatched, unclaimed jobs that no machine had room for: see lib/32-room.lua
    "no_room": "no_room:%s:%s",  # zset of refs of a compute and a size, by their dispatch
    "no_room_sizes": "no_room_sizes:%s",  # set of the sizes of a compute of which some wait
    "pledges": "pledges",  # hash: ref → the node that keeps room for it, and since when
    "followed": "due:followed",  # unfinished jobs whose output somebody follows, by the end of that
    "admissions": "due:admit",  # set of uids of deployments whose admission stopped at its bound
    "terminating": "due:terminating",  # set of uids of deployments that are being deleted
    "due_strays": "due:strays",  # strays (node/uid/id#attempt) by the end of their deadline
    # nodes
    "nodes": "nodes",  # zset: node id by the last sign of life
    "node": "node:%s",  # hash of one node
    "leases": "node:%s:leases",  # zset of refs the node supervises or tears down, by lease end
    "reserved": "node:%s:reserved",  # hash: ref, or uid/id#attempt of a stray → what it has of it
    "node_strays": "node:%s:strays",  # set of uid/id#attempt that it may still run
    "nothing": "nothing",  # never there
    # the ledger itself
    "ledger": "ledger",  # hash: id (random, made once), epoch (counts the recoveries)
    "recovering": "recovering",  # set of the nodes that have not reported since a recovery
    "counts": "counts",  # hash: what happened, and how often: see app/ledger/counts.py
    "told": "told:%s",  # number of the last addition of one worker process to the counts
    # access
    "inference_keys": "inference_keys",  # hash: key id → JSON of name and hash
    "secrets": "secrets:%s",  # hash of one kind: name → JSON of the sealed value and what is listed
}


def deployments() -> str:
    """Hash: deployment name → uid."""
    return _key("deployments")


def deployment(uid: str) -> str:
    """Hash of one deployment."""
    return _key("deployment", uid)


def specs(uid: str) -> str:
    """Hash: version → spec of one deployment."""
    return _key("specs", uid)


def queue(uid: str) -> str:
    """Sorted set of one deployment's waiting jobs."""
    return _key("queue", uid)


def slots(uid: str) -> str:
    """Set of the jobs that hold a slot of one deployment."""
    return _key("slots", uid)


def jobs(uid: str) -> str:
    """Sorted set of all jobs of one deployment."""
    return _key("jobs", uid)


def job(uid: str, job_id: str) -> str:
    """Hash of one job."""
    return _key("job", uid, job_id)


def timeline(uid: str, job_id: str) -> str:
    """List of what happened to one job."""
    return _key("timeline", uid, job_id)


def attempts(uid: str, job_id: str) -> str:
    """List of one job's earlier attempts."""
    return _key("attempts", uid, job_id)


def payload(token: str) -> str:
    """Hash of the head and the chunks of a request or response."""
    return _key("payload", token)


def ttl() -> str:
    """Sorted set of waiting jobs by the end of their TTL."""
    return _key("ttl")


def retention() -> str:
    """Sorted set of final jobs by the end of their record."""
    return _key("retention")


def due_strays() -> str:
    """Sorted set of strays by the end of their deadline."""
    return _key("due_strays")


def dispatched(compute: str) -> str:
    """Sorted set of one compute resource's unclaimed jobs by their next hint."""
    return _key("dispatched", compute)


def terminating() -> str:
    """Set of the uids of deployments that are being deleted."""
    return _key("terminating")


def nodes() -> str:
    """Sorted set: node id by its last sign of life."""
    return _key("nodes")


def node(node_id: str) -> str:
    """Hash of one node."""
    return _key("node", node_id)


def leases(node_id: str) -> str:
    """Sorted set of the refs that a node supervises, by the end of the lease."""
    return _key("leases", node_id)


def node_strays(node_id: str) -> str:
    """Set of the attempts that a lost node may still run."""
    return _key("node_strays", node_id)


def recovering() -> str:
    """Set of the nodes that have not reported since a recovery."""
    return _key("recovering")


def inference_keys() -> str:
    """Hash: key id → JSON of its name and hash."""
    return _key("inference_keys")


def secrets(kind: str) -> str:
    """Hash: name → JSON of the sealed value and what may be listed, of one kind."""
    return _key("secrets", kind)


def lua_table() -> str:
    """The same keys as Lua functions `K.<name>(…)`, put before every script."""
    lines = [
        f'function K.{name}(...) return string.format("{PREFIX}{template}", ...) end'
        for name, template in _TEMPLATES.items()
    ]
    return "local K = {}\n" + "\n".join(lines) + "\n"


def _key(name: str, *parts: str) -> str:
    return PREFIX + _TEMPLATES[name] % parts
