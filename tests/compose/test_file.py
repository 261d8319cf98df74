"""The compose file means what it shall, to both docker-composes; no engine is asked."""

import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from app import settings as app_settings
from app.settings import Settings, variable
from tests.compose.commands import (
    COMPOSE,
    DISK,
    FILE,
    OVERRIDE,
    REDIS_PORT,
    WORKER_FILE,
    first,
    run,
    second,
)
from tests.compose.meaning import meaning

PROFILES = ("--profile", "monitoring", "--profile", "proxy")
FILES = (FILE, OVERRIDE, WORKER_FILE, DISK, REDIS_PORT)
EXAMPLE = COMPOSE / ".env.example"
ONE_SHOT = {"credentials"}
MONITORING = {"prometheus", "grafana"}  # of the profile of that name
PROFILED = {name: ["monitoring"] for name in MONITORING} | {"proxy": ["proxy"]}
LONG_LIVED = {"redis", "api", "worker", "firewall", "flower", *PROFILED}
# Of these the file has the right value, or a secret's file has it.
NOT_FOR_PEOPLE = {
    *("redis_url", "bind", "docker_host", "client_id", "client_secret", "token_secret"),
    *("flower_password", "flower_port", "secrets_key"),
}
# What both take and understand differently, or what one of them refuses.
FOR_ONE_ALONE = {
    "version": "v2 ignores it and warns; 1.29 chooses by it what else is allowed",
    "name": "1.29 refuses it; COMPOSE_PROJECT_NAME in .env is read by both",
    "include": "1.29 refuses it",
    "configs.*.content": "1.29 refuses it",
    "secrets.*": "uid, gid and mode of a file are not set by either; .environment is v2's",
    "services.*.deploy": "1.29 takes only some of it, and some only with --compatibility",
    "services.*.pull_policy": "1.29 takes it and does nothing",
    "services.*.develop": "1.29 refuses it",
    "services.*.env_file": "a file that may be missing can be said to v2 alone",
    "services.*.container_name": "no --scale then",
    "services.*.links": "v2 makes names of it, 1.29 another order too",
    "services.*.depends_on.*.required": "1.29 refuses it",
    "services.*.depends_on.*.restart": "1.29 refuses it",
    "services.*.healthcheck.start_interval": "1.29 refuses it",
    "services.*.build.secrets": "1.29 refuses it",
    "services.*.build.additional_contexts": "1.29 refuses it",
    "services.*.build.dockerfile_inline": "1.29 refuses it",
}
_VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+):-([^}]*)\}")


@pytest.fixture
def file() -> dict[str, Any]:
    """The file as it is written."""
    return dict(yaml.safe_load(FILE.read_text()))


@pytest.fixture
def services() -> dict[str, Any]:
    """The services as docker-compose 1.29 understands them."""
    return dict(meaning_of(tuple(first()), (FILE,))["services"])


@cache
def meaning_of(command: tuple[str, ...], files: tuple[Path, ...]) -> dict[str, Any]:
    """What a docker-compose makes of our files, every profile included."""
    chosen = [word for path in files for word in ("-f", str(path))]
    with tempfile.NamedTemporaryFile() as empty:  # the .env of this machine is none of ours
        done = run(list(command), "--env-file", empty.name, *chosen, *PROFILES, "config")
    assert done.returncode == 0, done.stderr
    assert "WARN" not in done.stderr.upper(), done.stderr
    return meaning(done.stdout)


class TestBoth:
    @pytest.mark.parametrize("files", [(FILE,), (FILE, OVERRIDE)], ids=["plain", "debian"])
    def test_they_understand_the_same(self, files: tuple[Path, ...]) -> None:
        assert meaning_of(tuple(first()), files) == meaning_of(tuple(second()), files)

    @pytest.mark.parametrize("key", FOR_ONE_ALONE)
    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_nothing_is_for_one_alone(self, path: Path, key: str) -> None:
        found = at(yaml.safe_load(path.read_text()), key.split("."))
        assert not found, FOR_ONE_ALONE[key]

    def test_variables_are_those_that_both_know(self) -> None:
        # v2 sets COMPOSE_PROJECT_NAME for the file, 1.29 does not; and `:-` is the form for both.
        text = "".join(path.read_text() for path in FILES)
        assert "COMPOSE_PROJECT_NAME" not in text
        assert len(re.findall(r"(?<!\$)\$(?!\$)", text)) == len(_VARIABLE.findall(text))


class TestServices:
    def test_they_are_these(self, services: dict[str, Any]) -> None:
        assert set(services) == ONE_SHOT | LONG_LIVED

    def test_some_are_for_who_asks_for_them(self, file: dict[str, Any]) -> None:
        found = {name: s["profiles"] for name, s in file["services"].items() if "profiles" in s}
        assert found == PROFILED

    @pytest.mark.parametrize("name", sorted(ONE_SHOT | LONG_LIVED))
    def test_each_is_bounded_and_has_few_rights(self, services: dict[str, Any], name: str) -> None:
        service = services[name]
        assert service["mem_limit"] > 0
        assert service["pids_limit"] > 0
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service

    @pytest.mark.parametrize("name", sorted(LONG_LIVED))
    def test_each_that_stays_is_watched_and_started_again(
        self, services: dict[str, Any], name: str
    ) -> None:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"]

    def test_one_that_ends_is_not_started_again(self, services: dict[str, Any]) -> None:
        assert services["credentials"]["restart"] == "no"

    def test_each_waits_for_what_it_needs(self, services: dict[str, Any]) -> None:
        waits = {name: s.get("depends_on", {}) for name, s in services.items()}
        assert waits["redis"] == {"credentials": "service_completed_successfully"}
        assert waits["worker"] == {"redis": "service_healthy", "firewall": "service_started"}
        assert waits["proxy"] == {"api": "service_started"}
        for name in ("api", "flower"):
            assert waits[name] == {"redis": "service_healthy"}

    def test_only_those_that_must_are_root(self, services: dict[str, Any]) -> None:
        root = {name for name, service in services.items() if service.get("user") == "root"}
        assert root == {"worker", "firewall"}
        assert "USER onejob" in (COMPOSE / "Dockerfile").read_text()

    def test_only_the_worker_has_the_engine(self, services: dict[str, Any]) -> None:
        socket = "/var/run/docker.sock:/var/run/docker.sock:rw"
        assert [name for name, s in services.items() if socket in s.get("volumes", [])] == [
            "worker"
        ]

    @pytest.mark.parametrize("command", [first, second], ids=["1.29", "v2"])
    def test_an_api_can_be_there_many_times(
        self, command: Callable[[], list[str]], tmp_path: Path
    ) -> None:
        env = tmp_path / "env"
        env.write_text("API_ADDRESS=127.0.0.1:8081-8089\n")
        done = run(command(), "--env-file", str(env), "-f", str(FILE), *PROFILES, "config")
        services = meaning(done.stdout)["services"]
        assert not {"container_name", "hostname"} & set(services["api"])
        assert services["api"]["ports"] == ["127.0.0.1:8081-8089:8080/tcp"]
        assert services["proxy"]["ports"] == ["127.0.0.1:8080:8080/tcp"]

    def test_a_worker_can_be_there_many_times(self, services: dict[str, Any]) -> None:
        assert not {"ports", "container_name", "hostname"} & set(services["worker"])

    def test_the_spool_has_the_same_path_inside_and_outside(self, services: dict[str, Any]) -> None:
        root = services["worker"]["environment"]["ONEJOB_SPOOL_ROOT"]
        assert root == str(Settings().spool_root)
        assert f"{root}:{root}:rw" in services["worker"]["volumes"]

    def test_files_of_secrets_have_the_same_path_inside_and_outside(
        self, services: dict[str, Any]
    ) -> None:
        root = services["worker"]["environment"]["ONEJOB_SECRETS_ROOT"]
        assert root == str(Settings().secrets_root)
        assert f"{root}:{root}:rw" in services["worker"]["volumes"]

    def test_only_api_and_worker_can_read_secrets(self, services: dict[str, Any]) -> None:
        name = "ONEJOB_SECRETS_KEY_FILE"
        having = {n for n, s in services.items() if name in s.get("environment", {})}
        assert having == {"api", "worker"}

    def test_each_has_a_volume_for_its_own_secrets_alone(self, services: dict[str, Any]) -> None:
        volumes = {name: s.get("volumes", []) for name, s in services.items()}
        filled = [v for v in volumes.pop("credentials") if v.startswith("secrets")]
        having = ("api", "worker", "redis", "flower", "grafana")
        services_folder = "/run/onejob-services"
        assert set(filled) == {"secrets:/run/onejob:rw"} | {
            f"secrets-{name}:{services_folder}/{name}:rw" for name in having
        }
        for name, mounts in volumes.items():
            own = [f"secrets-{name}:/run/onejob:ro"] if name in having else []
            assert [mount for mount in mounts if mount.startswith("secrets")] == own

    def test_the_worker_finds_the_network_that_the_file_makes(self) -> None:
        known = meaning_of(tuple(first()), (FILE,))
        name = known["services"]["worker"]["environment"]["ONEJOB_NETWORK"]
        assert known["network names"] == {"replicas": name}
        options = known["networks"]["replicas"]["driver_opts"]
        bridge = known["services"]["firewall"]["environment"]["REPLICA_BRIDGE"]
        assert options["com.docker.network.bridge.name"] == bridge
        assert options["com.docker.network.bridge.enable_icc"] == "false"

    def test_faces_are_for_this_machine_alone(self, services: dict[str, Any]) -> None:
        ports = {name: s["ports"] for name, s in services.items() if "ports" in s}
        assert ports == {
            "api": ["127.0.0.1:8080:8080/tcp"],
            "proxy": ["127.0.0.1:8080:8080/tcp"],
            "flower": ["127.0.0.1:5555:5555/tcp"],
            "prometheus": ["127.0.0.1:9090:9090/tcp"],
            "grafana": ["127.0.0.1:3000:3000/tcp"],
        }

    def test_no_secret_stands_in_an_environment(self, services: dict[str, Any]) -> None:
        secret = re.compile(r"SECRET|PASSWORD|REDIS_URL|CLIENT_ID|AUTH")
        for service in services.values():
            names = [name for name in service.get("environment", {}) if secret.search(name)]
            assert [name for name in names if not name.endswith(("_FILE", "_ROOT"))] == []

    @pytest.mark.parametrize("name", ["api", "worker", "flower"])
    def test_what_is_set_is_a_setting(self, services: dict[str, Any], name: str) -> None:
        environ = services[name]["environment"]
        known = {variable(field) for field in Settings.model_fields}
        assert [n for n in environ if not {n, n.removesuffix("_FILE")} & known] == []
        app_settings.load({n: v for n, v in environ.items() if n in known})


class TestExample:
    @pytest.fixture
    def example(self) -> dict[str, str]:
        """All that could be set, and its value there."""
        lines = re.findall(r"^#?([A-Z_]+=\S*)$", EXAMPLE.read_text(), re.MULTILINE)
        return dict(line.split("=", 1) for line in lines)

    def test_every_variable_of_the_file_is_there_with_its_default(
        self, example: dict[str, str]
    ) -> None:
        file = dict(found for path in FILES for found in _VARIABLE.findall(path.read_text()))
        own = {n: v for n, v in example.items() if not n.startswith("COMPOSE_")}
        assert set(file) == set(own)
        assert {n: v for n, v in file.items() if v} == {n: own[n] for n, v in file.items() if v}

    def test_every_setting_is_there_and_its_default_is_told(self, example: dict[str, str]) -> None:
        wanted = {variable(name) for name in set(Settings.model_fields) - NOT_FOR_PEOPLE}
        named = {name for name in example if name.startswith("ONEJOB_")}
        assert named - {"ONEJOB_IMAGE"} == wanted, "name it in compose.yaml and .env.example"
        own = {"ONEJOB_NETWORK", "ONEJOB_COMPUTE_FILE", "ONEJOB_VOLUMES_FILE", "ONEJOB_IMAGE"}
        told = app_settings.load({name: example[name] for name in named - own})
        assert told == Settings()

    def test_nothing_but_the_name_is_chosen(self) -> None:
        chosen = [line for line in EXAMPLE.read_text().splitlines() if re.match("[A-Z]", line)]
        assert chosen == ["COMPOSE_PROJECT_NAME=onejob"]

    @pytest.mark.parametrize("command", [first, second], ids=["1.29", "v2"])
    def test_it_changes_nothing(
        self, example: dict[str, str], command: Callable[[], list[str]], tmp_path: Path
    ) -> None:
        all_set = tmp_path / "env"
        all_set.write_text("".join(f"{n}={v}\n" for n, v in example.items() if "COMPOSE_" not in n))
        given = ("--env-file", str(all_set), "-f", str(FILE))
        done = run(command(), *given, *PROFILES, "config")
        assert done.returncode == 0, done.stderr
        # What is empty is the default; that of the settings is tested above.
        filled, plain = meaning(done.stdout), meaning_of(tuple(command()), (FILE,))
        assert _without_environment(filled) == _without_environment(plain)


def _without_environment(known: dict[str, Any]) -> dict[str, Any]:
    services = {
        name: {key: value for key, value in service.items() if key != "environment"}
        for name, service in known["services"].items()
    }
    return known | {"services": services}


def at(value: Any, path: list[str]) -> list[Any]:
    """All that stands at a path of keys; `*` is any key."""
    if not path:
        return [value]
    if not isinstance(value, dict):
        return []
    keys = list(value) if path[0] == "*" else [path[0]]
    return [found for key in keys if key in value for found in at(value[key], path[1:])]
