"""The services brought up by docker-compose, a job run through them, and all of it gone."""

import contextlib
import http.client
import itertools
import os
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest
from verda import VerdaClient

from tests.api.faces import Faces
from tests.api.wire import Answer, exchange
from tests.compose.commands import machines_own
from tests.compose.project import Project, build, entrypoint, packet_filter_rules
from tests.compose.second_machine import SecondMachine, engine_root
from tests.conftest import engine_answers, require
from tests.e2e.by_sdk import JSON, NAME, run_a_job
from tests.e2e.house import Place, until
from tests.e2e.patient import PatientFaces, answered
from tests.images import base_image
from tests.ports import free_port
from tests.workers.addresses import listening

# The first test builds the images: four minutes on a busy machine that has none.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]

# Tries each address of the request's body; what is dropped stays silent.
CURIOUS = """
import json
s = listen(); answer_health(s); c, _ = s.accept(); data = read_request(c)
routes = [line.split() for line in open("/proc/net/route")]
(gateway,) = (route[2] for route in routes if route[1] == "00000000")
gateway = socket.inet_ntoa(bytes.fromhex(gateway)[::-1])
answers = {}
for target in data.partition(b"\\r\\n\\r\\n")[2].decode().split():
    host, port = target.replace("gateway", gateway).split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
        answers[target] = "reached"
    except TimeoutError:
        answers[target] = "silence"
    except OSError as error:
        answers[target] = str(error)
c.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n" + json.dumps(answers).encode())
"""
# Tells the head that it got, and the sum of the body.
ECHO = """
import hashlib
s = listen(); answer_health(s); c, _ = s.accept(); data = read_request(c)
head, _, body = data.partition(b"\\r\\n\\r\\n")
told = head + b"\\r\\nsum: " + hashlib.sha256(body).hexdigest().encode()
c.sendall(b"HTTP/1.1 200 OK\\r\\nX-Accel-Redirect: /@once\\r\\nX_App: yes\\r\\n\\r\\n" + told)
"""
# Runs until somebody leaves a file in its container.
HELD = """
s = listen(); answer_health(s); c, _ = s.accept(); read_head(c)
while not os.path.exists("/tmp/go"): time.sleep(0.05)
c.sendall(OK)
"""
QUICK = "c = take_job(); c.sendall(OK)\n"
EARLY, LATE = 10, 9  # jobs


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The services, up; taken down after the last test."""
    require(engine_answers(), "no Docker engine answers")
    require(os.geteuid() == 0, "only root can look into the spool")
    require(shutil.which("iptables"), "iptables is not installed")
    base_image()
    build()
    project = Project(machines_own(), tmp_path_factory.mktemp("compose"))
    try:
        project.up()
        project.log_in()
        yield project
    finally:
        project.remove_replicas()
        project.down()


@pytest.fixture(scope="class")
def proxied(project: Project) -> Iterator[Faces]:
    """Clients of the proxy, behind which there are two containers of the API."""
    project.compose("--profile", "proxy", "up", "-d", "--no-build", "--scale", "api=2")
    faces = PatientFaces(project.proxy_port, project.faces.key, project.faces.token)
    until(lambda: answers(faces), lambda: project.compose("logs", "proxy"))
    yield faces
    project.up()


def test_the_unmodified_sdk_runs_a_job(project: Project) -> None:
    known = project.credentials
    client = VerdaClient(known["client_id"], known["client_secret"], base_url=f"{project.url}/v1")
    inference = run_a_job(client, known["inference_key"], entrypoint(JSON))
    assert inference.endpoint_base_url == f"{project.url}/{NAME}"
    answered(lambda: client.job_deployments.delete(NAME), "not_found")


def test_a_replica_reaches_neither_this_machine_nor_the_services(project: Project) -> None:
    port = free_port()
    redis, api = project.address("redis"), project.address("api")
    targets = f"gateway:{port}", f"{redis}:6379", f"{api}:8080"
    until(lambda: "are kept from" in project.compose("logs", "--no-color", "firewall"))
    with listening(sys.executable, ports=(port,)):
        socket.create_connection((redis, 6379), 30).close()  # they are there, for those who may
        project.deploy("curious", CURIOUS, 1)
        job_id = project.faces.submit("curious", "/", " ".join(targets).encode())
        assert project.finished("curious", job_id)["State"] == "succeeded"
    answers = project.faces.result("curious", job_id).json
    assert answers == dict.fromkeys(targets, "silence")


def test_flower_wants_its_password(project: Project) -> None:
    until(project.flower_answers)
    assert b"Flower" in project.flower("/")
    with pytest.raises(urllib.error.HTTPError) as caught:
        project.flower("/", "another")
    assert caught.value.code == 401


def test_flower_remembers(project: Project) -> None:
    project.deploy("kept", "c = take_job(); c.sendall(OK)\n", 1)

    def known() -> str:
        """A task that it knows. It hears of those that run once it listens, and does not say so."""
        project.finished("kept", project.faces.submit("kept"))
        return next((task for task in project.tasks() if task.startswith("kept.")), "")

    task = until(known)
    project.compose("restart", "--timeout", "60", "flower")  # at its end it writes all down
    until(lambda: task in project.tasks())


def test_prometheus_finds_the_others(project: Project) -> None:
    project.compose("--profile", "monitoring", "up", "-d", "--no-build", "prometheus")
    wanted = {name: ["up"] for name in ("onejob", "flower", "prometheus")}
    until(lambda: project.targets() == wanted, lambda: str(project.targets()))
    project.compose("--profile", "monitoring", "rm", "--stop", "--force", "prometheus")


def test_the_cap_is_exact_while_workers_are_added(project: Project) -> None:
    project.deploy("scaled", "c = take_job(); time.sleep(0.7); c.sendall(OK)\n", 3)
    seen: Counter[int] = Counter()
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.05):
            seen[len(project.replicas())] += 1

    sampler = threading.Thread(target=sample)
    sampler.start()
    ids: list[str] = []

    def submit(count: int) -> None:
        ids.extend(project.faces.submit("scaled") for _ in range(count))

    def workers() -> set[str]:
        """Who has run jobs, after some more; one worker may have stood still meanwhile."""
        submit(LATE)
        states = {project.finished("scaled", job_id)["State"] for job_id in ids}
        assert states == {"succeeded"}
        return {worker for id, worker in project.tasks().items() if id.startswith("scaled.")}

    try:
        submit(EARLY)
        project.up("--scale", "worker=3")
        until(lambda: project.compose("logs", "--no-color", "worker").count(" ready.") == 3)
        until(lambda: len(workers()) == 3, lambda: str(project.tasks()))
    finally:
        done.set()
        sampler.join()
    assert max(seen) == 3, seen


def test_workers_that_are_taken_away_disturb_no_job(project: Project) -> None:
    project.up("--scale", "worker=3")
    project.deploy("held", HELD, 3)
    project.deploy("quick", QUICK, 2)
    with project.starts() as started:
        held = [project.faces.submit("held", X_Inference_Id=f"held-{n}") for n in range(3)]
        until(lambda: all(state(project, "held", job_id) == "running" for job_id in held))
        before = project.running("held")
        with load(project.faces, "quick", 2) as quick:
            until(lambda: quick)
            project.compose("up", "-d", "--no-build", "--scale", "worker=1")
            scaled = quick.total()
            until(lambda: quick.total() > scaled + 2)
        assert len(project.addresses("worker")) == 1
        assert project.running("held") == before
        release(before)
        assert {project.finished("held", job_id)["State"] for job_id in held} == {"succeeded"}
        until(lambda: started >= quick + Counter(held))  # the engine may tell a little late
    assert started == quick + Counter(held)


def test_jobs_outlive_their_workers(project: Project) -> None:
    project.deploy("patient", HELD, 1)
    job_id = project.faces.submit("patient")
    until(lambda: state(project, "patient", job_id) == "running")
    project.compose("stop", "worker")
    running = project.running("patient")
    assert len(running) == 1
    release(running)
    until(lambda: not project.running("patient"))
    assert state(project, "patient", job_id) == "running"
    project.up()
    assert project.finished("patient", job_id)["State"] == "succeeded"
    assert project.faces.result("patient", job_id).body == b"ok"


class TestProxy:
    """The profile `proxy`."""

    def test_a_request_passes_unchanged(self, project: Project, proxied: Faces) -> None:
        project.deploy("echo", ECHO, 2)
        headers = [(f"X-Many_{n}", str(n)) for n in range(200)]
        headers += [("X-Long", "v" * 65536), ("X-Twice", "1"), ("x-twice", "2")]
        body = os.urandom(1 << 20) * 30
        seen = {}
        for name, faces in (("plain", project.faces), ("proxied", proxied)):
            own = ("Content-Length", str(len(body))), ("X-Inference-Id", name)
            head = faces.head("PUT", "/echo/a%2Fb//c/%e4/?q=%20&x=/../", *headers, *own)
            # Redis may be too long about so much on a slow disk; then clients repeat.
            answer = until(lambda h=head, to=faces.port: an_answer(lambda: exchange(to, h, body)))
            assert answer.status == 202, answer
            project.finished("echo", name)
            result = faces.result("echo", name)
            assert (result["X-Accel-Redirect"], result["X_App"]) == ("/@once", "yes")
            lines = result.body.split(b"\r\n")
            seen[faces] = [line for line in lines if not line.startswith(b"X-Inference-Id")]
        assert seen[proxied][0] == b"PUT /a%2Fb//c/%e4/?q=%20&x=/../ HTTP/1.1"
        assert seen[proxied] == seen[project.faces]

    def test_the_keys_are_known_to_who_needs_them(self, project: Project, proxied: Faces) -> None:
        needed = {"secrets_key": {"api", "worker"}, "token_secret": {"api"}}
        needed |= {"client_secret": {"api"}, "redis_password": {"api", "worker", "flower", "redis"}}
        services = ("api", "worker", "firewall", "flower", "redis", "proxy")
        files = [f"/run/onejob/{name}" for name in needed]
        shown = project.compose("run", "--rm", "-T", "--entrypoint", "cat", "credentials", *files)
        for (name, wanted), text in zip(needed.items(), shown.split(), strict=True):
            assert {s for s in services if project.knows(s, text)} == wanted, name

    def test_what_is_refused_is_refused_in_the_apis_form(
        self, project: Project, proxied: Faces
    ) -> None:
        project.deploy("small", QUICK, 1)
        expecting = ("Expect", "100-continue"), ("Content-Length", str(1 << 26))

        def too_large() -> Answer:
            with proxied.open("POST", "/small", *expecting) as connection:
                return connection.answer()

        assert refusal(until(lambda: an_answer(too_large))) == (413, "payload_too_large")
        for method, target, header, wanted in (
            ("POST", "/small/%zz", "", (400, "invalid_request")),
            ("TRACE", "/small", "", (405, "method_not_allowed")),
            ("POST", "/small", "v" * 200_000, (431, "invalid_request")),
            ("GET", "/@once", "", (404, "not_found")),
        ):
            with proxied.open(method, target, ("X-Long", header)) as connection:
                assert refusal(connection.answer()) == wanted, (method, target)

    def test_an_api_container_dies_and_clients_repeat_but_the_proxy_does_not(
        self, project: Project, proxied: Faces
    ) -> None:
        project.deploy("lonely", HELD, 2)
        project.deploy("steady", QUICK, 3)
        # nginx would repeat a GET by itself; without an id that makes another job.
        with proxied.open("GET", "/lonely", ("Prefer", "wait=280")) as waiting:
            until(lambda: project.running("lonely"))
            (holder,) = until(lambda: one(project.proxy_talks_to()))
            with project.starts() as started:
                with load(proxied, "steady", 3) as taken:
                    addresses = project.addresses("api")
                    until(lambda: all(submits(address) for address in addresses.values()))
                    remove(holder)
                    before = taken.total()
                    assert refusal(waiting.answer()) == (503, "service_unavailable")
                    until(lambda: taken.total() >= before + 6)
                until(lambda: started >= taken)  # the engine may tell a little late
        assert started == taken
        assert len(proxied.control("GET", "/job-deployments/lonely/jobs").json["jobs"]) == 1
        release(project.running("lonely"))

    def test_without_an_api_it_says_so(self, project: Project, proxied: Faces) -> None:
        project.compose("kill", "api")
        with proxied.open("POST", "/steady") as connection:
            answer = connection.answer()
        assert refusal(answer) == (503, "service_unavailable")
        assert int(answer["Retry-After"]) > 0


def test_a_second_machine_works_for_the_same_redis(project: Project, tmp_path: Path) -> None:
    machine = SecondMachine(machines_own(), project, tmp_path)
    try:
        machine.compose("up", "-d", "--no-build")
        until(lambda: "far" in offered(project), machine.logs)
        project.deploy("distant", QUICK, 1, compute={"name": "far", "size": 1})
        status = project.finished("distant", project.faces.submit("distant"))
        assert (status["State"], status["Node"]) == ("succeeded", machine.node)
        until(lambda: any(machine.bridge in rule for rule in packet_filter_rules()))
        root = engine_root()
        ask = f"import os; print(os.stat({str(root)!r}).st_dev)"
        said = machine.compose("exec", "-T", "worker", "python3", "-c", ask)
        assert said.strip() == str((root / "image").stat().st_dev)
        until(lambda: not Place(machine.spool).containers())  # no network goes before them
    finally:
        machine.compose("down")
    assert not any(machine.bridge in rule for rule in packet_filter_rules())


# The last one: nothing is there after it.
def test_down_leaves_nothing_behind(project: Project) -> None:
    project.deploy("last", "c = take_job(); c.sendall(OK)\n", 1)
    job_id = project.faces.submit("last")
    assert project.finished("last", job_id)["State"] == "succeeded"
    until(lambda: not project.replicas() and not project.spools())
    project.down()
    assert project.left() == {
        "containers": [],
        "networks": [],
        "volumes": [],
        "replicas": [],
        "spools": [],
        "rules": [],
    }


def state(project: Project, name: str, job_id: str) -> str:
    """The exact state of a job."""
    return str(project.faces.status(name, job_id).json["State"])


def release(containers: Iterable[str]) -> None:
    """Lets replicas of HELD go on."""
    client = docker.APIClient()
    for container in containers:
        made = client.exec_create(container, ["touch", "/tmp/go"])
        client.exec_start(made)
    client.close()


def one(found: set[str]) -> set[str]:
    """The set if there is exactly one in it; a health check may be under way beside it."""
    return found if len(found) == 1 else set()


def answers(faces: Faces) -> bool:
    """Whether the API can be reached that way."""
    try:
        return faces.data("GET", "/health").status == 200
    except (OSError, http.client.HTTPException):  # not up yet
        return False


def an_answer(ask: Callable[[], Answer]) -> Answer | None:
    """The answer, if it is one; it may be too long in coming, too."""
    try:
        answer = ask()
    except (OSError, EOFError):
        return None
    return None if answer.status == 503 else answer


def refusal(answer: Answer) -> tuple[int, str]:
    """The status and the code of an error in the API's form."""
    assert set(answer.json) == {"code", "message"}
    assert answer["Content-Type"] == "application/json"
    return answer.status, answer.json["code"]


@contextlib.contextmanager
def load(faces: PatientFaces, name: str, clients: int) -> Iterator[Counter[str]]:
    """Clients that submit a job and wait for its result, again and again; counts these by job."""
    over, taken = threading.Event(), Counter[str]()

    def client(number: int) -> None:
        for n in itertools.count():
            if over.is_set():
                return
            answer = insist(faces.impatient, name, f"{number}-{n}")
            assert (answer.status, answer.body) == (200, b"ok"), answer
            taken[f"{number}-{n}"] += 1

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, number) for number in range(clients)]
        try:
            yield taken
        finally:
            over.set()
    for one in running:
        one.result()


def insist(faces: Faces, name: str, job_id: str) -> Answer:
    """Submits a job and waits for its result, as a client that repeats what had no answer."""
    headers = [("X-Inference-Id", job_id), ("Prefer", "wait=10")]
    while True:
        try:
            answer = faces.data("POST", f"/{name}", headers)
        except (OSError, http.client.HTTPException):  # the connection broke
            continue
        if answer.status not in (202, 503):
            return answer
        if answer.status == 503:
            time.sleep(float(answer["Retry-After"]))  # for as long as the server says


def submits(address: str) -> int:
    """How many submits one container of the API has answered well; none if it is not up yet."""
    try:
        with urllib.request.urlopen(f"http://{address}:8080/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
    except OSError:
        return 0
    told = [line for line in lines if line.startswith("onejob_http_requests_total{")]
    return sum(int(float(line.split()[-1])) for line in told if 'route="submit"' in line)


def remove(container: str) -> None:
    """Kills a container for good."""
    client = docker.APIClient()
    client.remove_container(container, force=True)
    client.close()


def offered(project: Project) -> set[str]:
    """The compute resources that live workers have."""
    resources = project.faces.control("GET", "/serverless-compute-resources").json
    return {one["name"] for one in resources if one["is_available"]}
