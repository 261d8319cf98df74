"""/metrics: what Prometheus gets, whichever process answers, and whatever was restarted."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from app.domain.job import Reason, State
from app.exposition import DEPLOYMENTS_LIMIT, OTHER
from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.printing import until
from tests.api.server import PRODUCT, ApiServer
from tests.api.wire import Connection, call
from tests.api.worker import NODE, OK, PlayedWorker
from tests.conftest import require
from tests.ledger.scene import Scene
from tests.redis_server import RedisServer
from tests.stopped import stop

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]
OWN = "onejob_http_"  # traffic: a scrape is a request, too


def text(port: int) -> str:
    answer = call(port, "GET", "/metrics")
    assert answer.status == 200
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.body.decode()


def families(port: int) -> list[Metric]:
    return list(text_string_to_metric_families(text(port)))


def series(port: int) -> Series:
    """Every series of an answer, by its name and its labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(port)
        for sample in family.samples
    }


def told(known: Series, name: str, **labels: str) -> float:
    return known[f"onejob_{name}", tuple(sorted(labels.items()))]


def value(port: int, name: str, **labels: str) -> float:
    return told(series(port), name, **labels)


def rising(port: int) -> Series:
    """What must never fall: counters, and the buckets and sums of histograms."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(port)
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


@pytest.fixture
def busy(api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger) -> Faces:
    """An API whose ledger has a bit of everything."""
    ledger.nodes.announce("n1", {"compute": {"cpu": {}}})
    worker.respond(hello, api.submit(hello), OK, b"x" * 5000)
    worker.respond(hello, api.submit(hello), OK, b"", exit_code=3)
    worker.run(hello, api.submit(hello))
    for _ in range(3):
        api.submit(hello)
    ledger.metrics.add("p", 1, {"engine|create|3": 1, "engine|create|sum": 8000})
    return api


# -- what it looks like ------------------------------------------------------------------------


def test_it_tells_what_happened_and_how_things_stand(busy: Faces) -> None:
    known = series(busy.port)
    assert told(known, "redis_up") == 1
    assert told(known, "jobs_accepted_total") == 6
    assert told(known, "jobs_ended_total", state="succeeded", reason="exit_0") == 1
    assert told(known, "jobs_ended_total", state="failed", reason="exit_nonzero") == 1
    assert told(known, "waiting_jobs") == 3
    assert told(known, "deployment_queued_jobs", deployment="hello") == 3
    assert told(known, "deployment_slots_used", deployment="hello") == 1
    assert told(known, "deployment_slots_allowed", deployment="hello") == 1
    assert told(known, "compute_waiting_jobs", compute="cpu") == 3
    assert told(known, "compute_nodes", compute="cpu") == 1
    assert told(known, "node_leases", node=NODE) == 1
    assert told(known, "queue_seconds_count") == 3
    assert told(known, "result_bytes_bucket", le="16384.0") == 2
    assert told(known, "engine_call_seconds_count", verb="create") == 1
    assert told(known, "engine_call_seconds_sum", verb="create") == 0.008
    assert told(known, "http_requests_total", route="submit", origin="api", status="2xx") >= 6


def test_it_needs_no_credentials_and_tells_none(busy: Faces) -> None:
    told = text(busy.port)
    assert busy.key.partition(".")[2] not in told
    assert busy.token not in told


def test_it_keeps_to_prometheus_conventions(busy: Faces) -> None:
    promtool = shutil.which("promtool")
    require(promtool, "promtool is not installed")
    done = subprocess.run(
        [str(promtool), "check", "metrics"],
        input=text(busy.port),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_family_is_ours_and_says_what_it_is(busy: Faces) -> None:
    for family in families(busy.port):
        assert family.name.startswith("onejob_")
        assert family.documentation.endswith("."), family.name
        assert family.type in ("counter", "gauge", "histogram"), family.name


def test_histograms_rise_to_their_count(busy: Faces) -> None:
    for family in families(busy.port):
        if family.type != "histogram":
            continue
        by_labels: dict[str, list[float]] = {}
        for sample in family.samples:
            labels = {n: v for n, v in sample.labels.items() if n != "le"}
            if sample.name.endswith("_bucket"):
                by_labels.setdefault(str(labels), []).append(sample.value)
            elif sample.name.endswith("_count"):
                assert by_labels[str(labels)][-1] == sample.value
        assert all(values == sorted(values) for values in by_labels.values())


def test_every_end_has_a_series_before_the_first_job(api: Faces) -> None:
    ended = {
        dict(labels)["reason"]: (dict(labels)["state"], count)
        for (name, labels), count in series(api.port).items()
        if name == "onejob_jobs_ended_total"
    }
    assert set(ended) == {str(reason) for reason in Reason}
    assert {count for _, count in ended.values()} == {0}
    assert all(State(state).final for state, _ in ended.values())


def test_a_name_with_quotes_is_told_as_it_is(api: Faces, ledger: Ledger) -> None:
    name = 'a "big" \\ one'
    ledger.nodes.announce("n1", {"compute": {name: {}}})
    assert value(api.port, "compute_nodes", compute=name) == 1


def test_nodes_are_told_by_their_state(api: Faces, ledger: Ledger) -> None:
    for node, problems in (("fit", []), ("ill", ["no room"]), ("quiet", []), ("gone", [])):
        info = {"problems": problems, "live_restore": node == "fit", "compute": {"cpu": {}}}
        ledger.nodes.announce(node, info)
    now = time.time()
    ledger.client.zadd("onejob:nodes", {"quiet": now - 30, "gone": now - 100})
    known = series(api.port)  # one look: in a while the others are silent, too
    for state in ("alive", "unfit", "silent", "lost"):
        assert told(known, "nodes", state=state) == 1
    assert told(known, "node_fit", node="ill") == 0
    assert told(known, "node_live_restore", node="ill") == 0
    assert told(known, "node_live_restore", node="fit") == 1
    assert 100 <= told(known, "node_silent_seconds", node="gone") < 160
    assert told(known, "compute_nodes", compute="cpu") == 1


def test_a_paused_deployment_waits_for_nobody(api: Faces, hello: str, ledger: Ledger) -> None:
    for _ in range(2):
        api.submit(hello)
    assert value(api.port, "oldest_queued_seconds") > 0
    assert api.control("POST", f"/job-deployments/{hello}/pause").status == 201
    assert value(api.port, "oldest_queued_seconds") == 0
    assert value(api.port, "deployment_oldest_queued_seconds", deployment=hello) == 0
    assert value(api.port, "deployment_queued_jobs", deployment=hello) == 1
    assert value(api.port, "compute_waiting_jobs", compute="cpu") == 1  # what was let in before
    assert value(api.port, "deployments", state="paused") == 1


# -- a bounded number of series ----------------------------------------------------------------


def test_those_with_most_waiting_jobs_have_series_and_the_rest_is_one(
    api: Faces, ledger: Ledger
) -> None:
    fewest = Scene(ledger, "zz-fewest", cap=3)
    fewest.submit("a")
    for number in range(DEPLOYMENTS_LIMIT + 10):
        Scene(ledger, f"d{number:03}", cap=2)
    most = Scene(ledger, "zzz-most")
    for job_id in "abc":
        most.submit(job_id)
    known = series(api.port)
    for name, total in (
        ("queued_jobs", 2),
        ("slots_used", 2),
        ("slots_allowed", 3 + 2 * (DEPLOYMENTS_LIMIT + 10) + 1),
        ("slots_lost", 0),
    ):
        by_name = {
            dict(labels)["deployment"]: count
            for (told, labels), count in known.items()
            if told == f"onejob_deployment_{name}"
        }
        assert len(by_name) == DEPLOYMENTS_LIMIT + 1
        assert {"zzz-most", OTHER} <= set(by_name)
        assert "zz-fewest" not in by_name
        assert sum(by_name.values()) == total
    assert value(api.port, "deployments", state="running") == DEPLOYMENTS_LIMIT + 12


# -- processes and restarts --------------------------------------------------------------------


@pytest.fixture
def several(
    redis_server: RedisServer, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A server of three processes."""
    started = ApiServer.start(tmp_path_factory.mktemp("several"), redis_server.url, api_workers=3)
    until(lambda: len(started.worker_pids) == 3)  # it answers from the first one on
    yield started
    started.stop()


def answered(port: int) -> float:
    """The scrapes that were answered, with all that they tell of themselves."""
    return value(port, "http_requests_total", route="metrics", origin="api", status="2xx")


def handles(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def spread(server: ApiServer) -> list[Connection]:
    """Kept connections of which at least two processes have some."""
    give_up = time.monotonic() + 20
    while True:
        before = [handles(pid) for pid in server.worker_pids]
        connections = [Connection(server.port) for _ in range(15)]
        for connection in connections:
            assert scrape(connection)
        after = [handles(pid) for pid in server.worker_pids]
        if sum(many > few for many, few in zip(after, before, strict=True)) > 1:
            return connections
        assert time.monotonic() < give_up, "one process takes all connections"
        for connection in connections:
            connection.close()


def scrape(connection: Connection) -> Series:
    """What one answer tells, apart from what is another at every look."""
    connection.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    changing = re.compile("onejob_(redis_|.*queued_seconds|http_request_seconds)")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(connection.answer().body.decode())
        for sample in family.samples
        if not changing.match(sample.name)
    }


def test_every_process_tells_the_same(several: ApiServer, ledger: Ledger) -> None:
    api = Faces.of(several.port, ledger)
    api.submit(api.deploy())
    connections = spread(several)
    answers = [scrape(connection) for connection in connections]
    for connection in connections:
        connection.close()
    labels = (("origin", "api"), ("route", "metrics"), ("status", "2xx"))
    own = ("onejob_http_requests_total", labels)
    counts = [answer.pop(own) for answer in answers]
    assert len(answers[0]) > 150
    assert all(answer == answers[0] for answer in answers)
    # Each counts all that were answered before, by whichever process.
    assert counts == [counts[0] + n for n in range(len(counts))]


def test_nothing_falls_when_a_process_is_killed(api: Faces, busy: Faces, server: ApiServer) -> None:
    before = rising(api.port)
    killed = server.worker_pids[-1]
    os.kill(killed, signal.SIGKILL)
    give_up = time.monotonic() + 20
    while server.worker_pids[-1] == killed:
        assert time.monotonic() < give_up
        time.sleep(0.01)  # its log gives no sign
    after = rising(api.port)
    assert set(after) >= set(before)
    assert [name for name, count in before.items() if after[name] < count] == []


def test_the_ledgers_part_is_the_same_after_a_restart(
    busy: Faces, redis_server: RedisServer, tmp_path: Path
) -> None:
    before = rising(busy.port)
    other = ApiServer.start(tmp_path, redis_server.url)
    after = rising(other.port)
    other.stop()
    same = [name for name in before if not name[0].startswith(OWN)]
    assert len(same) > 100
    assert [before[name] for name in same] == [after[name] for name in same]


# -- without Redis -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RedisServer, ApiServer]]:
    """A Redis that the tests may stop, and a server of its own."""
    redis = RedisServer.start(tmp_path_factory.mktemp("alone"))
    api = ApiServer.start(tmp_path_factory.mktemp("alone-api"), redis.url, app=PRODUCT)
    yield redis, api
    api.stop()
    redis.stop()


def seconds_to_answer(port: int) -> float:
    began = time.monotonic()
    call(port, "GET", "/metrics")
    return time.monotonic() - began


def until_redis_is_up(port: int) -> None:
    until(lambda: value(port, "redis_up") == 1)  # it, too, may be slow to answer


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_without_redis_it_tells_that_and_what_it_knows_itself(
    alone: tuple[RedisServer, ApiServer], how: signal.Signals
) -> None:
    redis, api = alone
    until_redis_is_up(api.port)
    assert redis.pid is not None
    pid = redis.pid
    if how is signal.SIGKILL:
        redis.kill()
    else:
        stop(pid)
    try:
        # The machine may be busy with other tests: one answer that is soon proves it.
        assert any(seconds_to_answer(api.port) < 1 for _ in range(10))
        known = series(api.port)
    finally:
        if how is signal.SIGKILL:
            redis.restart()
        else:
            os.kill(pid, signal.SIGCONT)
    assert known["onejob_redis_up", ()] == 0
    assert answered(api.port) >= 1
    names = {name for name, _ in known}
    assert "onejob_build_info" in names
    assert "onejob_http_requests_total" in names
    assert not names & {"onejob_waiting_jobs", "onejob_jobs_ended_total"}, "unknown is not zero"
    until_redis_is_up(api.port)
