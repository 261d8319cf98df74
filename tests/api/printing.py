"""A replica that a test plays, whose worker tells what it prints to those who ask."""

import time
from collections.abc import Callable

from app.domain.job import Reason, State
from app.domain.log import Piece, Stream
from app.ledger.attempts import Grip
from app.ledger.live import WHOLE_BYTES
from tests.api.worker import LEASE_SECONDS, NODE, PlayedWorker

AT = 1_700_000_000_000_000_000
MOST = 1024 * 1024


class Printing:
    """An attempt that runs and prints: a nanosecond apart, the first at `at`."""

    def __init__(self, worker: PlayedWorker, name: str, job_id: str, at: int = AT) -> None:
        self.worker, self.ledger, self.began = worker, worker.ledger, at
        self.grip: Grip = worker.run(name, job_id)
        self.pieces: list[Piece] = []
        self._batches = 0

    @property
    def replica(self) -> str | None:
        """Its name."""
        return self.ledger.jobs.get(self.grip.uid, self.grip.id).replica

    def wanted(self) -> bool:
        """Whether its worker hears that somebody follows."""
        return self.wish() > 0

    def wish(self) -> int:
        """How many bytes of its output somebody wants, as its worker hears."""
        (answer,) = self.ledger.attempts.renew(NODE, LEASE_SECONDS, [self.grip])
        return int(answer.partition("followed ")[2] or 0)

    def says(self, *texts: bytes, stream: Stream = Stream.STDOUT) -> None:
        """Prints, and its worker tells that."""
        at = self.began + len(self.pieces)
        new = [Piece(at + n, stream, text) for n, text in enumerate(texts)]
        self.pieces += new
        self.tell(new)

    def tell(self, pieces: list[Piece], anew: bool = False, reach: int = WHOLE_BYTES) -> None:
        """Its worker looks, and tells something."""
        now = self.ledger.live.clock()
        self._batches += 1
        batch = b"".join(piece.stored() for piece in pieces)
        self.ledger.live.relay(self.grip, self._batches, MOST, batch, anew, reach)
        self.ledger.live.looked(self.grip, now)

    def falls_silent(self) -> None:
        """Its worker has not looked for a minute."""
        self.ledger.live.looked(self.grip, self.ledger.live.clock() - 60)

    def ends(self, *last: bytes) -> None:
        """Prints its last, which nobody tells, and succeeds."""
        self.exits(*last)
        self.goes()

    def exits(self, *last: bytes) -> None:
        """The same; its container is still there, and its log not kept."""
        at = self.began + len(self.pieces)
        self.pieces += [Piece(at + n, Stream.STDOUT, text) for n, text in enumerate(last)]
        fields: dict[str, str | int] = {"exit_code": 0}
        ended = (State.SUCCEEDED, Reason.EXIT_0, "the process exited", fields)
        self.ledger.attempts.finish(self.grip, *ended)

    def goes(self) -> None:
        """Its log is kept, and its container removed."""
        upload = self.ledger.payloads.upload(b"")
        upload.write(b"".join(piece.stored() for piece in self.pieces))
        size = sum(len(piece.text) for piece in self.pieces)
        self.ledger.attempts.keep_log(self.grip, upload, size, False)
        self.ledger.attempts.release(self.grip)


def until(holds: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)  # Redis tells of no change
