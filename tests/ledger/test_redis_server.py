"""The Redis that all tests use: killed, stopped and started again on the same data."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from app.ledger import Ledger
from tests.ledger.scene import Scene
from tests.redis_server import NotReady, RedisServer, require_redis

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path: Path) -> RedisServer:
    require_redis()
    return RedisServer.start(tmp_path / "redis")


def test_what_was_accepted_survives_kill_9(server: RedisServer) -> None:
    try:
        scene = Scene(Ledger(server.connect()))
        scene.submit("a", b"x" * (1024 * 1024 + 1))
        server.kill()
        server.restart()
        assert scene.job("a").payload_size == 1024 * 1024 + 1
        _, body = scene.ledger.payloads.read(scene.job("a").payload)
        assert b"".join(body) == b"x" * (1024 * 1024 + 1)
        # It knows no script any more: the verbs bring their text along.
        assert scene.redis.script_exists("0" * 40) == [False]
        assert scene.grip("a").fence == 1
    finally:
        server.stop()


def test_a_server_that_is_down_refuses_and_comes_back_on_its_port(server: RedisServer) -> None:
    try:
        client, port, pid = server.connect(), server.port, server.pid
        client.set("a", 1)
        server.stop()
        assert server.pid is None
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.stop()
        server.restart()
        assert (server.port, client.get("a")) == (port, b"1")
        assert server.pid != pid
    finally:
        server.stop()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_does_not_outlive_a_test_process_that_is_killed(tmp_path: Path) -> None:
    require_redis()
    script = (
        "import os, pathlib, sys; from tests.redis_server import RedisServer;"
        "print(RedisServer.start(pathlib.Path(sys.argv[1])).pid, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "redis")]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    give_up = time.monotonic() + 60
    while _works_in(int(ended.stdout), tmp_path / "redis"):
        assert time.monotonic() < give_up, "its Redis still runs"
        time.sleep(0.02)


def _works_in(pid: int, folder: Path) -> bool:
    """Whether it still runs: its number may be another's by now, and so may its port."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    except OSError:
        return False


def test_a_port_that_is_taken_is_told(server: RedisServer, tmp_path: Path) -> None:
    try:
        with pytest.raises(NotReady, match="in use"):
            RedisServer.start(tmp_path / "other", port=server.port)
    finally:
        server.stop()
