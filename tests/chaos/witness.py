"""The witness: what the replicas themselves say of their starts and requests.

Into each new spool directory it puts a hard link to its own Unix socket: a socket that is found by
its path can be reached from any network namespace. The app connects before it does anything else,
and waits for the link if it must; so an app that runs has told, and none of it goes through the
product: not its ledger, not its events, not the engine. What an app wrote before a kill -9 still
lies in the socket, and the kernel tells the end of the process as the end of the connection.

What it can't see: a container whose app never came to run (that one got no request either; the
sampler sees it), and processes that an app leaves behind (ours leave none; the sampler would).
"""

import os
import selectors
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.kinds import WITNESS

LOOK_SECONDS = 0.02  # for new directories: a container takes ten times as long to start


@dataclass
class Life:
    """One app's process. Instants are seconds since the epoch."""

    deployment: str
    job: str
    attempt: int
    began: float  # by the kernel's start of the process
    ended: float | None = None
    requests: list[str] = field(default_factory=list)  # SHA-256 of each body, in hexadecimal


class Witness(threading.Thread):
    """Listens to all apps below one spool root, and writes down what they say."""

    def __init__(self, spool: Path, journal: Path) -> None:
        super().__init__(name="witness", daemon=True)
        self._attempts = spool / "attempts"
        self._socket = spool.with_name("witness.sock")  # on the same file system: it is linked to
        self._journal = journal
        self._kept = journal.with_name("events")
        self._lives: list[Life] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends it."""
        self._stopped.set()
        self.join()

    def lives(self) -> list[Life]:
        """All that have begun so far."""
        with self._lock:
            return list(self._lives)

    def run(self) -> None:
        """Links, listens and writes until it is stopped."""
        self._kept.mkdir(exist_ok=True)
        with (
            socket.socket(socket.AF_UNIX) as server,
            selectors.DefaultSelector() as selector,
            self._journal.open("a", buffering=1) as journal,
        ):
            server.bind(str(self._socket))
            server.listen(128)
            selector.register(server, selectors.EVENT_READ)
            while not self._stopped.is_set():
                self._link()
                for key, _ in selector.select(LOOK_SECONDS):
                    if key.fileobj is server:
                        selector.register(server.accept()[0], selectors.EVENT_READ, _Line())
                    elif not self._hear(key.fileobj, key.data, journal):
                        selector.unregister(key.fileobj)

    def _link(self) -> None:
        with suppress(FileNotFoundError), os.scandir(self._attempts) as entries:
            # Those that begin with a dot are being made, and are not mounted yet.
            for entry in [entry for entry in entries if not entry.name.startswith(".")]:
                _link(self._socket, f"{entry.path}/{WITNESS}")
                # For who looks into a complaint: what the usher said goes with its directory.
                _link(f"{entry.path}/events", self._kept / entry.name)

    def _hear(self, sock: Any, line: "_Line", journal: Any) -> bool:
        """Takes what came over one connection; False at its end."""
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            data = b""
        with self._lock:
            for words in line.add(data):
                self._note(line, words)
                print(f"{time.time():.3f}", line.life, file=journal)
            if not data and line.life is not None:
                line.life.ended = time.time()
                print(f"{time.time():.3f} ended", line.life.job, file=journal)
        if not data:
            sock.close()
        return bool(data)

    def _note(self, line: "_Line", words: list[str]) -> None:
        if words[0] == "start":
            line.life = Life(words[1], words[2], int(words[3]), float(words[4]))
            self._lives.append(line.life)
        elif line.life is not None:
            line.life.requests.append(words[1])

    # -- what must not be --------------------------------------------------------------------

    def started_twice(self) -> list[str]:
        """Attempts whose app was started more than once."""
        starts = Counter((life.job, life.attempt) for life in self.lives())
        return [f"{job}, attempt {n}: {count}" for (job, n), count in starts.items() if count > 1]

    def delivered_twice(self) -> list[str]:
        """Jobs whose request came more than once, over all their attempts."""
        requests = {job: len(digests) for job, digests in self.requests().items()}
        return [f"{job}: {count}" for job, count in requests.items() if count > 1]

    def requests(self) -> dict[str, list[str]]:
        """The digests of the requests that each job's apps got."""
        found = defaultdict[str, list[str]](list)
        for life in self.lives():
            found[life.job] += life.requests
        return found

    def most(self, deployment: str) -> int:
        """The most apps of one deployment at once. An end is heard of a little late."""
        now = time.time()
        lives = [life for life in self.lives() if life.deployment == deployment]
        return most_at_once([(life.began, life.ended or now) for life in lives])


def _link(source: Path | str, target: Path | str) -> None:
    # It is linked already, or the directory was removed meanwhile, or there is another file system.
    with suppress(OSError):
        os.link(source, target)


class _Line:
    """One connection: the end of what came that is no whole line yet, and whose it is."""

    def __init__(self) -> None:
        self._rest = b""
        self.life: Life | None = None

    def add(self, data: bytes) -> Iterator[list[str]]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield line.decode().split(" ")


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """How many of some spans of time overlap at most; both their ends belong to them."""
    ends = sorted([(begin, 0) for begin, _ in spans] + [(end, 1) for _, end in spans])
    most = now = 0
    for _, is_end in ends:
        now += -1 if is_end else 1
        most = max(most, now)
    return most
