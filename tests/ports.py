"""Ports of this machine that each belong to one test alone."""

import socket
from itertools import cycle

_candidates = cycle(range(12_000, 30_000))


def claim_port() -> socket.socket:
    """A socket bound to a port that nobody else on this machine has, for as long as it is open.

    It does not listen, so an app that sets SO_REUSEADDR can listen there. The port is below those
    that the kernel hands out to callers.
    """
    for port in _candidates:
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        # Set only now: with it the bind above would have shared another one's claim.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return claim
    raise AssertionError("there is always another candidate")
