"""The binary as it ships: small, static, without warnings; and its build script."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require
from tests.usher.conftest import SOURCES
from tests.usher.replica import Replica

BUILD = SOURCES / "build"


def run_build(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BUILD), *arguments], env=environment, text=True,
                          capture_output=True)  # fmt: skip


def test_it_is_static_and_under_100_kilobytes(shipped: Path) -> None:
    assert shipped.stat().st_size < 100_000
    assert os.access(shipped, os.X_OK)
    headers = subprocess.run(["readelf", "--program-headers", "--sections", shipped],
                             capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert "INTERP" not in headers
    assert ".dynamic" not in headers
    assert ".symtab" not in headers


@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3", "-Os"])
def test_gcc_has_nothing_to_say(tmp_path: Path, level: str) -> None:
    require(shutil.which("gcc"), "no C compiler: apt-get install gcc")
    flags = f"{level} -Wshadow -Wconversion -Wvla -Wstrict-prototypes -fsyntax-only"
    sources = sorted(SOURCES.glob("*.c"))
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", *flags.split(), *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_same_sources_make_the_same_binary(shipped: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert run_build(str(again), PATH=os.environ["PATH"]).returncode == 0
    assert again.read_bytes() == shipped.read_bytes()


def test_without_a_compiler_the_build_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "rm"):
        (tools / name).symlink_to(str(shutil.which(name)))
    done = run_build(str(tmp_path / "out"), PATH=str(tools))
    assert done.returncode == 1
    assert "apt-get install musl-tools" in done.stderr
    assert not (tmp_path / "out").exists()


DOCKER = """#!/bin/sh
echo "$@" >> "$CALLS"
case $1 in
build) echo sha256:made ;;
create) echo container ;;
cp) echo binary > "$3"; exit "${COPIES:-0}" ;;
esac
"""


@pytest.mark.parametrize("copies", [0, 1])
def test_without_a_compiler_the_engine_compiles_for_itself(tmp_path: Path, copies: int) -> None:
    """And so for its own architecture. Nothing is left in it, whatever went wrong."""
    tools, calls, output = tmp_path / "bin", tmp_path / "calls", tmp_path / "out"
    tools.mkdir()
    for name in ("sh", "dirname", "rm", "mv", "chmod"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    done = run_build(
        str(output), PATH=str(tools), CALLS=str(calls), BASE="base:1", COPIES=str(copies)
    )
    assert done.returncode == copies, done.stderr
    asked = calls.read_text().splitlines()
    tag = asked[1].split()[3]
    assert asked[1] == f"build --quiet --tag {tag} --build-arg BASE=base:1 {SOURCES}"
    assert asked[2] == f"create {tag} true"
    assert asked[-2:] == ["rm container", f"rmi {tag}"]
    assert output.exists() == (copies == 0)
    assert sorted(p.name for p in tmp_path.glob("out*")) == (["out"] if copies == 0 else [])


def test_a_failed_build_leaves_the_old_binary_alone(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("old")
    done = run_build(str(output), PATH=os.environ["PATH"], CC="gcc", CFLAGS="-no-such-flag")
    assert done.returncode != 0
    assert output.read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]


def test_the_build_wants_one_output() -> None:
    done = run_build(PATH=os.environ["PATH"])
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_without_a_spool_the_usher_tells_how_it_is_used(shipped: Path, tmp_path: Path) -> None:
    bare = subprocess.run([shipped], capture_output=True, text=True)
    assert (bare.returncode, "SPOOL_DIRECTORY" in bare.stderr) == (125, True)
    gone = subprocess.run([shipped, tmp_path / "gone"], capture_output=True, text=True)
    assert (gone.returncode, "No such file" in gone.stderr) == (125, True)


@pytest.mark.usefixtures("as_root")
def test_it_takes_little_memory(shipped: Path, tmp_path: Path) -> None:
    replica = Replica(shipped, tmp_path)
    replica.write_app(
        "c = take_job(); c.sendall(b'HTTP/1.1 200 OK\\r\\n'); say('ready'); forever()"
    )
    replica.start()
    replica.said_exists("ready")
    rollup = Path(f"/proc/{replica.usher_pid()}/smaps_rollup").read_text()
    proportional = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    replica.signal(15)
    assert replica.wait() == 128 + 15
    replica.close()
    assert int(proportional.split()[1]) < 512  # kB
