"""What a worker needs of its machine is made, once, and what is missing is named."""

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app import up
from tests.conftest import require
from workers import prepare
from workers.docker_images import Images
from workers.prepare import Unprepared, build_example, find_engine, install_usher

NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def usher(tmp_path: Path) -> Path:
    require(shutil.which("musl-gcc"), "musl-gcc is not installed")
    return install_usher(tmp_path / "spool")


def test_the_usher_is_installed_under_its_digest(usher: Path) -> None:
    assert usher.is_absolute()
    assert usher.name.startswith("usher-")
    assert stat.S_IMODE(usher.stat().st_mode) == 0o755
    assert usher.read_bytes()[:4] == b"\x7fELF"
    assert [p.name for p in usher.parent.iterdir() if ".draft" in p.name] == []


def test_the_usher_is_compiled_once(usher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = usher.stat()
    monkeypatch.setattr(prepare, "_compile_usher", lambda output: pytest.fail("compiled again"))
    assert install_usher(usher.parent) == usher
    assert usher.stat().st_ino == before.st_ino


def test_an_emptied_usher_is_compiled_again(usher: Path) -> None:
    content = usher.read_bytes()
    usher.write_bytes(b"")
    assert install_usher(usher.parent) == usher
    assert usher.read_bytes() == content


def test_an_usher_in_use_is_not_changed(usher: Path) -> None:
    with usher.open("rb") as mounted:
        usher.parent.joinpath(usher.name).write_bytes(b"")
        install_usher(usher.parent)
        assert os.fstat(mounted.fileno()).st_ino != usher.stat().st_ino


def test_an_usher_that_is_not_compiled_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    build = sources / "build"
    build.write_text("#!/bin/sh\necho 'no compiler here' >&2\nexit 1\n")
    build.chmod(0o755)
    monkeypatch.setattr(prepare, "USHER_SOURCES", sources)
    with pytest.raises(Unprepared, match="no compiler here") as caught:
        install_usher(tmp_path / "spool")
    assert "musl-tools" in caught.value.next_step
    assert list((tmp_path / "spool").iterdir()) == []


def test_no_engine_is_one_line_and_a_next_step(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "workers.prepare", "--spool", tmp_path],
        env=os.environ | {"DOCKER_HOST": NOWHERE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    what, next_step = done.stderr.splitlines()
    assert what == f"onejob: no Docker engine answers at {NOWHERE}: nothing listens there"
    assert next_step.startswith("  next: start it")


@pytest.mark.docker
def test_a_remote_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare.platform, "machine", lambda: "riscv64")
    with pytest.raises(Unprepared, match="this machine is riscv64"):
        find_engine(None)


@pytest.mark.docker
def test_the_example_image_is_built_once() -> None:
    images = Images()
    build_example(images)
    assert build_example(images) is False
    assert prepare.SOURCES_LABEL in (images.labels(prepare.EXAMPLE_IMAGE) or {})
    images.close()


@pytest.mark.docker
def test_who_waits_for_the_example_image_says_so(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "workers.prepare", "--example", "--spool", str(tmp_path)]
    with (prepare.EXAMPLE_SOURCES / "Dockerfile").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        waits = f"  example     waiting: another process makes {prepare.EXAMPLE_IMAGE}\n"
        assert waits in iter(process.stdout.readline, "")
    assert process.stdout.read().split()[:2] == ["example", prepare.EXAMPLE_IMAGE]
    assert process.wait(60) == 0


def test_an_interrupt_from_before_its_start_is_answered_without_a_traceback(tmp_path: Path) -> None:
    # By way of a shell that gives it to itself: pending from the first instant.
    process = starting("sh", "-c", 'kill -INT $$; exec "$@"', "interrupted", *prepares(tmp_path))
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, b"")


def test_an_interrupt_while_it_starts_leaves_no_traceback(tmp_path: Path) -> None:
    process = starting(*prepares(tmp_path))
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode in (0, 130), complaint) == (True, b"")  # all may be done by then


def prepares(spool: Path) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "workers.prepare", "--spool", str(spool)]


def starting(*argv: str) -> subprocess.Popen[bytes]:
    """The command as `onejob up` starts it."""
    with up._inheriting_a_blocked_interrupt():
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
