"""inotify: one instance, many files."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.workers.rig import WATCHER
from workers.watch import Watcher


class Bell:
    """Counts its rings."""

    def __init__(self) -> None:
        self.rung = threading.Event()
        self.rings = 0

    def __call__(self) -> None:
        self.rings += 1
        self.rung.set()

    def wait(self) -> bool:
        heard = self.rung.wait(60)
        self.rung.clear()
        return heard


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    yield WATCHER


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events"
    path.touch()
    return path


def write(path: Path) -> None:
    with path.open("a") as file:
        file.write("1 sent\n")


def instances() -> int:
    return sum(
        os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:inotify"
        for fd in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{fd}")
    )


def test_each_write_rings(watcher: Watcher, file: Path) -> None:
    bell = Bell()
    with watcher.watching(file, bell):
        for _ in range(3):
            write(file)
            assert bell.wait()


def test_after_the_block_nothing_rings(watcher: Watcher, file: Path, tmp_path: Path) -> None:
    silent, bell, other = Bell(), Bell(), tmp_path / "other"
    other.touch()
    with watcher.watching(file, silent):
        pass
    with watcher.watching(other, bell):
        write(file)
        write(other)
        assert bell.wait()
    assert not silent.rings


def test_many_files_take_one_instance(watcher: Watcher, tmp_path: Path) -> None:
    before = instances()
    with ExitStack() as stack:
        bells = [Bell() for _ in range(200)]
        for number, bell in enumerate(bells):
            path = tmp_path / str(number)
            path.touch()
            stack.enter_context(watcher.watching(path, bell))
        write(tmp_path / "150")
        assert bells[150].wait()
        assert [n for n, bell in enumerate(bells) if bell.rings] == [150]
        assert instances() == before


def test_two_who_watch_one_file_both_hear(watcher: Watcher, file: Path) -> None:
    first, second = Bell(), Bell()
    with watcher.watching(file, second):
        with watcher.watching(file, first):
            write(file)
            assert first.wait()
            assert second.wait()
        write(file)  # the first one's end is not the second one's
        assert second.wait()


def test_a_file_that_is_removed_harms_nobody(watcher: Watcher, file: Path) -> None:
    bell = Bell()
    with watcher.watching(file, bell):
        file.unlink()
    file.touch()
    with watcher.watching(file, bell):
        write(file)
        assert bell.wait()


def test_a_missing_file_and_a_link_are_told(watcher: Watcher, file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), watcher.watching(tmp_path / "none", Bell()):
        pass
    link, bell = tmp_path / "link", Bell()
    link.symlink_to(file)
    with watcher.watching(link, bell):  # the link itself, not what an app made it point to
        write(file)
        assert not bell.rung.wait(0.05)


def test_a_file_that_is_written_without_a_pause_does_not_keep_the_process_busy(
    watcher: Watcher, file: Path
) -> None:
    bell = Bell()
    with watcher.watching(file, bell), file.open("ab", buffering=0) as writer:
        for _ in range(20_000):
            writer.write(b"x")
        assert bell.wait()
    assert bell.rings < 1000


def test_where_events_were_lost_all_ring(watcher: Watcher, file: Path) -> None:
    bell = Bell()
    with watcher.watching(file, bell):
        overflow = (-1).to_bytes(4, "little", signed=True) + (0x4000).to_bytes(4, "little")
        assert watcher._rung_by(overflow + bytes(8)) == [bell]
