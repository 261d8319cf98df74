"""The response parser and the judge of health answers, in a process of their own: see feed.c."""

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

RESULTS = ("more", "done", "closed", "truncated", "malformed", "too_large", "io")
LIMIT = 1000


@dataclass(frozen=True)
class Parsed:
    result: str
    status: int
    good: bool
    head: bytes
    body: bytes


class Feeder:
    """The parser in a process of its own, with sanitizers."""

    def __init__(self, path: Path) -> None:
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([path], stdin=pipe, stdout=pipe, env=environment)

    def __call__(self, stream: bytes, *, limit: int = LIMIT, reset: bool = False,
                 seed: int = 1) -> Parsed:  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(struct.pack("=5I", limit, reset, seed, len(stream), 0) + stream)
        self.process.stdin.flush()
        answer = self.process.stdout.read(20)
        assert len(answer) == 20, f"the parser broke on {stream!r}"
        result, status, good, head, body = struct.unpack("=5I", answer)
        head_bytes = self.process.stdout.read(head)
        return Parsed(RESULTS[result], status, bool(good), head_bytes,
                      self.process.stdout.read(body))  # fmt: skip

    def close(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0
