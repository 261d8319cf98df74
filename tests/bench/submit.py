"""Submits per second and their 99th percentile: 1 KiB bodies, 16 connections.

Ours beside a bare Flask view that does one Redis pipeline, over one Redis and with the same
settings of gunicorn; each with our worker class, gunicorn's gthread and gunicorn's sync; with
kept connections and with one for each request. No worker runs: jobs only queue.

How the connections were spread over the processes is noted with each figure.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from app.children import Child
from tests.bench import proc
from tests.bench.load import WARM_UP_SECONDS
from tests.bench.plan import BODY_BYTES, CONNECTIONS, SUBMIT_LIMIT, Plan
from tests.bench.product import Product
from tests.bench.report import Row, Section, middle
from tests.bench.stats import ratio, spread
from tests.ports import free_port

NAME = "submit"
ROOT = Path(__file__).parents[2]
WORKERS = ("onejob", "gthread", "sync")
APPS = {"ours": "app.web:create_app()", "bare": "tests.bench.bare_view:app"}
READY_SECONDS = 60
BODY = b"x" * BODY_BYTES


@dataclass(frozen=True)
class Kind:
    """One way to take a request."""

    who: str
    worker: str
    keep: bool

    @property
    def way(self) -> str:
        """Without who takes it."""
        return f"{self.worker}, {'kept connections' if self.keep else 'one connection each'}"


@dataclass
class Server:
    """One gunicorn."""

    child: Child
    port: int

    def spread(self) -> list[int]:
        """Connections of each process, most first."""
        workers = proc.family(self.child.pid)[1:]
        return sorted((proc.connections(pid, self.port) for pid in workers), reverse=True)


def measure(plan: Plan, folder: Path) -> Section:
    """Interleaved, in a new random order each round."""
    section, chance = Section(NAME), random.Random(3)
    with Product(folder, worker=False) as product, _servers(product, folder) as servers:
        kinds = _kinds()
        for number in range(plan.submit_rounds):
            for kind in chance.sample(kinds, len(kinds)):
                server = servers["bare" if kind.who == "peer" else kind.who, kind.worker]
                _keep(section, kind, _shoot(product, server, kind, number, plan.submit_seconds))
    section.rows = list(_rows(section))
    section.notes = list(_notes(section))
    return section


def _kinds() -> list[Kind]:
    """gunicorn's sync keeps no connection; the peer runs on what its author would have."""
    ways = [(worker, keep) for worker in WORKERS for keep in (True, False)]
    kinds = [Kind(who, *way) for who in APPS for way in ways if way != ("sync", True)]
    return kinds + [Kind("peer", "gthread", keep) for keep in (True, False)]


@contextmanager
def _servers(product: Product, folder: Path) -> Iterator[dict[tuple[str, str], Server]]:
    with ExitStack() as stack:
        servers = {}
        for who in APPS:
            for worker in WORKERS:
                servers[who, worker] = server = _start(product, folder, who, worker)
                stack.callback(server.child.stop)
        for server in servers.values():
            server.child.until(partial(_answers, server.port), READY_SECONDS)
        yield servers


def _start(product: Product, folder: Path, who: str, worker: str) -> Server:
    port = free_port()
    environ = product.stack.environ() | {
        "ONEJOB_BIND": f"127.0.0.1:{port}",
        "BENCH_REDIS_URL": f"{product.stack.redis_url.rpartition('/')[0]}/1",
        "BENCH_WORKER": worker,
        "BENCH_PARSER": "yes" if who == "ours" else "",
        "PYTHONPATH": str(ROOT),
    }
    gunicorn = str(Path(sys.executable).parent / "gunicorn")
    argv = [gunicorn, "-c", "python:tests.bench.gunicorn_config", APPS[who]]
    return Server(Child(f"{who}-{worker}", argv, folder / f"{who}-{worker}.log", environ), port)


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def _shoot(
    product: Product, server: Server, kind: Kind, number: int, seconds: float
) -> dict[str, Any]:
    """One run of the load generator; the processes' share of connections is looked at halfway."""
    _clean(product)
    name = f"submit-{number}"
    product.deploy(name, 1)
    path = {"ours": f"/{name}/job", "bare": "/job", "peer": "/task"}[kind.who]
    order = {
        "port": server.port,
        "request": _request(product, path, kind.keep).decode("latin-1"),
        "seconds": seconds,
        "connections": CONNECTIONS,
        "keep": kind.keep,
    }
    before = proc.cpu_seconds(proc.family(server.child.pid))
    figures = _load(order, seconds, server)
    figures["cpu"] = proc.cpu_seconds(proc.family(server.child.pid)) - before
    assert set(figures["statuses"]) == {"202"}, figures
    return figures


def _load(order: dict[str, Any], seconds: float, server: Server) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.bench.load"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode())
        process.stdin.close()
        process.stdin = None
        try:
            process.wait(WARM_UP_SECONDS + seconds / 2)
        except subprocess.TimeoutExpired:
            connections = server.spread()
        answer, _ = process.communicate(timeout=seconds + 60)
    figures: dict[str, Any] = json.loads(answer)
    return figures | {"connections": connections}


def _request(product: Product, path: str, keep: bool) -> bytes:
    name, value = product.faces.bearer
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"{name}: {value}"]
    lines += ["Content-Type: application/octet-stream", f"Content-Length: {len(BODY)}"]
    lines += [] if keep else ["Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + BODY


def _clean(product: Product) -> None:
    """Every run begins with an empty Redis and a short append-only file."""
    client = product.ledger.client
    client.flushall()
    client.bgrewriteaof()
    while client.info("persistence")["aof_rewrite_in_progress"]:
        pass
    product.refresh()


def _keep(section: Section, kind: Kind, figures: dict[str, Any]) -> None:
    for name in ("rate", "p50", "p99", "max", "connections", "cpu"):
        by_way = section.samples.setdefault(kind.way, {}).setdefault(name, {})
        by_way.setdefault(kind.who, []).append(figures[name])


def _rows(section: Section) -> Iterator[Row]:
    for way, samples in sorted(section.samples.items()):
        for name, unit, limit in (("rate", "submits/s", SUBMIT_LIMIT), ("p99", "ms (p99)", None)):
            figures = samples[name]
            yield Row(
                way,
                unit,
                middle(figures, "ours") or 0.0,
                middle(figures, "bare"),
                middle(figures, "peer"),
                ratio(figures["ours"], figures["bare"]),
                at_least=limit,
            )


def _notes(section: Section) -> Iterator[str]:
    for way, samples in sorted(section.samples.items()):
        for who, rates in samples["rate"].items():
            shares = [":".join(map(str, share)) for share in samples["connections"][who]]
            pairs = zip(rates, shares, strict=True)
            # Connections that are not kept are seen or not, as it happens.
            kept = "kept" in way
            seen = ", ".join(
                f"{rate:.0f}" + (f" ({share})" if kept else "") for rate, share in pairs
            )
            yield f"{way}, {who}: fastest/slowest {spread(rates):.2f}; submits/s: {seen}"
