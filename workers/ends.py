"""How a replica came to its end where its usher could not say so: what engine and spool show."""

from app.domain.verdict import Stopping
from workers.attempt import Attempt
from workers.harvest import UNKNOWN_EXIT

KILLED_EXIT = 128 + 9  # of a process that was killed


def outlived(attempt: Attempt) -> Stopping | None:
    """`deadline` if the container ended when deadline and grace were over: by the upkeep."""
    container = attempt.container
    if container is None or container.started_at is None or container.finished_at is None:
        return None
    seconds = attempt.recipe.run.bounds.deadline_seconds + attempt.site.settings.stop_grace_seconds
    lived = (container.finished_at - container.started_at).total_seconds()
    return "deadline" if lived >= seconds else None


def never_began(attempt: Attempt) -> bool:
    """Whether process 1 ended before it was our usher.

    The runtime's own process ends with code 2 and without a word where SIGTERM finds it. After a
    power failure an empty spool proves nothing: what the usher wrote may be lost.
    """
    if _exit_code(attempt) == UNKNOWN_EXIT:
        return False
    silent = not attempt.spool.started() and not attempt.events().by_name
    return silent and attempt.provably_unsent()


def ended_from_outside(attempt: Attempt) -> bool:
    """Whether its engine ended it, as at a restart, or somebody who used that; nobody of us."""
    if never_began(attempt):
        return True
    if attempt.events().exited is not None:
        return attempt.events().stopping == "signal"
    ended = attempt.container.exit if attempt.container else None
    killed = ended is not None and ended.code == KILLED_EXIT and not ended.oom_killed
    return killed and outlived(attempt) is None


def _exit_code(attempt: Attempt) -> int | None:
    ended = attempt.container.exit if attempt.container else None
    return ended.code if ended else None
