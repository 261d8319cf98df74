"""The operator's commands beside `onejob up`: which Redis they mean."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app import operations
from app.cli import main
from app.ledger import Ledger, connect
from app.stack import Layout, Stack


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A data directory with its Redis, which knows of one machine. The default one is elsewhere."""
    monkeypatch.delenv("ONEJOB_REDIS_URL", raising=False)
    monkeypatch.setenv("ONEJOB_DATA", str(tmp_path / "nothing"))
    stack = Stack(Layout(tmp_path / "data", 1, 2))
    stack.start_redis()
    client = connect(stack.redis_url)
    Ledger(client).nodes.announce("its-machine", {})
    client.close()
    yield stack
    stack.stop(lambda name: None)


def onejob(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_they_find_the_one_that_runs_on_the_default_directory(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEJOB_DATA", str(stack.layout.data))
    assert "its-machine" in onejob("node", "list").output


def test_they_can_be_told_which_one_is_meant(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEJOB_REDIS_URL", "redis://127.0.0.1:1/0")
    data = str(stack.layout.data)
    refused = onejob("node", "forget", "--data", data, "its-machine")  # before it counts as silent
    assert "stop its workers first" in refused.output
    assert "its-machine" in onejob("node", "list", "--data", data).output
    assert "its-machine" in onejob("recover", "--data", data).output


def test_a_redis_that_the_environment_names_goes_before_the_default_directory(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEJOB_DATA", str(stack.layout.data))
    monkeypatch.setenv("ONEJOB_REDIS_URL", "redis://127.0.0.1:1/0")
    assert "Redis does not answer" in onejob("node", "list").output


def test_a_sweep_gets_its_spool_root_too(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations.os, "environ", {})
    monkeypatch.setattr(operations.os, "execv", lambda *_: None)
    assert onejob("sweep", "--data", str(stack.layout.data)).exit_code == 0
    given = operations.os.environ
    assert given["ONEJOB_REDIS_URL"] == stack.redis_url
    assert given["ONEJOB_SPOOL_ROOT"] == str(stack.layout.spool)


def test_where_none_runs_that_is_said(stack: Stack, tmp_path: Path) -> None:
    stack.stop(lambda name: None)
    for folder in (stack.layout.data, tmp_path / "nothing"):
        answer = onejob("node", "list", "--data", str(folder))
        assert (answer.exit_code, answer.output) == (1, f"Error: no onejob runs on {folder}\n")
