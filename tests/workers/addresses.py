"""Something that listens: on this machine, or on another one that a network namespace plays."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Listens on the ports given, tells that it does, and takes connections until it is killed.
LISTEN = """
import selectors, socket, sys
ready = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    ready.register(socket.create_server(("0.0.0.0", port)), selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in ready.select():
        key.fileobj.accept()[0].close()
"""


class listening:  # noqa: N801  # a context manager
    """A process of this machine that listens."""

    def __init__(self, *command: str, ports: tuple[int, ...]) -> None:
        self.command = [*command, "-c", LISTEN, *map(str, ports)]

    def __enter__(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"listening\n"

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def another_machine() -> Iterator[dict[str, str]]:
    """Another machine: a network namespace with an ordinary and a link-local address.

    Both answer on port 8080, and on 53.
    """
    token = secrets.token_hex(3)
    space, near, far = f"oj-{token}", f"oj{token}a", f"oj{token}b"
    # Apart for each test process, above what `tests.machine` has, and below the last addresses,
    # where metadata services are.
    place = f"{10 + secrets.randbelow(240)}.{4 * secrets.randbelow(60)}"
    plain, local = f"198.18.{place}", f"169.254.{place}"
    ip("netns", "add", space)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        for base in (plain, local):
            start, last = base.rsplit(".", 1)
            ip("addr", "add", f"{start}.{int(last) + 1}/30", "dev", near)
            ip("-n", space, "addr", "add", f"{start}.{int(last) + 2}/30", "dev", far)
        ip("link", "set", near, "up")
        ip("-n", space, "link", "set", far, "up")
        with listening("ip", "netns", "exec", space, sys.executable, ports=(8080, 53)):
            yield {"plain": _next(plain), "local": _next(local)}
    finally:
        subprocess.run(["ip", "link", "del", near], capture_output=True)
        ip("netns", "del", space)


def _next(base: str) -> str:
    start, last = base.rsplit(".", 1)
    return f"{start}.{int(last) + 2}"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
