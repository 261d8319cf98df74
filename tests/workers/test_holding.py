"""What one worker process of a node holds, as the others see it."""

import subprocess
import sys
from pathlib import Path

from tests.workers.rig import Rig
from workers.holding import Holding


def test_what_is_held_is_seen_until_it_is_let_go_of(tmp_path: Path) -> None:
    holding = Holding(tmp_path)
    assert holding.replicas() == set()
    with holding.mark("r-1"), holding.mark("r-2"):
        with holding.mark("r-1"):  # taken over
            assert Holding(tmp_path).replicas() == {"r-1", "r-2"}
        assert holding.replicas() == {"r-1", "r-2"}
    assert list((tmp_path / "held").iterdir()) == []


def test_a_process_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from workers.holding import Holding
with Holding(Path(sys.argv[1])).mark("r-1"):
    print("held", flush=True)
    sys.stdin.read()
"""
    argv = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert Holding(tmp_path).replicas() == {"r-1"}
        process.kill()
    assert Holding(tmp_path).replicas() == set()
    assert list((tmp_path / "held").iterdir()) == []


def test_a_disk_that_takes_no_mark_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "held").touch()
    with Holding(tmp_path).mark("r-1"):
        pass


def test_the_upkeep_removes_the_marks_of_those_who_were_killed(rig: Rig) -> None:
    rig.submit()
    mark = rig.root.path / "held" / f"{rig.replica()}+0"
    mark.parent.mkdir()
    mark.touch()
    rig.upkeep().step(0)
    assert not mark.exists()
