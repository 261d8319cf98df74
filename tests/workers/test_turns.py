"""Turns: one process at a time, and none that is held up for ever."""

import os
import time
from pathlib import Path

import pytest

from workers import turns


class HeldUp(Exception):
    """What a test's `wait` raises."""


def held_up() -> None:
    raise HeldUp


def test_a_turn_that_is_had_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    with turns.turn(path, held_up), pytest.raises(HeldUp), turns.turn(path, held_up):
        pytest.fail("it had the turn")
    with turns.turn(path, held_up):
        pass


def test_one_that_shows_no_life_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.3)
    path, waits = tmp_path / "turn", [0]

    def wait() -> None:
        waits[0] += 1
        assert waits[0] < 200, "it is waited for all the same"
        if waits[0] < 20:
            turns.show_life(path)

    with turns.turn(path, held_up), turns.turn(path, wait):
        assert waits[0] >= 20


def test_what_was_done_is_told_by_when(tmp_path: Path) -> None:
    before = time.monotonic()
    with turns.turn(tmp_path / "turn", held_up) as turn:
        assert not turn.done_since(before)
        turn.note_done()
        assert turn.done_since(before)
        assert not turn.done_since(time.monotonic())


def test_what_an_earlier_boot_has_noted_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    path.write_text(f"{time.monotonic() + 1e6:020.6f}")
    with turns.turn(path, held_up) as turn:
        assert not turn.done_since(time.monotonic())


def test_the_file_of_a_turn_that_is_had_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    with turns.turn(path, held_up):
        assert not turns.free(path)
    assert turns.free(path)
    assert os.listdir(tmp_path) == []
    assert not turns.free(path)
