"""The node's own files after a power failure: whole, or told as what they are."""

import os
from pathlib import Path

import pytest

from tests.workers.rig import Rig
from workers import durable
from workers.allegiance import Allegiance
from workers.durable import Torn
from workers.spool import SpoolRoot


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written to the disk, in its order, and which names were given."""
    order: list[str] = []
    fsync, replace, link = os.fsync, Path.replace, os.link

    def note_fsync(handle: int) -> None:
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file"
        order.append(f"sync {kind}")
        fsync(handle)

    def note_replace(self: Path, target: Path) -> Path:
        order.append("name")
        return replace(self, target)

    def note_link(source: Path, target: Path) -> None:
        order.append("name")
        link(source, target)

    monkeypatch.setattr(durable.os, "fsync", note_fsync)
    monkeypatch.setattr(durable.os, "link", note_link)
    monkeypatch.setattr(Path, "replace", note_replace)
    return order


def test_a_file_has_its_name_once_it_is_on_the_disk_and_the_name_follows(
    tmp_path: Path, synced: list[str]
) -> None:
    durable.replace(tmp_path / "a", "one")
    durable.replace(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "two"
    assert synced == ["sync file", "name", "sync folder"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_nodes_id_is_made_once_and_lasts(tmp_path: Path, synced: list[str]) -> None:
    node = SpoolRoot(tmp_path).make()
    assert synced == ["sync file", "name", "sync folder"]
    assert SpoolRoot(tmp_path).make() == node
    durable.make_once(tmp_path / "node", "f" * 16)  # by a worker that started at the same time
    assert SpoolRoot(tmp_path).make() == node


@pytest.mark.parametrize("left", ["", "0a1b", "\0" * 16])
def test_a_torn_node_id_is_named_with_the_next_step(tmp_path: Path, left: str) -> None:
    (tmp_path / "node").write_text(left)
    with pytest.raises(Torn, match=r"node is torn.*onejob node list"):
        SpoolRoot(tmp_path).make()


@pytest.mark.parametrize("left", ["", "0a1b", "\0" * 19])
def test_a_torn_mark_of_the_ledger_is_named_with_the_next_step(rig: Rig, left: str) -> None:
    rig.upkeep().look()
    (rig.root.path / "ledger").write_text(left)
    with pytest.raises(Torn, match=r"ledger is torn.*remove it if"):
        Allegiance(rig.site()).is_ours()
