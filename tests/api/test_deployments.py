"""/v1/job-deployments: create, list, read, scaling, status, delete. Changes: test_changes.py."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app import web
from app.api import deployments
from app.ledger import Ledger
from app.ledger.deployments import SHRINK_LIMIT
from app.settings import Settings
from tests.api.faces import Faces, deployment
from tests.api.server import CLIENT_ID, CLIENT_SECRET, SOON_SECONDS, TOKEN_SECRET
from tests.api.wire import call
from tests.api.worker import PlayedWorker
from tests.redis_server import RedisServer

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NO_TIMEOUTS = [
    *(
        "300001",
        "300000.1",
        "-1",
        "-0.1",
        "abc",
        "NaN",
        "nan",
        "inf",
        "-inf",
        "1e6",
        "1e999",
        "1_000",
    ),
    *("+1", "%201", "0x10", "%D9%A3", "1,2", "", "9" * 400),
]


def created(api: Faces, **changes: Any) -> dict[str, Any]:
    """The answer to the creation of a deployment."""
    answer = api.control("POST", "/job-deployments", deployment(**changes))
    assert answer.status == 201, answer
    return dict(answer.json)


def test_what_is_made_comes_back_whole(api: Faces) -> None:
    answer = created(api)
    assert INSTANT.fullmatch(answer.pop("created_at"))
    updated_at = answer["containers"][0]["image"].pop("last_updated_at")
    assert INSTANT.fullmatch(updated_at)
    assert answer == {
        "name": "hello",
        "containers": [
            {
                "name": "hello-0",
                "image": {"image": "example/hello:1"},
                "exposed_port": 8000,
                "should_use_cached_image": True,
                "healthcheck": {"enabled": True, "port": 8000, "path": "/health"},
                "entrypoint_overrides": {"enabled": False, "entrypoint": [], "cmd": []},
                "env": [],
                "volume_mounts": [],
            }
        ],
        "compute": {"name": "cpu", "size": 1},
        "container_registry_settings": {"is_private": False, "credentials": None},
        "scaling": {
            "max_replica_count": 1,
            "queue_message_ttl_seconds": 300,
            "deadline_seconds": 60,
        },
        "startup_seconds": None,
        "retry_policy": None,
        "endpoint_base_url": f"http://127.0.0.1:{api.port}/hello",
        "created_by_user_id": "tests",
    }


def test_every_member_is_kept(api: Faces) -> None:
    container = {
        "image": "registry.example:5000/a/b@sha256:" + "0" * 64,
        "exposed_port": 1,
        "should_use_cached_image": False,
        "healthcheck": {"enabled": False, "port": 65535, "path": "/up?x=1"},
        "entrypoint_overrides": {"enabled": True, "entrypoint": ["/a", ""], "cmd": ["ü", "\n"]},
        "env": [{"name": "A", "value_or_reference_to_secret": "b=c\n", "type": "plain"}],
        "volume_mounts": [
            {"type": "scratch", "mount_path": "/scratch"},
            {"type": "memory", "mount_path": "/dev/shm", "size_in_mb": 128},
        ],
    }
    made = created(
        api,
        name="all",
        containers=[container],
        compute={"name": "cpu", "size": 2},
        scaling={
            "max_replica_count": 7,
            "queue_message_ttl_seconds": 1,
            "deadline_seconds": 604_800,
        },
        startup_seconds=30,
    )
    read = api.control("GET", "/job-deployments/all").json
    assert read == made
    got = read["containers"][0]
    assert got.pop("name") == "all-0"
    assert got.pop("image")["image"] == container.pop("image")
    assert got == container
    assert read["compute"] == {"name": "cpu", "size": 2}
    assert read["scaling"]["max_replica_count"] == 7
    assert read["startup_seconds"] == 30


def test_what_was_read_can_be_sent_back(api: Faces) -> None:
    made = created(api)
    copied = created(api, **(made | {"name": "copy"}))
    same = ("compute", "scaling", "container_registry_settings", "startup_seconds")
    assert {name: copied[name] for name in same} == {name: made[name] for name in same}
    assert copied["containers"][0]["healthcheck"] == made["containers"][0]["healthcheck"]


def test_unknown_members_and_nulls_are_ignored(api: Faces) -> None:
    container = {
        "image": {"image": "example/hello:1", "last_updated_at": "whenever"},
        "exposed_port": 80,
        "name": None,
        "autoupdate": {"enabled": True, "mode": "latest"},
        "healthcheck": {"enabled": True, "port": None, "path": None, "more": 1},
        "entrypoint_overrides": None,
        "env": None,
        "volume_mounts": None,
    }
    made = created(
        api,
        containers=[container],
        container_registry_settings=None,
        startup_seconds=None,
        is_spot=False,
        endpoint_base_url="http://elsewhere",
    )
    assert made["containers"][0]["healthcheck"] == {"enabled": True, "port": 80, "path": "/health"}
    assert made["containers"][0]["env"] == []
    assert made["endpoint_base_url"] == f"http://127.0.0.1:{api.port}/hello"


def test_the_list_is_short_and_the_oldest_comes_first(api: Faces) -> None:
    assert api.control("GET", "/job-deployments").json == []
    names = ["b", "a", "c"]
    made = [created(api, name=name) for name in names]
    listed = api.control("GET", "/job-deployments/").json
    members = ("name", "created_at", "created_by_user_id", "compute")
    assert listed == [{member: each[member] for member in members} for each in made]


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a--b", "x" * 63])
def test_names_that_are_good(api: Faces, name: str) -> None:
    created(api, name=name)
    assert api.control("GET", f"/job-deployments/{name}").json["name"] == name
    assert api.data("POST", f"/{name}/x").status == 202


def test_a_name_that_is_taken_is_a_conflict(api: Faces, hello: str) -> None:
    answer = api.control("POST", "/job-deployments", deployment())
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert "hello" in answer.json["message"]


def test_of_many_that_want_a_name_one_gets_it(api: Faces) -> None:
    with ThreadPoolExecutor(4) as pool:
        posts = [
            pool.submit(api.control, "POST", "/job-deployments", deployment()) for _ in range(8)
        ]
        assert sorted(post.result().status for post in posts) == [201] + [409] * 7


def test_a_resource_that_a_live_worker_offers_is_known(api: Faces, ledger: Ledger) -> None:
    offer = {"compute": {"Tesla V100": {"cpus": 6, "memory_mb": 24000, "gpus": 1}}}
    wanted = {"name": "Tesla V100", "size": 1}
    answer = api.control("POST", "/job-deployments", deployment(compute=wanted))
    assert answer.status == 400
    ledger.nodes.announce("node", offer)
    assert created(api, compute=wanted)["compute"] == wanted


def test_scaling_and_status(api: Faces, hello: str, ledger: Ledger) -> None:
    assert api.control("GET", "/job-deployments/hello/scaling").json == deployment()["scaling"]
    assert api.control("GET", "/job-deployments/hello/status").json == {"status": "running"}
    ledger.deployments.terminate("hello")
    assert api.control("GET", "/job-deployments/hello/status").json == {"status": "terminating"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 200),
        ("PATCH", "", 200),
        ("GET", "/scaling", 200),
        ("GET", "/status", 200),
        ("GET", "/jobs", 200),
        ("GET", "/jobs/one", 200),
        ("POST", "/jobs/one/cancel", 200),
        ("POST", "/pause", 201),
        ("POST", "/resume", 201),
        ("POST", "/purge-queue", 201),
        ("DELETE", "", 200),
    ],
)
def test_a_slash_at_the_end_changes_nothing(
    api: Faces, hello: str, method: str, path: str, status: int
) -> None:
    api.submit(hello, X_Inference_Id="one")
    body = {} if method == "PATCH" else None
    answer = api.control(method, f"/job-deployments/hello{path}/", body)
    assert answer.status == status
    assert (answer.body == b"") == (status == 201)


@pytest.mark.parametrize("path", ["", "/scaling", "/status"])
@pytest.mark.parametrize("name", ["unknown", "%ff", "%00", "a%2Fb", "x" * 500])
def test_what_is_unknown_is_404(api: Faces, name: str, path: str) -> None:
    answer = api.control("GET", f"/job-deployments/{name}{path}")
    assert (answer.status, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", ""),
        ("GET", "/hello"),
        ("PATCH", "/hello"),
        ("DELETE", "/hello"),
        ("GET", "/hello/status"),
        ("GET", "/hello/scaling"),
    ],
)
@pytest.mark.parametrize("credentials", [None, "Bearer x", "Basic x", "Bearer ", "Bearer \xff.a.b"])
def test_a_token_is_needed(
    api: Faces, hello: str, method: str, path: str, credentials: str | None
) -> None:
    headers = [("Authorization", credentials)] if credentials else []
    answer = call(api.port, method, f"/v1/job-deployments{path}", headers)
    assert (answer.status, answer.json["code"]) == (401, "unauthorized_request")
    assert api.control("GET", "/job-deployments/hello").status == 200


def test_an_idle_deployment_is_deleted_at_once(api: Faces, hello: str, ledger: Ledger) -> None:
    answer = api.control("DELETE", "/job-deployments/hello")
    assert (answer.status, answer.json) == (200, {"name": "hello", "status": "deleted"})
    assert api.control("GET", "/job-deployments/hello").status == 404
    assert api.control("DELETE", "/job-deployments/hello").status == 404
    assert api.data("POST", "/hello/x").status == 404
    keys: Any = ledger.client.keys("onejob:*")
    assert keys == [b"onejob:inference_keys"]


def test_what_waits_is_cancelled_and_what_runs_is_asked_to_end(
    api: Faces, hello: str, worker: PlayedWorker, ledger: Ledger
) -> None:
    running = api.submit("hello")
    waiting = [api.submit("hello", body=b"x") for _ in range(3)]
    grip = worker.run("hello", running)
    answer = api.control("DELETE", "/job-deployments/hello?timeout=0")
    assert (answer.status, answer.json["status"]) == (200, "terminating")
    assert api.control("GET", "/job-deployments/hello/status").json == {"status": "terminating"}
    for job_id in waiting:
        assert api.status("hello", job_id).json["Reason"] == "deployment_deleted"
        assert api.result("hello", job_id).status == 410
    job = worker.job("hello", running)
    assert (job.state, job.cancel) == ("running", "deployment_deleted")
    assert api.data("POST", "/hello/x").status == 409
    # It is gone once what ran is.
    with ThreadPoolExecutor(1) as pool:
        delete = pool.submit(api.control, "DELETE", "/job-deployments/hello")
        worker.cancel(grip)
        assert delete.result(60).json["status"] == "deleted"
    keys: Any = ledger.client.keys("onejob:*")
    left = sorted(key for key in keys if b"node" not in key)
    assert left == [b"onejob:counts", b"onejob:inference_keys"]


def test_a_deletion_waits_as_long_as_it_is_told(
    api: Faces, hello: str, worker: PlayedWorker
) -> None:
    worker.run("hello", api.submit("hello"))
    began = time.monotonic()
    answer = api.control("DELETE", "/job-deployments/hello?timeout=300")
    assert 0.3 <= time.monotonic() - began < SOON_SECONDS  # a minute, if it is not told
    assert answer.json["status"] == "terminating"


class Clock:
    """A clock on which only sleeping takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_deletion_waits_for_a_minute_unless_it_is_told(
    api: Faces,
    hello: str,
    worker: PlayedWorker,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker.run("hello", api.submit("hello"))
    clock = Clock()
    monkeypatch.setattr(deployments, "time", clock)
    monkeypatch.setattr(web, "REDIS_SECONDS", 30.0)  # a busy machine may hold it up
    known = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "token_secret": TOKEN_SECRET}
    app = web.create_app(Settings.model_validate(known | {"redis_url": redis_server.url}))
    answer = app.test_client().delete(
        "/v1/job-deployments/hello", headers={"Authorization": f"Bearer {api.token}"}
    )
    assert answer.json == {"name": "hello", "status": "terminating"}
    assert clock.now == pytest.approx(60, abs=1)


def test_a_long_queue_does_not_hold_a_deletion_that_must_not_wait(
    api: Faces, hello: str, ledger: Ledger
) -> None:
    record = ledger.deployments.get("hello")
    first = api.submit("hello")
    raw: Any = ledger.client.hgetall(f"onejob:job:{record.uid}:{first}")
    with ledger.client.pipeline() as pipe:
        for n in range(3 * SHRINK_LIMIT):
            pipe.hset(f"onejob:job:{record.uid}:{n}", mapping=raw | {b"state": b"queued"})
            pipe.zadd(f"onejob:deployment:{record.uid}:queue", {str(n): n})
            pipe.zadd(f"onejob:deployment:{record.uid}:jobs", {str(n): n})
        pipe.execute()
    answer = api.control("DELETE", "/job-deployments/hello?timeout=0")
    assert answer.json["status"] == "terminating"
    assert ledger.client.zcard(f"onejob:deployment:{record.uid}:queue") == 2 * SHRINK_LIMIT
    assert api.control("DELETE", "/job-deployments/hello").json["status"] == "deleted"


@pytest.mark.parametrize(
    "timeout", ["0", "0.0", "1", "2.5", "300000", "300000.0", "1e3", "1e-05", "2.5E-9"]
)
def test_timeouts_that_are_good(api: Faces, hello: str, timeout: str) -> None:
    answer = api.control("DELETE", f"/job-deployments/hello?timeout={timeout}")
    assert answer.json["status"] == "deleted"


@pytest.mark.parametrize("timeout", NO_TIMEOUTS)
def test_timeouts_that_are_none(api: Faces, hello: str, timeout: str) -> None:
    answer = api.control("DELETE", f"/job-deployments/hello?timeout={timeout}")
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert answer.json["message"].startswith("timeout: ")
    assert "0 to 300000" in answer.json["message"]
    assert api.control("GET", "/job-deployments/hello/status").json == {"status": "running"}
