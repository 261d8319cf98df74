"""The points where a supervisor can be killed, or stopped, and what has to come of it."""

from tests.workers.rig import BODY, HEAD, Rig

POINTS = [
    "after attempts.claim",
    "before engine.image",
    "after engine.image",
    "before payloads.read",
    "before spool.prepare",
    "after spool.prepare",
    "before attempts.confirm",
    "after attempts.confirm",
    "before engine.create",
    "after engine.create",
    "before engine.start",
    "after engine.start",
    "before attempts.advance",
    "after attempts.advance",
    "before payloads.upload",
    "before attempts.finish",
    "after attempts.finish",
    "before engine.logs",
    "before attempts.keep_log",
    "after attempts.keep_log",
    "before engine.remove",
    "after engine.remove",
    "before spool.remove",
    "after spool.remove",
    "before attempts.release",
]


def check_done_by_the_second(rig: Rig) -> None:
    job = rig.job()
    assert rig.fate() == ("succeeded", "exit_0")
    assert (job.attempt, job.fence) == (1, 2)
    assert rig.result() == (HEAD, BODY)
    assert rig.engine.made == {rig.replica(): 1}
    assert rig.engine.starts == {rig.replica(): 1}
    assert rig.events() == [
        "queued", "dispatched", "starting", "started", "sent", "succeeded", "released",
    ]  # fmt: skip
    rig.check_nothing_left()
