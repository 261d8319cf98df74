"""Secrets, shared volumes and private images in real replicas; and where values must not be."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from app import operations
from app.cli import main
from app.settings import Settings
from tests.e2e.house import House
from tests.images import base_image
from tests.registry import PASSWORD, USER, real_registry, remove_images

pytestmark = pytest.mark.docker
HUSH = "hunter2-hush-5e1f"
TELL = """
import json
c = take_job()
mounts = [line.split() for line in open("/proc/self/mountinfo")]
told = {
    "token": os.environ["TOKEN"],
    "file": open("/certs/a.pem").read(),
    "names": os.listdir("/certs"),
    "on": [m[m.index("-") + 1] for m in mounts if m[4] == "/certs"],
    "writable": [p for p in ("/certs", "/certs/a.pem", "/models", "/data") if os.access(p, 2)],
    "shared": open("/models/m").read(),
}
open("/data/made", "w").write("by a job")
body = json.dumps(told).encode()
c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
"""
DIES = """
c = take_job()
print("printed")
sys.exit(3)
"""
CONTAINER = {
    "env": [{"name": "TOKEN", "type": "secret", "value_or_reference_to_secret": "token"}],
    "volume_mounts": [
        {
            "type": "secret",
            "mount_path": "/certs",
            "secret_name": "certs",
            "file_names": ["a.pem"],
        },
        {"type": "shared", "mount_path": "/models", "volume_id": "models"},
        {"type": "shared", "mount_path": "/data", "volumeId": "data"},
    ],
}


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Directories of this machine, and the operator's file that names them."""
    for name in ("models", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "models" / "m").write_text("a model")
    volumes = tmp_path / "volumes.toml"
    volumes.write_text(
        f'[models]\npath = "{tmp_path}/models"\nread_only = true\n'
        f'[data]\npath = "{tmp_path}/data"\n'
    )
    return volumes


def keep(house: House) -> None:
    files = [
        {"file_name": name, "base64_content": base64.b64encode(HUSH.encode()).decode()}
        for name in ("a.pem", "b.pem")
    ]
    for route, body in (
        ("/secrets", {"name": "token", "value": HUSH}),
        ("/file-secrets", {"name": "certs", "files": files}),
    ):
        house.faces.create(route, body)


def having(folder: Path, text: str) -> list[str]:
    """The files under a folder that have a text in them."""
    found = subprocess.run(
        ["grep", "-rlF", text, str(folder)], check=False, capture_output=True, text=True
    )
    return found.stdout.splitlines()


def test_values_reach_the_replica_and_lie_nowhere_else(
    new_house: Callable[..., House], shared: Path
) -> None:
    house = new_house(volumes_file=shared)
    keep(house)
    for text in (HUSH, base64.b64encode(HUSH.encode()).decode()):
        assert having(house.folder, text) == []  # Redis's file and all the rest of it
    house.deploy("teller", TELL, container=CONTAINER)
    status, result = house.run("teller")
    assert status["State"] == "succeeded", status
    assert result.json == {
        "token": HUSH,
        "file": HUSH,
        "names": ["a.pem"],
        "on": ["tmpfs"],
        "writable": ["/data"],
        "shared": "a model",
    }
    assert (shared.parent / "data" / "made").read_text() == "by a job"

    house.deploy("dies", DIES, container=CONTAINER)
    job_id = house.faces.submit("dies")
    assert house.finished("dies", job_id)["Reason"] == "exit_nonzero"
    house.until_nothing_is_left()
    assert list((Settings().secrets_root / house.node).iterdir()) == []

    house.faces.delete("/secrets/token?force=true")
    failed, _ = house.run("dies")
    assert (failed["State"], failed["Reason"]) == ("failed", "start_failed")
    assert "no secret 'token' any more" in failed["Error"]
    answers = [house.faces.control("GET", path) for path in ("/secrets", "/file-secrets")]
    answers.append(house.faces.control("GET", f"/job-deployments/dies/jobs/{job_id}"))
    assert not any(HUSH.encode() in answer.body for answer in answers)
    # Redis has it in the result, since the app put it there.
    assert having(house.folder / "logs", HUSH) == having(house.folder / "spool", HUSH) == []


def test_a_private_image_is_pulled_with_the_credentials_of_its_deployment(
    house: House, tmp_path: Path
) -> None:
    with real_registry(tmp_path / "registry", password=True) as registry:
        container = {"image": registry.push("private", base=base_image())}
        house.deploy("stranger", "take_job()", container=container)
        refused, _ = house.run("stranger")
        assert refused["Reason"] == "image_denied", refused

        login = {"username": USER, "password": PASSWORD}
        config = json.dumps({"auths": {registry.host: login}})
        body = {"name": "own", "type": "custom", "docker_config_json": config}
        route = "/container-registry-credentials"
        house.faces.create(route, body)
        settings = {"is_private": True, "credentials": {"name": "own"}}
        house.deploy(
            "friend", "take_job()", container=container, container_registry_settings=settings
        )
        status, _ = house.run("friend")
        assert status["State"] == "succeeded", status
        house.until("friend", status["Id"], lambda s: s["Timeline"][-1]["Event"] == "released")
        remove_images(registry.host)
    assert having(house.folder / "logs", PASSWORD) == []


def test_a_key_is_rotated_by_a_command(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"name": "kept", "value": HUSH}
    house.faces.create("/secrets", body)
    done = CliRunner().invoke(main, ["secrets", "rotate", "--data", str(house.folder)])
    assert done.exit_code == 0, done.output
    assert "encrypted with the first key" in done.output
    assert HUSH not in done.output
    wrong = {"ONEJOB_REDIS_URL": house.stack.redis_url, "ONEJOB_SECRETS_KEY": ""}
    monkeypatch.setattr(operations.os, "environ", operations.os.environ | wrong)
    refused = CliRunner().invoke(main, ["secrets", "rotate"])
    assert refused.exit_code == 1
    assert "ONEJOB_SECRETS_KEY is not set" in refused.output
    house.faces.delete("/secrets/kept")
