"""What counts in a storm can count: each of its instruments sees what must not be."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from tests.chaos import sampler as sampling
from tests.chaos.faults import DECK, schedule
from tests.chaos.kinds import KINDS
from tests.chaos.report import Figure, Report
from tests.chaos.sampler import Replica, Sampler
from tests.chaos.witness import Life, Witness, most_at_once
from tests.e2e.house import until

JOB = "j-1.work"
APP = """
import os, signal, socket, sys, time
witness, path = socket.socket(socket.AF_UNIX), sys.argv[1] + '/witness'
while not os.path.exists(path): time.sleep(0.005)
witness.connect(path)
for line in sys.argv[2:]: witness.sendall(line.encode() + b'\\n')
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    """A witness over an empty spool root."""
    (tmp_path / "spool" / "attempts").mkdir(parents=True)
    witness = Witness(tmp_path / "spool", tmp_path / "journal")
    witness.start()
    yield witness
    witness.stop()


def run_app(spool: Path, *lines: str) -> None:
    """An app that tells so much, and is killed at once."""
    spool.mkdir(exist_ok=True)
    argv = [sys.executable, "-I", "-S", "-c", APP, str(spool), *lines]
    assert subprocess.run(argv, check=False).returncode == -9


class TestWitness:
    def test_it_knows_what_an_app_told_before_it_was_killed(
        self, witness: Witness, tmp_path: Path
    ) -> None:
        run_app(tmp_path / "spool/attempts/a", f"start five {JOB} 1 100.5", "request abc")
        (life,) = until(lambda: [life for life in witness.lives() if life.ended])
        assert (life.deployment, life.job, life.attempt, life.began) == ("five", JOB, 1, 100.5)
        assert witness.requests() == {JOB: ["abc"]}
        assert (witness.started_twice(), witness.delivered_twice()) == ([], [])

    def test_a_second_start_of_an_attempt_is_seen(self, witness: Witness, tmp_path: Path) -> None:
        for name in ("a", "b"):
            run_app(tmp_path / "spool/attempts" / name, f"start five {JOB} 1 100.5")
        assert until(witness.started_twice) == [f"{JOB}, attempt 1: 2"]

    def test_a_second_delivery_is_seen_also_by_a_further_attempt(
        self, witness: Witness, tmp_path: Path
    ) -> None:
        for n in (1, 2):
            lines = f"start five {JOB} {n} 100.5", "request abc"
            run_app(tmp_path / "spool/attempts" / str(n), *lines)
        assert until(witness.delivered_twice) == [f"{JOB}: 2"]
        assert witness.started_twice() == []


@contextmanager
def sampling_of(groups: Path, *names: str) -> Iterator[Sampler]:
    """A sampler that has looked, over these groups, each with one app, and one without."""
    environ = {"JOB_ID": JOB, "JOB_DEPLOYMENT": "five", "JOB_ATTEMPT": "1"}
    app = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=environ)
    for name, processes in (*((name, str(app.pid)) for name in names), ("empty", "")):
        group = groups / "pids" / "engine" / name
        group.mkdir(parents=True)
        (group / "cgroup.procs").write_text(processes)
    sampler = Sampler("engine")
    sampler.start()
    until(lambda: sampler.samples > 2)
    yield sampler
    sampler.stop()
    app.communicate()


class TestSampler:
    @pytest.fixture(autouse=True)
    def groups(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Where it looks for control groups."""
        monkeypatch.setattr(sampling, "CGROUPS", tmp_path)
        return tmp_path

    def test_a_group_with_a_process_is_a_replica_of_its_job(self, groups: Path) -> None:
        with sampling_of(groups, "one", "two") as sampler:
            assert sampler.most("five") == 2
            assert sampler.made_twice() == [f"{JOB}, attempt 1: 2"]

    def test_one_that_saw_nothing_says_so(self, groups: Path) -> None:
        with sampling_of(groups) as sampler:
            assert sampler.blindness([]) == ["the sampler saw no replica"]

    def test_an_app_that_it_can_not_have_missed_and_has_not_seen_is_told(
        self, groups: Path
    ) -> None:
        now = time.time()
        seen = Life("five", JOB, 1, began=now - 60)
        short = Life("five", "short", 1, began=now - 60, ended=now - 60)
        missed = Life("five", JOB, 2, began=now - 60, ended=now - 1)
        with sampling_of(groups, "one") as sampler:
            assert sampler.blindness([seen, short]) == []
            assert sampler.blindness([seen, missed]) == [f"the sampler never saw {JOB}, attempt 2"]

    def test_its_longest_gap_lasts_until_now(self) -> None:
        sampler = Sampler("engine")
        sampler.start()
        until(lambda: sampler.samples > 2)
        sampler.stop()
        before = sampler.longest_gap
        assert until(lambda: sampler.longest_gap > before)

    def test_an_overrun_counts_from_the_start_of_the_app(self) -> None:
        sampler = Sampler("engine")
        sampler._replicas = {"one": Replica(100.0, 115.0, "five", JOB, 1)}
        lives = [Life("five", JOB, 1, began=101.0)]
        assert sampler.overruns(lives, 9) == {JOB: 5.0}
        assert sampler.overruns([], 9) == {JOB: 6.0}
        assert sampler.overruns(lives, 14) == {}


def test_spans_that_touch_overlap() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([(0, 1), (2, 3)]) == 1
    assert most_at_once([(0, 2), (1, 3), (2, 4)]) == 3


def test_the_seed_decides_the_faults_and_each_comes_up() -> None:
    first, again, other = (list(islice(schedule(seed), len(DECK))) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(map(str, first)) == sorted(f"{v} {'+'.join(t)}" for v, t, _, _ in DECK)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_end_for_a_reason_that_can_not_be_is_none(kind: object) -> None:
    told = {"State": "failed", "Reason": "engine_lost"}
    assert kind.end(told) is None  # type: ignore[attr-defined]


def test_one_broken_figure_breaks_a_run() -> None:
    report = Report(seed=1, seconds=time.monotonic())
    report.figures = [Figure("replicas", 3, 3)]
    assert report.holds
    report.figures.append(Figure("requests delivered twice", 1, 0))
    assert not report.holds
    assert "BROKEN" in report.table()
