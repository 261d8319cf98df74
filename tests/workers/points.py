"""The points where a supervisor can be killed, or stopped, and what has to come of it."""

from tests.workers.rig import BODY, HEAD, Rig

# Of a job that goes well, in an order in which each of them is passed though it was killed at all
# those before it.
POINTS = [
    "after attempts.claim",
    "before engine.image",
    "after engine.image",
    "before payloads.read",
    "after payloads.read",
    "before spool.prepare",
    "after spool.prepare",
    "before attempts.confirm",
    "after attempts.confirm",
    "before secrets.make",
    "after secrets.make",
    "before engine.create",
    "after engine.create",
    "before engine.start",
    "after engine.start",
    "before attempts.advance",
    "after attempts.advance",
    "before payloads.upload",
    "after payloads.upload",
    "before attempts.finish",
    "after attempts.finish",
    "before engine.wait",
    "after engine.wait",
    "before engine.logs",
    "after engine.logs",
    "before attempts.keep_log",
    "after attempts.keep_log",
    "before engine.remove",
    "after engine.remove",
    "before secrets.remove",
    "after secrets.remove",
    "before spool.remove",
    "after spool.remove",
    "before attempts.release",
]
# Where there is nothing to take over: before the claim, and after the release.
EDGES = ["before attempts.claim", "after attempts.release"]
# Looks that change nothing: what is done before one is done after it.
LOOKS = ["exists", "started", "kept_from_starting", "read_events", "read_head", "read_body"]

# Of an attempt that is given up: its container is gone before the job is queued again.
GIVEN_UP = [
    "before attempts.abandon",
    "after attempts.abandon",
    "before engine.remove",
    "after engine.remove",
    "before secrets.remove",
    "after secrets.remove",
    "before spool.remove",
    "after spool.remove",
    "before attempts.requeue",
    "after attempts.requeue",
]

# Of the upkeep that removes what a machine still ran when it was given up.
STRAYS = [
    "before nodes.strays",
    "before engine.find",
    "after engine.find",
    "before engine.remove",
    "after engine.remove",
    "before secrets.remove",
    "after secrets.remove",
    "before spool.remove",
    "after spool.remove",
    "before nodes.drop_stray",
    "after nodes.drop_stray",
]

# Of a node's report to a recovered ledger.
REPORT = [
    "before recovery.asks",
    "after recovery.asks",
    "before engine.owned",
    "after engine.owned",
    "before recovery.report",
    "after recovery.report",
]


def check_done_by_the_second(rig: Rig) -> None:
    job = rig.job()
    assert rig.fate() == ("succeeded", "exit_0")
    assert (job.attempt, job.fence) == (1, 2)
    assert rig.result() == (HEAD, BODY)
    assert rig.engine.made == {rig.replica(): 1}
    assert rig.engine.starts == {rig.replica(): 1}
    assert rig.events() == [
        "queued", "dispatched", "starting", "created", "started", "healthy", "sent", "responded",
        "exited", "succeeded", "released",
    ]  # fmt: skip
    rig.check_nothing_left()
