"""Deployments on the command line: made, seen, changed, held, deleted."""

import json
from pathlib import Path

import pytest

from tests.api.faces import Faces, deployment
from tests.api.worker import PlayedWorker
from tests.cli.conftest import Onejob


def test_flags_make_a_deployment(onejob: Onejob, api: Faces) -> None:
    words = "create it --image a/b:1 --port 81 --compute cpu --size 2 --max-replicas 3"
    words += " --deadline 10m --ttl 2h --startup 90s --env A=1 --env B=x=y --cmd serve --cmd -v"
    words += " --health-path /up"
    made = onejob(*words.split())
    assert made.output == f"deployment it is made: http://127.0.0.1:{api.port}/it\n"
    found = api.control("GET", "/job-deployments/it").json
    (container,) = found["containers"]
    assert container["image"]["image"] == "a/b:1"
    assert container["exposed_port"] == 81
    assert container["healthcheck"] == {"enabled": True, "port": 81, "path": "/up"}
    assert container["entrypoint_overrides"]["cmd"] == ["serve", "-v"]
    assert [(e["name"], e["value_or_reference_to_secret"]) for e in container["env"]] == [
        ("A", "1"),
        ("B", "x=y"),
    ]
    assert found["compute"] == {"name": "cpu", "size": 2}
    assert found["startup_seconds"] == 90
    assert found["scaling"] == {
        "max_replica_count": 3,
        "queue_message_ttl_seconds": 7200,
        "deadline_seconds": 600,
    }


def test_an_image_is_enough(onejob: Onejob, api: Faces) -> None:
    made = json.loads(onejob("create", "it", "--image", "a/b:1", "-o", "json").stdout)
    assert made == api.control("GET", "/job-deployments/it").json
    assert made["containers"][0]["exposed_port"] == 8080
    assert made["scaling"]["max_replica_count"] == 1


def test_a_file_makes_one_and_flags_go_before_it(
    onejob: Onejob, api: Faces, tmp_path: Path
) -> None:
    (tmp_path / "d.json").write_text(json.dumps(deployment("from-json")))
    (tmp_path / "d.toml").write_text(
        'name = "from-toml"\n[[containers]]\nimage = "a/b:1"\nexposed_port = 80\n'
        "[scaling]\nmax_replica_count = 7\nqueue_message_ttl_seconds = 5\ndeadline_seconds = 6\n"
    )
    assert onejob("create", "-f", f"{tmp_path}/d.json", "--max-replicas", "9").exit_code == 0
    assert onejob("create", "-f", f"{tmp_path}/d.toml").exit_code == 0
    assert onejob("create", "another", "-f", f"{tmp_path}/d.toml").exit_code == 0
    caps = {
        name: api.control("GET", f"/job-deployments/{name}/scaling").json["max_replica_count"]
        for name in ("from-json", "from-toml", "another")
    }
    assert caps == {"from-json": 9, "from-toml": 7, "another": 7}


def test_what_was_described_makes_a_copy(onejob: Onejob, hello: str) -> None:
    described = onejob("describe", hello, "-o", "json").stdout
    assert json.loads(described)["status"] == "running"
    assert onejob("create", "copy", "-f", "-", input=described).exit_code == 0
    copy = json.loads(onejob("describe", "copy", "-o", "json").stdout)
    assert copy["containers"][0]["image"]["image"] == "example/hello:1"


def test_an_update_changes_what_is_given_and_nothing_else(
    onejob: Onejob, api: Faces, hello: str
) -> None:
    before = api.control("GET", "/job-deployments/hello").json
    changed = onejob("update", hello, "--max-replicas", "8", "--env", "A=1")
    assert changed.output == "deployment hello is changed\n"
    after = api.control("GET", "/job-deployments/hello").json
    assert after["scaling"] == before["scaling"] | {"max_replica_count": 8}
    assert after["containers"][0]["image"]["image"] == "example/hello:1"
    assert after["containers"][0]["env"][0]["name"] == "A"


def test_the_list_is_a_table_or_the_servers_json(onejob: Onejob, api: Faces, hello: str) -> None:
    api.deploy("a-much-longer-name")
    lines = onejob("list").output.splitlines()
    assert lines[0].split() == ["NAME", "COMPUTE", "SIZE", "CREATED"]
    assert sorted(line.split()[0] for line in lines[1:]) == ["a-much-longer-name", "hello"]
    column = lines[0].index("COMPUTE")
    assert all(line[column:].startswith("cpu") for line in lines[1:])
    assert json.loads(onejob("list", "-o", "json").stdout) == (
        api.control("GET", "/job-deployments").json
    )


def test_an_empty_list_still_has_its_titles(onejob: Onejob) -> None:
    assert onejob("list").output.split() == ["NAME", "COMPUTE", "SIZE", "CREATED"]
    assert onejob("list", "-o", "json").stdout == "[]\n"


def test_a_description_hides_the_values_of_variables(onejob: Onejob, hello: str) -> None:
    onejob("update", hello, "--env", "TOKEN=geheim")
    told = onejob("describe", hello).output
    assert "example/hello:1" in told
    assert "TOKEN" in told
    assert "geheim" not in told


def test_pause_resume_and_purge(onejob: Onejob, api: Faces, hello: str) -> None:
    def state() -> str:
        return str(api.control("GET", "/job-deployments/hello/status").json["status"])

    assert (onejob("pause", hello).exit_code, state()) == (0, "paused")
    job_id = api.submit(hello)
    assert onejob("purge-queue", hello).exit_code == 0
    assert api.status(hello, job_id).json["State"] == "cancelled"
    assert (onejob("resume", hello).exit_code, state()) == (0, "running")


def test_delete_tells_whether_it_is_gone(onejob: Onejob, api: Faces, worker: PlayedWorker) -> None:
    for name in ("idle", "busy"):
        api.deploy(name)
    worker.run("busy", api.submit("busy"))
    gone = onejob("delete", "idle")
    assert (gone.exit_code, gone.output) == (0, "deployment idle is deleted\n")
    still = onejob("delete", "busy", "--timeout", "0")
    assert (still.exit_code, still.output) == (7, "deployment busy is terminating\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("create --image a/b:1", "needs a name"),
        ("create it --deadline 5w", "'5w' is no duration"),
        ("create it --env =x", "'=x' is not NAME=VALUE"),
        ("create it -f nowhere.json", "No such file"),
        ("update hello", "nothing to change"),
        ("jobs hello --state lost", "'lost' is not one of"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    onejob: Onejob, words: str, complaint: str
) -> None:
    answer = onejob(*words.split())
    assert answer.exit_code == 2
    assert complaint in answer.stderr


@pytest.mark.parametrize("text", ["[]", "{", "\x00"])
def test_a_file_that_is_none_is_refused(onejob: Onejob, text: str, tmp_path: Path) -> None:
    (tmp_path / "it.json").write_text(text)
    answer = onejob("create", "it", "-f", f"{tmp_path}/it.json")
    assert answer.exit_code == 2
    assert "it.json" in answer.stderr
