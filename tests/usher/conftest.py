"""The usher, built once with sanitizers and once as it ships, and replicas to run it in."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.usher.feeder import Feeder
from tests.usher.replica import Replica

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "workers" / "usher"
SANITIZED = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"


def built(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Makes a binary once for all test processes of this run."""
    folder = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent
    target = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            draft = folder / f"{name}.draft"
            make(draft)
            draft.rename(target)
    return target


def build(output: Path, **environment: str) -> None:
    subprocess.run([SOURCES / "build", output], check=True, env=dict(os.environ) | environment)


@pytest.fixture(scope="session")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usher with the address and undefined-behaviour sanitizers."""
    require(shutil.which("gcc"), "no C compiler: apt-get install gcc")
    return built(tmp_path_factory, "usher", lambda out: build(out, CC="gcc", CFLAGS=SANITIZED))


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usher as it ships."""
    require(shutil.which("musl-gcc"), "no musl compiler: apt-get install musl-tools")
    return built(tmp_path_factory, "shipped", build)


@pytest.fixture(scope="session")
def feeder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The response parser and the judge of health answers, driven from standard input."""
    require(shutil.which("gcc"), "no C compiler: apt-get install gcc")
    files = [HERE / "feed.c", SOURCES / "http.c", SOURCES / "http_head.c", SOURCES / "health.c"]

    def make(output: Path) -> None:
        command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", *SANITIZED.split()]
        subprocess.run([*command, f"-I{SOURCES}", "-o", output, *files], check=True)

    return built(tmp_path_factory, "feeder", make)


@pytest.fixture(scope="module")
def parse(feeder: Path) -> Iterator[Feeder]:
    """Parses one stream."""
    made = Feeder(feeder)
    yield made
    made.close()


@pytest.fixture
def new_replica(usher: Path, tmp_path: Path) -> Iterator[Callable[[], Replica]]:
    """Makes replicas, and leaves no process of theirs behind."""
    made: list[Replica] = []

    def make() -> Replica:
        made.append(Replica(usher, tmp_path / str(len(made))))
        return made[-1]

    yield make
    for replica in made:
        replica.close()


@pytest.fixture
def replica(new_replica: Callable[[], Replica]) -> Replica:
    """One replica, ready to run."""
    return new_replica()


@pytest.fixture
def as_root() -> None:
    """For what needs a process namespace or a mount of its own."""
    require(os.geteuid() == 0 and shutil.which("unshare"), "needs root and unshare")


@pytest.fixture(params=[False, True], ids=["plain", "process-1"])
def alone(request: pytest.FixtureRequest) -> bool:
    """Whether the usher is process 1 of a process namespace, as in a real replica."""
    if request.param:
        request.getfixturevalue("as_root")
    return bool(request.param)
