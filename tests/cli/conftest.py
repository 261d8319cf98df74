"""The command line against the real API; the worker of its jobs is played."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.ledger import Ledger
from tests.api.conftest import api, hello, ledger, server, worker
from tests.api.faces import Faces
from tests.api.server import CLIENT_ID, CLIENT_SECRET
from tests.api.worker import PlayedWorker
from tests.cli.stage import Player
from tests.redis_server import redis_client, redis_server

__all__ = ["api", "hello", "ledger", "redis_client", "redis_server", "server", "worker"]

Onejob = Callable[..., Result]


@pytest.fixture
def environ(api: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment that names the API and its credentials; nothing of who tests is in it."""
    named = {
        "ONEJOB_URL": f"http://127.0.0.1:{api.port}",
        "ONEJOB_CLIENT_ID": CLIENT_ID,
        "ONEJOB_CLIENT_SECRET": CLIENT_SECRET,
        "ONEJOB_INFERENCE_KEY": api.key,
        "ONEJOB_DATA": str(tmp_path / "nothing"),
        "HOME": str(tmp_path),
    }
    others = ("ONEJOB_CONFIG", "ONEJOB_PROFILE", "XDG_CONFIG_HOME")
    for name in (*others, *(f"{name}_FILE" for name in named)):
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    return named


@pytest.fixture
def onejob(environ: dict[str, str]) -> Onejob:
    """Runs a command in this process."""
    return lambda *words, **more: CliRunner().invoke(main, words, **more)


@pytest.fixture
def player(ledger: Ledger, worker: PlayedWorker) -> Iterator[Player]:
    """A worker beside the command: what it is told to do with jobs it does as they come."""
    player = Player(ledger, worker)
    yield player
    player.stop()
