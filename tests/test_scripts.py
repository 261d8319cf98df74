"""The scripts, run for real on a small checkout."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.conftest import require

ROOT = Path(__file__).parent.parent
NOWHERE = "unix:///nonexistent/docker.sock"
CLEAN = '"""Nothing."""\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing in it that a tool could object to."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("setup.cfg", "ruff.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("app", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(CLEAN)
    return tmp_path


def run(*argv: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs a script with the virtual environment that runs this test."""
    return subprocess.run(
        [str(word) for word in argv],
        env=os.environ | {"ONEJOB_VENV": sys.prefix} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


class TestCheck:
    @pytest.fixture(autouse=True)
    def _tools(self) -> None:
        for tool in ("ruff", "mypy", "lint-imports"):
            require(shutil.which(tool, path=f"{sys.prefix}/bin"), f"{tool} is not installed")

    def test_a_clean_tree_passes(self, checkout: Path) -> None:
        done = run(checkout / "scripts" / "check")
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("source", "failed"),
        [
            ("import os\n", "ruff check"),
            ("X = 'single quotes'\n", "ruff format"),
            ("X: int = str()\n", "mypy, ruff check"),
            ("import docker\n\nX = docker\n", "imports"),
        ],
    )
    def test_what_failed_is_named(self, checkout: Path, source: str, failed: str) -> None:
        (checkout / "app" / "bad.py").write_text(CLEAN + "\n" + source)
        done = run(checkout / "scripts" / "check")
        assert done.returncode == 1
        said = done.stderr.strip().removeprefix("failed: ").split(", ")
        assert sorted(said) == sorted(failed.split(", "))
        assert "bad" in done.stdout

    def test_it_works_from_any_directory(self, checkout: Path, tmp_path: Path) -> None:
        argv = f"cd / && {checkout}/scripts/check"
        assert run("bash", "-c", argv).returncode == 0


class TestEngine:
    def test_without_an_engine_it_says_what_to_do(self) -> None:
        done = run(ROOT / "scripts" / "engine", "echo", "ran", DOCKER_HOST=NOWHERE)
        assert done.returncode == 1
        assert "ran" not in done.stdout
        assert done.stderr.splitlines() == [
            f"engine: no Docker engine answers at DOCKER_HOST={NOWHERE}",
            "  next: start it, or unset DOCKER_HOST",
        ]

    def test_a_command_that_can_do_without_runs(self) -> None:
        script = ROOT / "scripts" / "engine"
        done = run(script, "--or-without", "sh", "-c", "echo ran; exit 3", DOCKER_HOST=NOWHERE)
        assert done.returncode == 3
        assert done.stdout.splitlines()[-1] == "ran"

    @pytest.mark.docker
    def test_an_engine_that_answers_is_used_and_left_alone(self) -> None:
        done = run(ROOT / "scripts" / "engine", "sh", "-c", "echo ran; exit 3")
        assert (done.returncode, done.stdout, done.stderr) == (3, "ran\n", "")
        client = docker.from_env()
        assert client.ping()
        client.close()


SUPERVISED = """
import signal, sys
def ended(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(40 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, ended)
print("ready", flush=True)
while True:
    signal.pause()
"""


class TestSupervised:
    """A command whose engine was started for it, and must outlive it."""

    def argv(self, *command: str) -> list[str]:
        # -e would end the shell before it can tell the code.
        script = 'source "$1"; set +e; supervise "${@:2}"; echo "ended with $?"'
        return ["bash", "-c", script, "test", str(ROOT / "scripts" / "engine"), *command]

    def test_its_exit_code_is_passed_on(self) -> None:
        assert run(*self.argv("sh", "-c", "exit 7")).stdout == "ended with 7\n"

    @pytest.mark.parametrize(
        ("sent", "got"),
        [
            (signal.SIGINT, signal.SIGINT),
            (signal.SIGTERM, signal.SIGTERM),
            (signal.SIGHUP, signal.SIGTERM),
        ],
    )
    def test_it_gets_our_signals_and_is_waited_for(
        self, sent: signal.Signals, got: signal.Signals
    ) -> None:
        process = subprocess.Popen(
            self.argv(sys.executable, "-c", SUPERVISED),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        output, _ = process.communicate(timeout=30)
        assert output == f"got {got.name}\nended with {40 + got}\n"


class TestBaseImage:
    @pytest.fixture
    def tag(self, tmp_path: Path) -> Iterator[str]:
        tag = f"onejob-test-base:{uuid.uuid4().hex[:12]}"
        archive = tmp_path / "empty.tar"
        tarfile.open(archive, "w").close()
        client = docker.from_env()
        client.api.import_image_from_file(str(archive), *tag.split(":"))
        yield tag
        client.images.remove(tag)
        client.close()

    @pytest.mark.docker
    def test_one_that_is_there_is_not_made_again(self, tag: str) -> None:
        require(shutil.which("docker"), "the docker command is not installed")
        client = docker.from_env()
        before = client.images.get(tag).id
        done = run(ROOT / "scripts" / "base-image", tag)
        assert (done.returncode, done.stdout.split()) == (0, ["base", tag, "is", "there"])
        assert client.images.get(tag).id == before
        client.close()

    def test_without_an_engine_it_says_so(self) -> None:
        require(shutil.which("docker"), "the docker command is not installed")
        done = run(ROOT / "scripts" / "base-image", DOCKER_HOST=NOWHERE)
        assert done.returncode == 1
        assert "base-image: no Docker engine answers" in done.stderr
