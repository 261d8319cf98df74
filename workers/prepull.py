"""Images that are pulled before the first job wants them: as far as it goes, and nobody waits."""

import logging
import threading

import redis

from app.domain.errors import NotFound
from workers import provisions
from workers.engine import EngineError
from workers.images import PullNews
from workers.recipe import Hopeless
from workers.site import Site

logger = logging.getLogger(__name__)


class Leaving(Exception):
    """This worker goes away."""


def begin(site: Site, uid: str, version: int) -> None:
    """Has a thread pull the image of a deployment, in one version of its spec."""
    threading.Thread(target=pull, args=(site, uid, version), name="prepull", daemon=True).start()


def pull(site: Site, uid: str, version: int) -> None:
    """Pulls it here, unless it is here. What goes wrong is logged, and left to the first job."""

    def watch(_news: PullNews) -> None:
        if site.roster.stopping:
            raise Leaving

    try:
        spec = site.ledger.deployments.spec(uid, version)
        (container,) = spec.containers
        site.engine.image(
            container.image,
            refresh=not container.should_use_cached_image,
            watch=watch,
            login=provisions.login(site, spec),
        )
    except NotFound:
        logger.info("deployment %s is gone: nothing is pulled for it", uid)
    except Leaving:
        logger.info("the pull ahead of deployment %s is left to its first job", uid)
    except (EngineError, Hopeless, redis.RedisError, OSError) as error:
        logger.warning("the pull ahead of deployment %s failed: %s", uid, error)
    else:
        logger.info("%s is here for deployment %s", container.image, uid)
