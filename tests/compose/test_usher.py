"""An image brings the usher's binary; a worker needs no compiler then."""

import stat
from pathlib import Path

import pytest

from workers import prepare
from workers.prepare import install_usher


def test_an_usher_that_was_brought_is_installed_under_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought = tmp_path / "usher"
    brought.write_bytes(b"\x7fELF of an image")
    monkeypatch.setenv("ONEJOB_USHER", str(brought))
    monkeypatch.setattr(prepare, "_compile_usher", lambda output: pytest.fail("compiled"))
    usher = install_usher(tmp_path / "spool")
    assert usher.name.startswith("usher-")
    assert usher.read_bytes() == brought.read_bytes()
    assert stat.S_IMODE(usher.stat().st_mode) == 0o755
