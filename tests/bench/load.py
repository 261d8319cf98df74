"""A load generator in one thread: prebuilt requests on raw sockets, answers read but not parsed.

`python -m tests.bench.load`: a JSON object on standard input (port, request, seconds, connections,
keep), the figures as JSON on standard output. Each connection sends its next request when it has
its answer; without `keep`, each request has a connection of its own.
"""

import json
import re
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.bench.stats import quantile

WARM_UP_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass
class Line:
    """One of the connections at once."""

    sock: socket.socket
    sent_at: float = 0.0
    answer: bytes = b""


@dataclass
class Load:
    """One run."""

    port: int
    request: bytes
    keep: bool
    counting: bool = False
    took: list[float] = field(default_factory=list)  # seconds
    statuses: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def run(self, connections: int, seconds: float) -> dict[str, Any]:
        """Warms up, counts for so long, and tells what it saw."""
        for _ in range(connections):
            self._dial()
        self._turn(time.monotonic() + WARM_UP_SECONDS)
        self.counting, began = True, time.monotonic()
        self._turn(began + seconds)
        return self._figures(time.monotonic() - began)

    def _turn(self, until: float) -> None:
        give_up = until + PATIENCE_SECONDS
        while time.monotonic() < until:
            for key, _ in self._selector.select(0.1):
                self._take(key.data)
            assert time.monotonic() < give_up

    def _dial(self) -> None:
        sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS)
        line = Line(sock)
        self._selector.register(sock, selectors.EVENT_READ, line)
        self._send(line)

    def _send(self, line: Line) -> None:
        line.answer, line.sent_at = b"", time.perf_counter()
        line.sock.sendall(self.request)

    def _take(self, line: Line) -> None:
        data = line.sock.recv(65536)
        line.answer += data
        if data and not _whole(line.answer):
            return
        self._note(line)
        if self.keep and data and not _CLOSES.search(line.answer):
            self._send(line)
            return
        self._selector.unregister(line.sock)
        line.sock.close()
        self._dial()

    def _note(self, line: Line) -> None:
        if self.counting:
            self.took.append(time.perf_counter() - line.sent_at)
            self.statuses[line.answer[9:12].decode("latin-1") or "none"] += 1

    def _figures(self, seconds: float) -> dict[str, Any]:
        ordered = sorted(took * 1000 for took in self.took)
        return {
            "rate": len(ordered) / seconds,
            "p50": quantile(ordered, 0.5),
            "p99": quantile(ordered, 0.99),
            "max": ordered[-1],
            "statuses": dict(self.statuses),
        }


def _whole(answer: bytes) -> bool:
    head, mark, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(mark) and length is not None and len(body) >= int(length[1])


def main() -> None:
    """Reads what to do, does it, tells."""
    order = json.load(sys.stdin)
    load = Load(order["port"], order["request"].encode("latin-1"), order["keep"])
    json.dump(load.run(order["connections"], order["seconds"]), sys.stdout)


if __name__ == "__main__":
    main()
