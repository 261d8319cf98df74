"""The scripts, run for real on a small checkout."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.conftest import require

ROOT = Path(__file__).parent.parent
NOWHERE = "unix:///nonexistent/docker.sock"
CLEAN = '"""Nothing."""\n'
PATIENCE_SECONDS = 60


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing in it that a tool could object to."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("setup.cfg", "ruff.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    # All that the import rules name has to be there.
    rooms = ("commands", "api", "dispatch", "domain", "ledger")
    for name in ("app", "workers", *(f"app/{room}" for room in rooms)):
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
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert output == f"got {got.name}\nended with {40 + got}\n"


# An engine that does nothing but run; it answers while its file is there.
STAND_IN = """#!{python}
import os, pathlib, signal
answers = pathlib.Path(r"{folder}") / "answers"
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
answers.with_name("draft").write_text(str(os.getpid()))
answers.with_name("draft").rename(answers)
signal.sigwait([signal.SIGTERM])
if answers.with_name("stubborn").exists():
    signal.pause()
answers.unlink()
"""
# The script as it is, but for what it knows of engines.
WITH_STAND_IN = """
source "$1/scripts/engine"
run=$2 log=$2/dockerd.log patience=${PATIENCE:-$patience} PATH=$2:$PATH
unset DOCKER_HOST
answers() { [[ -e $run/answers ]]; }
engine_process() { grep -s . "$run/answers"; }
hopeless() { return 1; }
systemctl() { echo 0; }
main "${@:3}"
"""


class TestShared:
    """Who uses an engine that a script started, and who stops it."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[Path]:
        dockerd = tmp_path / "dockerd"
        dockerd.write_text(STAND_IN.format(python=sys.executable, folder=tmp_path))
        dockerd.chmod(0o755)
        yield tmp_path
        if (pid := self.engine(tmp_path)) is not None:
            os.kill(pid, signal.SIGKILL)

    def engine(self, folder: Path) -> int | None:
        """The id of the engine's process, if there is one."""
        answers = folder / "answers"
        return int(answers.read_text()) if answers.exists() else None

    def user(self, folder: Path) -> subprocess.Popen[str]:
        """A script that has its engine, and whose command runs until its input ends."""
        command = ["sh", "-c", "echo in use; read -r _"]
        user = subprocess.Popen(
            ["bash", "-c", WITH_STAND_IN, "engine", str(ROOT), str(folder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert user.stdout is not None
        assert "in use\n" in iter(user.stdout.readline, "")
        return user

    def leave(self, user: subprocess.Popen[str]) -> None:
        user.communicate(timeout=PATIENCE_SECONDS)

    @pytest.mark.parametrize("code", [0, 3])
    def test_who_stops_it_ends_with_the_command_s_own_code(self, folder: Path, code: int) -> None:
        command = ["sh", "-c", f"exit {code}"]
        argv = ["bash", "-c", WITH_STAND_IN, "engine", str(ROOT), str(folder), *command]
        done = run(*argv)
        assert "stopping dockerd" in done.stdout
        assert (done.returncode, done.stderr) == (code, "")

    def test_one_that_does_not_end_is_not_waited_for_for_ever(self, folder: Path) -> None:
        (folder / "stubborn").touch()
        before = self.user(folder)  # who starts it, for which a second may be too little
        before.kill()
        self.leave(before)
        engine = self.engine(folder)
        argv = ["bash", "-c", WITH_STAND_IN, "engine", str(ROOT), str(folder), "sh", "-c", "exit 3"]
        done = run(*argv, PATIENCE="1")
        assert done.returncode == 3
        assert f"dockerd (process {engine}) does not end" in done.stderr
        assert "next: " in done.stderr

    @pytest.mark.parametrize("first_out", [0, 1], ids=["who-started-it", "who-found-it"])
    def test_the_last_one_out_stops_it(self, folder: Path, first_out: int) -> None:
        users = [self.user(folder), self.user(folder)]
        engine = self.engine(folder)
        assert engine is not None
        self.leave(users.pop(first_out))
        assert self.engine(folder) == engine
        self.leave(users.pop())
        assert self.engine(folder) is None

    def test_one_that_was_killed_does_not_count(self, folder: Path) -> None:
        killed, other = self.user(folder), self.user(folder)
        killed.kill()
        self.leave(killed)  # and the command's input with it
        assert self.engine(folder) is not None
        self.leave(other)
        assert self.engine(folder) is None

    def test_the_command_of_one_that_was_killed_counts(self, folder: Path) -> None:
        killed, other = self.user(folder), self.user(folder)
        killed.kill()
        killed.wait()
        self.leave(other)
        assert self.engine(folder) is not None
        self.leave(killed)
        later = self.user(folder)
        self.leave(later)
        assert self.engine(folder) is None

    def test_one_that_no_script_started_is_left_alone(self, folder: Path) -> None:
        engine = subprocess.Popen([folder / "dockerd"])
        while self.engine(folder) is None:
            time.sleep(0.01)  # it tells by its file alone
        self.leave(self.user(folder))
        assert self.engine(folder) == engine.pid
        engine.terminate()
        assert engine.wait(PATIENCE_SECONDS) == 0


# In the place of apt-get: notes what it is asked, and fails as often as it is told to.
APT = """#!/bin/sh
echo "$1" >>"$ASKED"
[ "$(wc -l <"$ASKED")" -gt "$FAILS" ] || { echo "E: $WORDS" >&2; exit 100; }
"""
# Each of its pauses is a minute, by its own clock.
INSTALL = """
set -euo pipefail
source "$1/scripts/lib.sh"
may_install() { :; }
sleep() { SECONDS=$((SECONDS + 60)); }
install strace
"""
LOCK = "Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"


class TestInstall:
    """What a script installs while another apt may be at work."""

    def install(self, folder: Path, words: str, fails: int) -> subprocess.CompletedProcess[str]:
        apt = folder / "apt-get"
        apt.write_text(APT)
        apt.chmod(0o755)
        told = {"ASKED": str(folder / "asked"), "WORDS": words, "FAILS": str(fails)}
        path = f"{folder}:{os.environ['PATH']}"
        return run("bash", "-c", INSTALL, "test", ROOT, PATH=path, **told)

    def asked(self, folder: Path) -> list[str]:
        return (folder / "asked").read_text().split()

    def test_another_apt_is_waited_for_and_told_of_once(self, tmp_path: Path) -> None:
        done = self.install(tmp_path, LOCK, 3)
        assert (done.returncode, done.stderr) == (0, "")
        assert self.asked(tmp_path) == ["update"] * 4 + ["install"]
        assert done.stdout.splitlines() == [
            "  packages    strace",
            "  packages    waiting: another apt is at work",
        ]

    def test_it_is_waited_for_five_minutes(self, tmp_path: Path) -> None:
        done = self.install(tmp_path, LOCK, 100)
        assert done.returncode == 1
        assert LOCK in done.stderr
        assert 2 <= len(self.asked(tmp_path)) <= 6  # what it took itself counts as well

    def test_any_other_failure_is_told_at_once(self, tmp_path: Path) -> None:
        done = self.install(tmp_path, "Unable to locate package strace", 1)
        assert done.returncode == 1
        assert "next: install strace by hand" in done.stderr
        assert self.asked(tmp_path) == ["update"]


# In the place of mmdebstrap: tells that it began, gives half an archive, and the rest when it may.
BOOTSTRAP = """#!/bin/sh
echo begun >>{folder}/begun
head -c 512 {folder}/archive
read -r _ <{folder}/go
tail -c +513 {folder}/archive
"""


class Bootstrap:
    """scripts/base-image with a bootstrap that waits, and everything it writes in one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tag = f"onejob-test-base:{uuid.uuid4().hex[:12]}"
        self._started: list[subprocess.Popen[str]] = []
        for name in ("bin", "temporary"):
            (folder / name).mkdir()
        stand_in = folder / "bin" / "mmdebstrap"
        stand_in.write_text(BOOTSTRAP.format(folder=folder))
        stand_in.chmod(0o755)
        with tarfile.open(folder / "archive", "w") as archive:
            archive.addfile(tarfile.TarInfo("file"))
        for name in ("begun", "go"):
            os.mkfifo(folder / name)

    def start(self) -> subprocess.Popen[str]:
        """The script, in a process group of its own as in a terminal."""
        places = {
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "TMPDIR": str(self.folder / "temporary"),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
        }
        process = subprocess.Popen(
            [ROOT / "scripts" / "base-image", self.tag],
            env=os.environ | places,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def begun(self) -> None:
        """Waits until a bootstrap has begun."""
        assert (self.folder / "begun").read_text() == "begun\n"

    def let(self) -> None:
        """Lets it go on."""
        (self.folder / "go").write_text("\n")

    def end(self) -> None:
        """Ends what a failed test left, and removes the image."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        client = docker.from_env()
        if client.images.list(self.tag):
            client.images.remove(self.tag)
        client.close()


class TestBaseImage:
    @pytest.fixture
    def bootstrap(self, tmp_path: Path) -> Iterator[Bootstrap]:
        require(shutil.which("docker"), "the docker command is not installed")
        bootstrap = Bootstrap(tmp_path)
        yield bootstrap
        bootstrap.end()

    @pytest.mark.docker
    def test_one_that_is_there_is_not_made_again(self, bootstrap: Bootstrap) -> None:
        client = docker.from_env()
        client.api.import_image_from_file(
            str(bootstrap.folder / "archive"), *bootstrap.tag.split(":")
        )
        before = client.images.get(bootstrap.tag).id
        output, _ = (again := bootstrap.start()).communicate(timeout=PATIENCE_SECONDS)
        assert (again.returncode, output.split()) == (0, ["base", bootstrap.tag, "is", "there"])
        assert client.images.get(bootstrap.tag).id == before
        client.close()

    @pytest.mark.docker
    def test_the_second_of_two_waits_and_finds_it_there(self, bootstrap: Bootstrap) -> None:
        first = bootstrap.start()
        bootstrap.begun()
        second = bootstrap.start()
        assert second.stdout is not None
        waits = "  base        waiting: another scripts/base-image is at work\n"
        assert second.stdout.readline() == waits
        bootstrap.let()
        ends = [
            process.communicate(timeout=PATIENCE_SECONDS)[0].split()[-1]
            for process in (first, second)
        ]
        assert (ends, first.returncode, second.returncode) == (["made", "there"], 0, 0)

    @pytest.mark.docker
    @pytest.mark.parametrize(
        ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
    )
    def test_one_that_is_broken_off_leaves_nothing(
        self, bootstrap: Bootstrap, sent: signal.Signals, code: int
    ) -> None:
        broken = bootstrap.start()
        bootstrap.begun()
        os.killpg(broken.pid, sent)
        assert broken.wait(PATIENCE_SECONDS) == code
        assert list((bootstrap.folder / "temporary").iterdir()) == []
        client = docker.from_env()
        assert client.images.list(bootstrap.tag) == []
        client.close()
        again = bootstrap.start()
        bootstrap.begun()
        bootstrap.let()
        assert again.communicate(timeout=PATIENCE_SECONDS)[0].endswith("made\n")

    def test_without_an_engine_it_says_so(self) -> None:
        require(shutil.which("docker"), "the docker command is not installed")
        done = run(ROOT / "scripts" / "base-image", DOCKER_HOST=NOWHERE)
        assert done.returncode == 1
        assert "base-image: no Docker engine answers" in done.stderr
