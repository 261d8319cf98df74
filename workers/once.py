"""`python -m workers.once [--dry-run]`: one sweep and one upkeep of this machine, by hand."""

import logging
import sys
import time
from collections.abc import Iterator

import redis

from app import settings as app_settings
from app.dispatch import Publisher, compute_queue
from app.domain.compute import ComputeError
from app.domain.shared import VolumesError
from app.ledger.nodes import NodeTaken
from app.ledger.overdue import Overdue
from app.settings import SettingsError
from workers.allegiance import FOREIGN, Allegiance
from workers.engine import EngineError
from workers.prepare import Unprepared
from workers.site import Site, make_site
from workers.sweep import Sweep
from workers.upkeep import Upkeep

_FAILURES = (
    *(SettingsError, ComputeError, VolumesError),
    *(EngineError, Unprepared, NodeTaken, OSError),
)


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        settings = app_settings.load()
        publisher = Publisher(settings.redis_url)
        site = make_site(settings, publisher)
        site.ledger.nodes.check(site.node, site.identity)
        if "--dry-run" in arguments:
            print("\n".join(_due(site)) or "nothing is due")
        else:
            Sweep(site, publisher).sweep(time.monotonic())
            Upkeep(site).step(time.monotonic())
            site.tally.tell(site.ledger.metrics)
            if not site.fitness.fit:
                return _complain("; ".join(site.fitness.problems()))
            print("swept")
    except (redis.ConnectionError, redis.TimeoutError) as error:
        return _complain(f"Redis does not answer: {error}")
    except _FAILURES as error:
        return _complain(str(error))
    except redis.RedisError as error:
        return _complain(f"Redis: {error}")
    return 0


def _complain(what: str) -> int:
    print(f"onejob: {what}", file=sys.stderr)
    return 1


def _due(site: Site) -> Iterator[str]:
    for kind, count in Overdue(site.ledger.client, compute_queue).counts().items():
        yield f"{count} {kind}"
    if not Allegiance(site).is_ours():
        yield FOREIGN
        return
    upkeep = Upkeep(site)
    for container in upkeep.dangling_containers():
        yield f"dangling container {container.name}"
    for name in upkeep.dangling_secrets():
        yield f"dangling files of secrets {name}"
    for name in upkeep.dangling_spools():
        yield f"dangling spool directory {name}"
    for stray in site.ledger.nodes.strays(site.node):
        yield f"stray replica of job {stray.id}, attempt {stray.attempt}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
