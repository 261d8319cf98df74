"""The spool directory, and the careful reader of what an app left there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.spool import EVENTS_LIMIT, HEAD_LIMIT, Spool, SpoolRoot, Untrusted


@pytest.fixture
def root(tmp_path: Path) -> SpoolRoot:
    root = SpoolRoot(tmp_path / "spool")
    root.make()
    return root


@pytest.fixture
def spool(root: SpoolRoot) -> Spool:
    spool = root.attempt("onejob-abc-1-job")
    spool.prepare({"version": 1, "port": 80}, ["/app", "ä b"], [b"POST / HTTP/1.1\r\n", b"\0\xff"])
    return spool


def test_the_node_id_is_made_once(root: SpoolRoot) -> None:
    assert root.make() == root.make()
    assert len(root.make()) == 16


def test_only_root_can_enter_the_attempts_and_anyone_can_write_in_one(
    root: SpoolRoot, spool: Spool
) -> None:
    assert stat.S_IMODE(root.attempts.stat().st_mode) == 0o700
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o777


def test_what_the_usher_reads_is_there_byte_for_byte(spool: Spool) -> None:
    assert (spool.path / "plan").read_text() == "version 1\nport 80\n"
    assert (spool.path / "argv").read_bytes() == b"/app\0" + "ä b".encode() + b"\0"
    assert (spool.path / "request").read_bytes() == b"POST / HTTP/1.1\r\n\0\xff"


def test_a_second_supervisor_leaves_the_directory_as_it_is(spool: Spool) -> None:
    (spool.path / "started").touch()
    spool.prepare({"version": 1, "port": 81}, [], [])
    assert spool.started()
    assert "port 80" in (spool.path / "plan").read_text()
    assert [p.name for p in spool.path.parent.iterdir()] == [spool.path.name]


def test_a_request_that_can_not_be_read_leaves_no_directory(root: SpoolRoot) -> None:
    def gone() -> object:
        yield b"head"
        raise OSError("away")

    spool = root.attempt("onejob-abc-1-other")
    with pytest.raises(OSError, match="away"):
        spool.prepare({}, [], gone())  # type: ignore[arg-type]
    assert list(root.attempts.iterdir()) == []


def test_links_are_not_followed(spool: Spool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("1 exited code=0\n")
    (spool.path / "events").unlink()
    (spool.path / "events").symlink_to(secret)
    assert spool.read_events() == ""
    (spool.path / "response.head").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        spool.read_head()


def test_a_fifo_blocks_nobody(spool: Spool) -> None:
    os.mkfifo(spool.path / "response.head")
    with pytest.raises(Untrusted):
        spool.read_head()


def test_a_directory_is_no_response(spool: Spool) -> None:
    (spool.path / "response.body").mkdir()
    with pytest.raises(Untrusted):
        list(spool.read_body(10))


def test_the_directory_itself_may_not_be_a_link(root: SpoolRoot, spool: Spool) -> None:
    other = root.attempt("onejob-abc-1-link")
    other.path.symlink_to(spool.path)
    (spool.path / "events").write_text("1 sent\n")
    assert other.read_events() == ""


def test_a_body_at_the_bound_is_read_and_one_over_it_is_not(spool: Spool) -> None:
    (spool.path / "response.body").write_bytes(b"x" * 10)
    assert b"".join(spool.read_body(10)) == b"x" * 10
    with pytest.raises(Untrusted, match="longer than 9"):
        list(spool.read_body(9))


def test_gigabytes_of_head_are_not_read(spool: Spool) -> None:
    with (spool.path / "response.head").open("wb") as file:
        file.truncate(HEAD_LIMIT * 1000)
    with pytest.raises(Untrusted):
        spool.read_head()


def test_a_tree_deeper_than_python_recurses_is_removed(spool: Spool) -> None:
    here = os.open(spool.path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    spool.remove()
    assert not spool.exists()


def test_removing_twice_is_fine(spool: Spool) -> None:
    spool.remove()
    spool.remove()
    assert not spool.exists()


def test_of_a_file_full_of_rubbish_the_first_events_are_read(spool: Spool) -> None:
    events = spool.events_path
    events.write_text("1 sent\n")
    assert spool.read_all_events() is not None
    with events.open("a") as file:
        file.write("x" * EVENTS_LIMIT)
    assert spool.read_events().startswith("1 sent\n")
    assert len(spool.read_events()) == EVENTS_LIMIT
    assert spool.read_all_events() is None


def test_without_a_file_not_all_is_known(spool: Spool, tmp_path: Path) -> None:
    spool.events_path.unlink()
    assert spool.read_all_events() is None
    (tmp_path / "forged").touch()
    spool.events_path.symlink_to(tmp_path / "forged")
    assert spool.read_all_events() is None


def test_a_ledger_that_fails_meanwhile_leaves_no_directory(root: SpoolRoot) -> None:
    def fails() -> Iterator[bytes]:
        yield b"head"
        raise KeyError("not an OSError")

    with pytest.raises(KeyError):
        root.attempt("onejob-abc-1-other").prepare({}, [], fails())
    assert list(root.attempts.iterdir()) == []


def test_drafts_are_removed_once_they_are_old(root: SpoolRoot, spool: Spool) -> None:
    old, new = (root.attempts / f".onejob-abc-1-job.{n}" for n in ("old", "new"))
    old.mkdir()
    new.mkdir()
    os.utime(old, (1, 1))
    assert root.remove_drafts(60) == [old.name]
    assert not old.exists()
    assert new.exists()
    assert spool.exists()
