"""What a long queue costs: the time of a submit, and Redis's memory for each job.

Three instances, with few, many and very many jobs queued, take submits in turn: a client that
sends 1 KiB on one kept connection. No worker runs. Memory is Redis's own figure, `used_memory`,
before and after; a finished job is queued, claimed, run and released by the ledger's verbs, with a
result of 1 KiB.
"""

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from app.domain.job import Reason, State
from app.domain.transport import RequestHead
from app.ledger import Ledger
from app.ledger.attempts import Grip
from app.ledger.deployments import DeploymentRecord
from app.ledger.jobs import Submission
from tests.bench.plan import BACKLOG_LIMIT, BODY_BYTES, Plan
from tests.bench.product import Client, Product
from tests.bench.report import Row, Section, middle
from tests.bench.stats import ratio

NAME = "backlog"
QUEUED, FINISHED = "queued", "finished"
BODY = b"x" * BODY_BYTES
SUBMITS = 20  # of one instance before the next one's turn
FILLERS = 4  # threads
DAY = 86_400
HEAD = RequestHead("POST", "/", (("Content-Type", "application/octet-stream"),)).to_bytes()
ASKED = Submission("POST", "/", "0" * 64, None, 10**9, 30 * DAY, 7 * DAY)


def measure(plan: Plan, folder: Path) -> Section:
    """Fills each instance, then takes turns."""
    section, depths = Section(NAME), plan.depths
    with ExitStack() as stack:
        products = {d: stack.enter_context(_filled(section, folder / str(d), d)) for d in depths}
        clients = {depth: Client(product) for depth, product in products.items()}
        _take_turns(section, clients, plan.backlog_rounds)
        for client in clients.values():
            client.close()
        section.samples["finished"] = _finish(products[depths[0]], plan.finished)
    section.rows = [_row(section, depth, depths[0]) for depth in depths]
    section.rows += list(_bytes(section, depths[-1], plan.finished))
    return section


@contextmanager
def _filled(section: Section, folder: Path, depth: int) -> Iterator[Product]:
    """An instance with so many jobs queued."""
    with Product(folder, worker=False, queue_limit=10**9) as product:
        product.deploy(QUEUED, 1)
        before = _memory(product)
        _queue(product, QUEUED, depth)
        section.samples[f"{depth} queued"] = (_memory(product) - before) / depth
        yield product


def _queue(product: Product, name: str, count: int) -> None:
    client, record = product.ledger.client, product.ledger.deployments.get(name)
    client.config_set("appendfsync", "no")  # it is only filled here
    with ThreadPoolExecutor(FILLERS) as pool:
        list(pool.map(lambda n: _accept(product.ledger, record, f"job-{n}"), range(count)))
    os.sync()  # else the first submits wait for it
    client.config_set("appendfsync", "always")


def _accept(ledger: Ledger, record: DeploymentRecord, job_id: str) -> None:
    upload = ledger.payloads.upload(HEAD)
    upload.write(BODY)
    ledger.jobs.accept(record, job_id, ASKED, upload)


def _take_turns(section: Section, clients: dict[int, Client], rounds: int) -> None:
    chance = random.Random(4)
    for _ in range(rounds):
        for depth in chance.sample(sorted(clients), len(clients)):
            took = sorted(_submit(clients[depth]) for _ in range(SUBMITS))
            found = section.samples.setdefault("submit", {}).setdefault(str(depth), [])
            found.append(took[len(took) // 2])


def _submit(client: Client) -> float:
    began = time.perf_counter()
    client.submit(QUEUED, "/", BODY)
    return (time.perf_counter() - began) * 1000


def _finish(product: Product, count: int) -> float:
    """Bytes of Redis for each job that is over, with its request and its result."""
    uid = product.deploy(FINISHED, count)
    before = _memory(product)
    _queue(product, FINISHED, count)
    with ThreadPoolExecutor(FILLERS) as pool:
        list(pool.map(lambda n: _run(product.ledger, uid, f"job-{n}"), range(count)))
    return (_memory(product) - before) / count


def _run(ledger: Ledger, uid: str, job_id: str) -> None:
    """A job's way through the ledger, as a worker writes it."""
    job = ledger.attempts.claim(uid, job_id, "bench", 60).job
    assert job is not None
    grip, now = Grip.of(job), f"{time.time():.6f}"
    started = {"replica": f"onejob-{uid}-1-{job_id}", "started_at": now, "deadline_at": now}
    ledger.attempts.advance(grip, State.STARTING, State.STARTING, "started", started)
    ledger.attempts.advance(grip, State.STARTING, State.RUNNING, "sent", {"sent_at": now})
    response = ledger.payloads.upload(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    response.write(BODY)
    response.finish()
    kept = {"response": response.token, "response_status": 200, "response_size": len(BODY)}
    done = "the process exited with code 0"
    ledger.attempts.finish(grip, State.SUCCEEDED, Reason.EXIT_0, done, kept | {"exit_code": 0})
    ledger.attempts.release(grip)


def _memory(product: Product) -> int:
    told: Any = product.ledger.client.info("memory")
    return int(told["used_memory"])


def _row(section: Section, depth: int, fewest: int) -> Row:
    samples = section.samples["submit"]
    few, ours = samples[str(fewest)], samples[str(depth)]
    return Row(
        f"a submit with {depth:,} jobs queued",
        "ms",
        middle(samples, str(depth)) or 0.0,
        ratio=ratio(ours, few) if depth != fewest else None,
        at_most=BACKLOG_LIMIT if depth != fewest else None,
    )


def _bytes(section: Section, depth: int, finished: int) -> Iterator[Row]:
    queued = section.samples[f"{depth} queued"]
    yield Row(f"Redis, {depth:,} jobs queued, 1 KiB each", "bytes/job", queued)
    over = section.samples["finished"]
    yield Row(f"Redis, {finished:,} jobs over, 1 KiB and 1 KiB", "bytes/job", over)
