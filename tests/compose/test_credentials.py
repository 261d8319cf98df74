"""The secrets of an installation with docker-compose, as files; no engine is asked."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import load
from tests.compose.commands import COMPOSE, FILE

SCRIPT = COMPOSE / "credentials.py"


@pytest.fixture
def credentials() -> Any:
    """The script, as a module."""
    spec = spec_from_file_location("compose_credentials", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(credentials: Any, tmp_path: Path) -> Path:
    """The directory with all volumes of the service `credentials`, new ones."""
    (tmp_path / "onejob").mkdir()
    for service in credentials.NEEDED:
        (tmp_path / "onejob-services" / service).mkdir(parents=True)
    return tmp_path


def keys(run: Path, service: str) -> list[str]:
    """The keys of secrets, as a service reads them."""
    file = run / "onejob-services" / service / "secrets_key"
    read = load({"ONEJOB_SECRETS_KEY_FILE": str(file)}).secrets_key
    assert read is not None
    return read.split(",")


def texts(folder: Path) -> dict[str, str]:
    """All files of a directory."""
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("service", ["api", "worker"])
def test_the_key_of_secrets_is_made_once(credentials: Any, run: Path, service: str) -> None:
    credentials.make(run)
    first = keys(run, service)
    credentials.make(run)
    assert keys(run, service) == first
    assert len(first) == 1


@pytest.mark.parametrize("service", ["api", "worker"])
def test_it_is_changed_in_two_steps(credentials: Any, run: Path, service: str) -> None:
    before = credentials.make(run)
    (old,) = keys(run, service)
    credentials.new_secrets_key(run)
    new, second = keys(run, service)
    assert second == old != new
    credentials.one_secrets_key(run)
    assert keys(run, service) == [new]
    assert credentials.make(run).redis_password == before.redis_password


def test_a_service_has_the_files_that_it_names_and_no_others(credentials: Any, run: Path) -> None:
    credentials.make(run)
    services = yaml.safe_load(FILE.read_text())["services"]
    redis = (COMPOSE / "redis.conf").read_text()
    for name in credentials.NEEDED:
        named = set(re.findall(r"/run/onejob/([\w.-]+)", json.dumps(services[name])))
        named |= set(re.findall(r"/run/onejob/([\w.-]+)", redis)) if name == "redis" else set()
        assert set(texts(run / "onejob-services" / name)) == named


def test_an_older_installation_keeps_its_secrets(credentials: Any, run: Path) -> None:
    credentials.make(run)
    before = texts(run / "onejob")
    for service in credentials.NEEDED:  # older versions had the one volume
        shutil.rmtree(run / "onejob-services" / service)
        (run / "onejob-services" / service).mkdir()
    credentials.make(run)
    assert texts(run / "onejob") == before
    for service, names in credentials.NEEDED.items():
        assert texts(run / "onejob-services" / service) == {name: before[name] for name in names}


def test_its_words_are_told() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "make|show|new-secrets-key|one-secrets-key" in done.stderr
