"""The Redis transport of our workers: kombu's, which also bears to lose its connection.

When Redis goes away while a message is being acknowledged, kombu (5.7) closes a channel that has
one left, wants to put it back over a connection that it has dropped already, and fails with an
AttributeError. Celery takes that for a fault that nothing helps against, and ends the worker. What
is not put back is a hint: the sweep publishes it again.
"""

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):
    """Puts back what was not acknowledged only while there is a connection."""

    def close(self) -> None:
        """As ever."""
        self.do_restore = self.connection is not None and self.connection.client is not None
        super().close()  # type: ignore[no-untyped-call]


class Transport(redis.Transport):
    """With such channels."""

    Channel = Channel


def install() -> None:
    """This process's connections use it from now on; they go on naming themselves redis://."""
    TRANSPORT_ALIASES.update(redis=f"{__name__}:Transport", rediss=f"{__name__}:Transport")
