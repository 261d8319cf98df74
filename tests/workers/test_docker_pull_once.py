"""Pulls from a real registry: once per machine, bounded, and left by who is called away."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import docker
import pytest

from tests.conftest import engine_answers, require
from tests.registry import RealRegistry, Stall, real_registry, remove_images, stalling
from tests.stopped import stop
from workers import docker_store, turns
from workers.docker_engine import DockerEngine
from workers.engine import EngineUnavailable, Image, ImageDenied, ImageNotFound, ImagePullFailed
from workers.images import PullNews

pytestmark = pytest.mark.docker
LAYER = 3_000_000
PATIENCE_SECONDS = 60.0
CHECKOUT = Path(__file__).parents[2]
ASK = """
import sys
from pathlib import Path
from workers.docker_engine import DockerEngine
ref, folder, refresh = sys.argv[1:]
engine = DockerEngine(images=Path(folder))
print("ready", flush=True)
sys.stdin.readline()
told, said = [], []
def watch(news):
    told.append(news)
    word = "waits" if news.done_bytes is None else "pulls"
    if word not in said:
        said.append(word)
        print(word, flush=True)
engine.image(ref, refresh=bool(refresh), watch=watch)
print("pulled" if told[-1:] and told[-1].done_bytes is not None else "shared" if told else "here")
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry
    remove_images(registry.host)


@pytest.fixture(scope="module")
def pushed(registry: RealRegistry) -> str:
    require(engine_answers(), "no Docker engine answers")
    return registry.push("app", LAYER)


@pytest.fixture
def stall(registry: RealRegistry) -> Iterator[Stall]:
    with stalling(registry, let_through=LAYER // 2) as stall:
        yield stall
        stall.go_on()
    remove_images(stall.ref(registry.host))


@pytest.fixture
def ref(stall: Stall, pushed: str) -> str:
    """The image behind the stall: each test's own name for it, so that nobody has it yet."""
    return stall.ref(pushed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def engine(folder: Path) -> Iterator[DockerEngine]:
    engine = DockerEngine(images=folder)
    yield engine
    engine.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


class CalledAway(Exception):
    """Raised by a test's watch."""


class Asker:
    """Another worker process of the machine."""

    def __init__(self, ref: str, folder: Path, refresh: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ASK, ref, str(folder), "1" if refresh else ""],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def ask(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def says(self, word: str) -> None:
        """Waits until it says that it "waits" for another's pull, or "pulls" itself."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def answer(self) -> str:
        out, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return str(out.split()[-1])


def asking(
    threads: ThreadPoolExecutor, engine: DockerEngine, ref: str, told: list[PullNews]
) -> Future[Image]:
    return threads.submit(engine.image, ref, refresh=False, watch=told.append)


# -- once --------------------------------------------------------------------------------------


def test_all_processes_of_a_machine_share_one_pull(ref: str, stall: Stall, folder: Path) -> None:
    askers = [Asker(ref, folder) for _ in range(3)]
    askers[0].ask()
    assert stall.stalled.wait(PATIENCE_SECONDS)
    for asker in askers[1:]:
        asker.ask()
        asker.says("waits")
    stall.go_on()
    assert sorted(asker.answer() for asker in askers) == ["pulled", "shared", "shared"]
    assert set(stall.blobs().values()) == {1}


def test_a_refresh_that_was_waited_for_is_not_repeated(
    ref: str, stall: Stall, folder: Path
) -> None:
    askers = [Asker(ref, folder, refresh=True) for _ in range(3)]
    askers[0].ask()
    assert stall.stalled.wait(PATIENCE_SECONDS)
    manifests = stall.manifests()
    for asker in askers[1:]:
        asker.ask()
        asker.says("waits")
    stall.go_on()
    assert sorted(asker.answer() for asker in askers) == ["pulled", "shared", "shared"]
    assert stall.manifests() == manifests
    later = Asker(ref, folder, refresh=True)
    later.ask()
    assert later.answer() == "pulled"
    assert stall.manifests() > manifests


def test_a_stopped_process_only_delays_the_others(
    ref: str, stall: Stall, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[PullNews] = []

    def watch(news: PullNews) -> None:
        told.append(news)
        monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.5)  # once it is seen to wait

    monkeypatch.setattr(turns, "PATIENCE_SECONDS", PATIENCE_SECONDS)
    first = Asker(ref, folder)
    first.ask()
    assert stall.stalled.wait(PATIENCE_SECONDS)
    stop(first.process.pid)
    stall.go_on()
    engine = DockerEngine(images=folder)
    try:
        assert engine.image(ref, refresh=False, watch=watch).id
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
        engine.close()
    assert told[0].done_bytes is None
    assert first.answer() == "pulled"


def test_a_killed_process_leaves_the_pull_to_the_next(ref: str, stall: Stall, folder: Path) -> None:
    first, second = Asker(ref, folder), Asker(ref, folder)
    first.ask()
    assert stall.stalled.wait(PATIENCE_SECONDS)
    second.ask()
    second.says("waits")
    first.process.kill()
    first.process.communicate()
    second.says("pulls")
    stall.go_on()
    assert second.answer() == "pulled"


# -- what is told --------------------------------------------------------------------------------


def test_those_who_wait_are_told_how_far_it_is(
    ref: str, stall: Stall, engine: DockerEngine, threads: ThreadPoolExecutor
) -> None:
    told: list[list[PullNews]] = [[], []]
    answers = [asking(threads, engine, ref, told[0])]
    assert stall.stalled.wait(PATIENCE_SECONDS)
    answers.append(asking(threads, engine, ref, told[1]))
    until(lambda: all(len(news) >= 3 and news[-1].done_bytes for news in told))
    halves = [news[-1] for news in told]
    stall.go_on()
    assert len({answer.result(PATIENCE_SECONDS).id for answer in answers}) == 1
    for news, half in zip(told, halves, strict=True):
        assert half.done_bytes is not None
        assert 0 < half.done_bytes < half.known_bytes
        assert [n.over for n in news[-2:]] == [False, True]
        assert (news[-1].done_bytes, news[-1].seconds > half.seconds) == (half.known_bytes, True)


def test_of_an_image_that_is_here_nothing_is_told(
    ref: str, stall: Stall, engine: DockerEngine
) -> None:
    stall.go_on()
    engine.image(ref, refresh=False)
    manifests = stall.manifests()
    told: list[PullNews] = []
    engine.image(ref, refresh=False, watch=told.append)
    assert (told, stall.manifests()) == ([], manifests)


# -- leaving it ----------------------------------------------------------------------------------


def test_who_is_called_away_leaves_before_it_is_over_and_the_others_go_on(
    ref: str, stall: Stall, engine: DockerEngine, threads: ThreadPoolExecutor
) -> None:
    called = threading.Event()

    def watch(_: PullNews) -> None:
        if called.is_set():
            raise CalledAway

    stays = asking(threads, engine, ref, [])
    leaves = threads.submit(engine.image, ref, refresh=False, watch=watch)
    assert stall.stalled.wait(PATIENCE_SECONDS)
    called.set()
    with pytest.raises(CalledAway):
        leaves.result(PATIENCE_SECONDS)
    stall.go_on()
    assert stays.result(PATIENCE_SECONDS).id
    assert set(stall.blobs().values()) == {1}


def test_a_pull_that_all_have_left_breaks_off_and_the_next_one_gets_it_all_the_same(
    ref: str, stall: Stall, engine: DockerEngine
) -> None:
    def watch(_: PullNews) -> None:
        if stall.stalled.is_set():
            raise CalledAway

    with pytest.raises(CalledAway):
        engine.image(ref, refresh=False, watch=watch)
    stall.go_on()
    assert engine.image(ref, refresh=False).id


def test_closing_the_engine_ends_the_wait(
    ref: str, stall: Stall, engine: DockerEngine, threads: ThreadPoolExecutor
) -> None:
    waits = asking(threads, engine, ref, [])
    assert stall.stalled.wait(PATIENCE_SECONDS)
    engine.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        waits.result(PATIENCE_SECONDS)


# -- its bounds ----------------------------------------------------------------------------------


def test_a_pull_that_stands_still_is_given_up(ref: str, folder: Path) -> None:
    engine = DockerEngine(images=folder, stall_seconds=1)
    with pytest.raises(ImagePullFailed, match="the pull stood still for 1 s"):
        engine.image(ref, refresh=False)
    engine.close()


def test_a_pull_that_takes_too_long_is_given_up(ref: str, stall: Stall, folder: Path) -> None:
    engine = DockerEngine(images=folder, pull_seconds=1.5)
    with pytest.raises(ImagePullFailed, match=r"the pull was not complete after 1\.5 s"):
        engine.image(ref, refresh=False)
    stall.go_on()
    until(lambda: comes(engine, ref))  # who asks again, gets another pull
    engine.close()


def comes(engine: DockerEngine, ref: str) -> bool:
    """Whether an image comes in time."""
    with suppress(ImagePullFailed):
        return bool(engine.image(ref, refresh=False).id)
    return False


# -- errors --------------------------------------------------------------------------------------


def test_a_registry_in_trouble_is_asked_again(
    registry: RealRegistry, pushed: str, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_store, "PAUSES", (0.1, 0.1, 0.1))
    with stalling(registry, let_through=LAYER, broken=3) as stall:
        assert engine.image(stall.ref(pushed), refresh=False).id
        assert stall.broken == 0
        remove_images(stall.ref(registry.host))


def test_a_registry_that_comes_back_is_asked_again(
    tmp_path: Path,
    engine: DockerEngine,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docker_store, "PAUSES", (0.2,) * 300)  # also if that takes a minute
    with real_registry(tmp_path / "registry") as registry:
        ref = registry.push("app")
        registry.stop()
        told: list[PullNews] = []
        answer = asking(threads, engine, ref, told)
        until(lambda: len(told) >= 2)  # the first try is over long since
        registry.start()
        assert answer.result(PATIENCE_SECONDS).id
        remove_images(registry.host)


def test_what_is_not_there_fails_at_once_with_the_registrys_words(
    registry: RealRegistry, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_store, "PAUSES", (60.0,))
    began = time.monotonic()
    with pytest.raises(ImageNotFound, match="manifest unknown"):
        engine.image(f"{registry.host}/app:2", refresh=False)
    with pytest.raises(ImageNotFound, match=r"not found|unknown"):
        engine.image(f"{registry.host}/nobody:1", refresh=False)
    assert time.monotonic() - began < 60


def test_what_is_denied_fails_at_once_with_the_registrys_words(
    tmp_path: Path, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_store, "PAUSES", (60.0,))
    with real_registry(tmp_path / "registry", password=True) as registry:
        ref, began = registry.push("app"), time.monotonic()
        with pytest.raises(ImageDenied, match="no basic auth credentials"):
            engine.image(ref, refresh=False)
        assert time.monotonic() - began < 60


# -- what was brought ----------------------------------------------------------------------------


def test_what_a_pull_brought_is_remembered_and_removed(
    ref: str, stall: Stall, engine: DockerEngine
) -> None:
    stall.go_on()
    assert engine.pulled() == []
    image = engine.image(ref, refresh=False)
    [pulled] = engine.pulled()
    assert (pulled.id, pulled.refs) == (image.id, (ref,))
    # Again, should the clock of files not have gone on meanwhile.
    until(lambda: engine.image(ref, refresh=False) and engine.pulled()[0].used_at > pulled.used_at)
    assert engine.discard(pulled)
    assert engine.pulled() == []
    assert engine.image(ref, refresh=False) == image  # pulled again
    assert stall.manifests() >= 2


def test_what_was_here_under_another_name_is_not_ours(
    ref: str, stall: Stall, engine: DockerEngine
) -> None:
    stall.go_on()
    api = docker.APIClient(timeout=30, **docker.utils.kwargs_from_env())
    api.pull(ref)
    own = ref.removesuffix(":1")
    api.tag(ref, own, "mine")
    api.remove_image(ref)
    engine.image(ref, refresh=False)
    assert engine.pulled() == []
    api.close()


def test_what_somebody_has_named_since_stays(ref: str, stall: Stall, engine: DockerEngine) -> None:
    stall.go_on()
    image = engine.image(ref, refresh=False)
    api = docker.APIClient(timeout=30, **docker.utils.kwargs_from_env())
    mine = f"{ref.removesuffix(':1')}:mine"
    api.tag(ref, *mine.rsplit(":", 1))
    assert not engine.discard(engine.pulled()[0])
    assert api.inspect_image(mine)["Id"] == image.id
    assert engine.pulled() == []
    api.close()


def test_what_a_container_has_stays(ref: str, stall: Stall, engine: DockerEngine) -> None:
    stall.go_on()
    engine.image(ref, refresh=False)
    [pulled] = engine.pulled()
    api = docker.APIClient(timeout=30, **docker.utils.kwargs_from_env())
    made = api.create_container_from_config({"Image": ref, "Cmd": ["/nothing"]})["Id"]
    try:
        assert not engine.discard(pulled)
        assert engine.pulled() == [pulled]
    finally:
        api.remove_container(made)
        api.close()
    assert engine.discard(pulled)


def test_what_a_refresh_replaced_is_remembered_and_removed_as_well(
    tmp_path: Path, engine: DockerEngine
) -> None:
    with real_registry(tmp_path / "registry") as registry:
        old = engine.image(registry.push("app"), refresh=False)
        new = engine.image(registry.push("app"), refresh=True)
        assert [image.id for image in engine.pulled()] == [old.id, new.id]
        assert [engine.discard(image) for image in engine.pulled()] == [True, True]
        api = docker.APIClient(timeout=30, **docker.utils.kwargs_from_env())
        for image in (old, new):
            with pytest.raises(docker.errors.ImageNotFound):
                api.inspect_image(image.id)
        api.close()


def test_the_disk_is_looked_at(engine: DockerEngine) -> None:
    full = engine.fullness()
    assert full is None or 0 < full < 100


def until(holds: object) -> None:
    """Waits for what other threads are told, which gives no sign here."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < give_up, f"not within {PATIENCE_SECONDS} s"
        time.sleep(0.01)
