"""The secrets of an installation with docker-compose, as files; no engine is asked."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from app.settings import load
from tests.compose.commands import COMPOSE

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


def keys(folder: Path) -> list[str]:
    """The keys of secrets, as API and workers read them."""
    read = load({"ONEJOB_SECRETS_KEY_FILE": str(folder / "secrets_key")}).secrets_key
    assert read is not None
    return read.split(",")


def test_the_key_of_secrets_is_made_once(credentials: Any, tmp_path: Path) -> None:
    credentials.make(tmp_path)
    first = keys(tmp_path)
    credentials.make(tmp_path)
    assert keys(tmp_path) == first
    assert len(first) == 1


def test_it_is_changed_in_two_steps(credentials: Any, tmp_path: Path) -> None:
    before = credentials.make(tmp_path)
    (old,) = keys(tmp_path)
    credentials.new_secrets_key(tmp_path)
    new, second = keys(tmp_path)
    assert second == old != new
    credentials.one_secrets_key(tmp_path)
    assert keys(tmp_path) == [new]
    assert credentials.make(tmp_path).redis_password == before.redis_password


def test_its_words_are_told() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "make|show|new-secrets-key|one-secrets-key" in done.stderr
