"""Whether the Redis we talk to is the ledger that this node's replicas belong to.

An empty Redis, a wrong one, or one from before a recovery would make every container here look
like nobody's. The spool root remembers the ledger; where another one answers, nothing is claimed
and nothing removed until an operator says `onejob recover`: then the node reports what it runs, and
belongs to the new ledger.
"""

import logging
import re

from app.ledger.recovery import Identity
from workers import durable, plan
from workers.holding import Holding
from workers.site import Site

logger = logging.getLogger(__name__)
FOREIGN = (
    "this Redis is not the ledger that this node's replicas belong to; if it is meant to be,"
    " run `onejob recover`"
)
TORN_STEP = "remove it if this Redis is the ledger of the replicas that run on this machine"


class Allegiance:
    """Which ledger a node belongs to."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._path = site.spool_root.path / "ledger"

    def holds(self) -> bool:
        """Whether this is our ledger. Reports to it first, if it asks for that.

        Raises RedisError, EngineError, OSError.
        """
        recovery = self._site.ledger.recovery
        if recovery.asks(self._site.node):
            self._report()
        if self._known() is None:
            self._remember(recovery.identity())
        return self.is_ours()

    def is_ours(self) -> bool:
        """Whether this is our ledger and has our report, by what is known here."""
        recovery = self._site.ledger.recovery
        ours = self._known() in (None, recovery.identity())
        return ours and not recovery.asks(self._site.node)

    def _report(self) -> None:
        """Remembered first: who is killed in between, or gets no answer, is asked again."""
        site = self._site
        identity = site.ledger.recovery.identity()  # after the question: of the one who asks
        replicas = sorted(self._replicas())
        logger.warning("reporting %d replicas to the recovered ledger", len(replicas))
        self._remember(identity)
        site.publish(site.ledger.recovery.report(site.node, identity, replicas))

    def _replicas(self) -> set[tuple[str, str, int, str]]:
        # Those, too, of which there is nothing yet: an image may take long to be pulled.
        held = Holding(self._site.spool_root.path).replicas()
        rooms = dict.fromkeys({*self._site.spool_root.replicas(), *held}, "")
        rooms |= {c.name: c.room for c in self._site.engine.owned(self._site.node)}
        found = ((plan.replica_of(name), room) for name, room in rooms.items())
        return {(*parsed, room) for parsed, room in found if parsed is not None}

    def _known(self) -> Identity | None:
        try:
            name, epoch = durable.read(self._path, _is_identity, TORN_STEP).split()
        except FileNotFoundError:
            return None
        return Identity(name, int(epoch))

    def _remember(self, identity: Identity) -> None:
        durable.replace(self._path, f"{identity.id} {identity.epoch}\n")


def _is_identity(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{16} [0-9]+", text, re.ASCII) is not None
