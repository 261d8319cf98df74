"""The command line as an operator has it on a machine: import `onejob` where it is tested."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app import operations
from app.cli import main
from tests.workers.rig import Rig
from workers import once
from workers.upkeep import Upkeep

Onejob = Callable[..., Result]


@pytest.fixture
def onejob(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Onejob:
    """The command line, with this node's engine and spool behind `onejob sweep`."""

    def exec_here(_program: str, arguments: list[str]) -> None:
        assert arguments[1:3] == ["-m", "workers.once"]
        raise SystemExit(once.main(arguments[3:]))

    monkeypatch.setenv("ONEJOB_REDIS_URL", rig.url)
    monkeypatch.setattr(operations.os, "execv", exec_here)
    monkeypatch.setattr(once, "make_site", lambda _, publish: replace(rig.site(), publish=publish))
    monkeypatch.setattr(once, "Upkeep", lambda site: Upkeep(site, grace_seconds=0))
    return lambda *words: CliRunner().invoke(main, words)


def complaint(result: Result) -> str:
    """The one line that a command failed with."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)  # no traceback
    (line,) = result.output.splitlines()
    return line


def said(result: Result) -> str:
    """What a command that went well said."""
    assert (result.exit_code, result.exception) == (0, None)
    return result.output


def published(rig: Rig) -> int:
    """How many messages lie in the real Celery queue."""
    client: Any = rig.ledger.client
    return int(client.llen("compute.cpu"))
