"""The file for a machine with nothing but a worker, and the small overrides, to both composes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings, variable
from tests.compose.commands import DISK, FILE, OVERRIDE, REDIS_PORT, WORKER_FILE, first, second
from tests.compose.test_file import at, meaning_of

# Settings that a worker has no use for.
OF_THE_API = {
    *("bind", "public_url", "api_workers", "api_threads", "token_seconds", "refresh_seconds"),
    *("request_limit_bytes", "queue_limit", "memory_limit_bytes"),
    *("head_seconds", "body_seconds", "hold_seconds", "held_connections", "followers"),
    "log_wait_seconds",
}
CHOICES = {
    "worker": (WORKER_FILE,),
    "worker-disk": (WORKER_FILE, DISK),
    "disk": (FILE, DISK),
    "redis": (FILE, REDIS_PORT),
    "all": (FILE, OVERRIDE, DISK, REDIS_PORT),
}


@pytest.fixture
def ours() -> dict[str, Any]:
    """What the file for a worker alone means."""
    return meaning_of(tuple(first()), (WORKER_FILE,))


@pytest.fixture
def whole() -> dict[str, Any]:
    """What the file for everything means."""
    return meaning_of(tuple(first()), (FILE,))


@pytest.mark.parametrize("files", CHOICES.values(), ids=list(CHOICES))
def test_both_composes_understand_the_same(files: tuple[Path, ...]) -> None:
    assert meaning_of(tuple(first()), files) == meaning_of(tuple(second()), files)


def test_there_is_a_worker_with_its_firewall_and_nothing_else(ours: dict[str, Any]) -> None:
    assert set(ours["services"]) == {"network", "worker", "firewall"}
    assert ours["services"]["network"]["restart"] == "no"
    assert ours["volumes"] == []
    waits = ours["services"]["worker"]["depends_on"]
    assert waits == {"network": "service_completed_successfully", "firewall": "service_started"}


def test_they_are_those_of_the_whole_file(ours: dict[str, Any], whole: dict[str, Any]) -> None:
    own, theirs = ours["services"]["worker"], dict(whole["services"]["worker"])
    api = {variable(name) for name in OF_THE_API}
    theirs["environment"] = {n: v for n, v in theirs["environment"].items() if n not in api}
    differs = {key for key in own | theirs if own.get(key) != theirs.get(key)}
    assert differs == {"depends_on", "volumes"}
    firewall = dict(ours["services"]["firewall"])
    assert firewall.pop("depends_on") == {"network": "service_completed_successfully"}
    assert firewall == whole["services"]["firewall"]
    built = (ours["services"]["network"], whole["services"]["credentials"])
    assert built[0]["build"] == built[1]["build"]
    for part in ("networks", "network names"):
        assert ours[part] == whole[part]


def test_only_what_ends_at_once_is_in_the_network_of_replicas(
    ours: dict[str, Any], whole: dict[str, Any]
) -> None:
    for services, wanted in ((ours["services"], "network"), (whole["services"], "credentials")):
        inside = [name for name, s in services.items() if "replicas" in s.get("networks", [])]
        assert inside == [wanted]


def test_what_is_left_out_is_no_setting_of_workers() -> None:
    workers = Path(__file__).parents[2] / "workers"
    text = "".join(path.read_text() for path in workers.rglob("*.py"))
    assert set(Settings.model_fields) >= OF_THE_API
    read = {name for name in OF_THE_API if re.search(rf"\b(settings|self)\.{name}\b", text)}
    assert read == set()


def test_its_secrets_are_files_of_this_machine(ours: dict[str, Any], whole: dict[str, Any]) -> None:
    own, theirs = (set(one["services"]["worker"]["volumes"]) for one in (ours, whole))
    (secrets,) = own - theirs
    assert secrets == f"{WORKER_FILE.parent / 'worker-secrets'}:/run/onejob:ro"
    assert theirs - own == {"secrets-worker:/run/onejob:ro"}


@pytest.mark.parametrize("base", [FILE, WORKER_FILE])
def test_the_engines_disk_is_shown_to_the_worker_alone(base: Path) -> None:
    plain = meaning_of(tuple(first()), (base,))["services"]
    more = meaning_of(tuple(first()), (base, DISK))["services"]
    added = set(more["worker"]["volumes"]) - set(plain["worker"]["volumes"])
    assert added == {"/var/lib/docker/image:/var/lib/docker:ro"}
    assert {n: s for n, s in more.items() if n != "worker"} == {
        n: s for n, s in plain.items() if n != "worker"
    }


def test_redis_gets_a_port_of_this_machine_alone_unless_told() -> None:
    services = meaning_of(tuple(first()), (FILE, REDIS_PORT))["services"]
    assert services["redis"]["ports"] == ["127.0.0.1:6379:6379/tcp"]


@pytest.mark.parametrize("path", [WORKER_FILE, DISK, REDIS_PORT], ids=lambda path: path.name)
def test_no_service_has_a_name_of_its_own(path: Path) -> None:
    assert at(yaml.safe_load(path.read_text()), ["services", "*", "container_name"]) == []
