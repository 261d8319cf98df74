"""Ports of this machine that each belong to one test alone.

All are below those that the kernel hands out to callers.
"""

import random
import socket
from itertools import cycle

_claims = cycle(range(12_000, 22_000))
_FREE = range(22_000, 32_000)  # apart: such a one is nobody's for a moment


def claim_port() -> socket.socket:
    """A socket bound to a port that nobody else on this machine has, for as long as it is open.

    It does not listen, so an app that sets SO_REUSEADDR can listen there.
    """
    for port in _claims:
        if claim := _bound(port):
            # Set only now: with it the bind would have shared another one's claim.
            claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return claim
    raise AssertionError("there is always another candidate")


def free_port() -> int:
    """A port that nobody has just now, for what binds it itself, and soon."""
    while not (probe := _bound(random.choice(_FREE))):
        pass
    with probe:
        return int(probe.getsockname()[1])


def _bound(port: int) -> socket.socket | None:
    """A socket bound to it; None if somebody has it."""
    bound = socket.socket()
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        return None
    return bound
