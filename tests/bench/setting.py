"""The three that are compared, side by side over one Redis and one engine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from tests.bench.bare import BareLoop
from tests.bench.peers import Peers
from tests.bench.product import Product
from workers.docker_images import Images
from workers.engine import NODE_LABEL
from workers.prepare import EXAMPLE_IMAGE, build_example

NETWORK = "onejob"  # the setting's default


@dataclass(frozen=True)
class Place:
    """Onejob, the bare loop and the Celery task, ready to run jobs."""

    product: Product
    bare: BareLoop
    peers: Peers


@contextmanager
def place(folder: Path, peers: tuple[int, ...]) -> Iterator[Place]:
    """Starts them; `peers` are the concurrencies of the peer's workers."""
    prepare()
    with ExitStack() as stack:
        product = stack.enter_context(Product(folder))
        url = product.stack.redis_url
        there = Peers(folder, url, EXAMPLE_IMAGE, NETWORK, peers)
        yield Place(product, BareLoop(EXAMPLE_IMAGE, NETWORK), stack.enter_context(there))


def foreign_containers() -> int:
    """How many containers of the example run that are not ours: the peer's."""
    engine = docker.APIClient()
    running = engine.containers(filters={"ancestor": EXAMPLE_IMAGE, "status": "running"})
    engine.close()
    return sum(NODE_LABEL not in container["Labels"] for container in running)


def prepare() -> None:
    """Builds the example image if it is not there."""
    images = Images()
    build_example(images)
    images.close()
