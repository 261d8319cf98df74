"""Images from a registry, and from none."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.images import Registry
from tests.workers.docker_rig import Rig, rigged
from workers import docker_store
from workers.docker_engine import DockerEngine
from workers.engine import Image, ImageDenied, ImageNotFound, ImagePullFailed
from workers.images import PullNews

pytestmark = pytest.mark.docker
CONFIG = {"Entrypoint": ["/app"], "Cmd": ["serve"], "StopSignal": "SIGRTMIN+3"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry in trouble is asked again at once."""
    monkeypatch.setattr(docker_store, "PAUSES", (0.01, 0.01))


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged() as rig:
        yield rig


@pytest.fixture
def repository(rig: Rig) -> str:
    return f"onejob-{rig.token}"


@pytest.fixture
def registry(rig: Rig, repository: str) -> Iterator[Registry]:
    """With an image in one repository; nothing of it is on the engine afterwards."""
    registry = Registry()
    registry.push(repository, CONFIG)
    yield registry
    registry.close()
    tags = (tag for image in rig.api.images() for tag in image["RepoTags"] or ())
    for tag in tags:
        if tag.startswith(registry.host):
            rig.api.remove_image(tag, force=True)


@pytest.fixture
def ref(registry: Registry, repository: str) -> str:
    return registry.ref(repository)


def test_an_image_that_is_not_here_is_pulled(rig: Rig, ref: str) -> None:
    image = rig.engine.image(ref, refresh=False)
    assert image == Image(image.id, ("/app",), ("serve",), 37)


def test_an_image_that_is_here_is_used_without_asking(
    rig: Rig, registry: Registry, repository: str
) -> None:
    first = rig.engine.image(registry.ref(repository), refresh=False)
    asked = registry.asked[repository]
    assert rig.engine.image(registry.ref(repository), refresh=False) == first
    assert registry.asked[repository] == asked > 0


def test_a_pull_is_timed_and_a_look_is_not(ref: str) -> None:
    timed: list[str] = []

    @contextmanager
    def note(verb: str) -> Iterator[None]:
        yield
        timed.append(verb)

    engine = DockerEngine(None, timed=note)
    for _ in range(2):
        engine.image(ref, refresh=False)
    engine.close()
    assert timed == ["pull"]


def test_a_refresh_brings_what_is_new(rig: Rig, registry: Registry, repository: str) -> None:
    old = rig.engine.image(registry.ref(repository), refresh=False)
    registry.push(repository, CONFIG | {"Cmd": ["newer"]})
    new = rig.engine.image(registry.ref(repository), refresh=True)
    assert (old.cmd, new.cmd) == (("serve",), ("newer",))
    rig.api.remove_image(old.id, force=True)


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ImageNotFound), (401, ImageDenied), (403, ImageDenied), (500, ImagePullFailed)],
)
def test_what_a_registry_says_is_told(
    rig: Rig, registry: Registry, repository: str, status: int, error: type[Exception]
) -> None:
    registry.answers[repository] = status
    with pytest.raises(error):
        rig.engine.image(registry.ref(repository), refresh=False)


def test_a_registry_that_is_gone_is_told(rig: Rig, registry: Registry, ref: str) -> None:
    registry.close()
    with pytest.raises(ImagePullFailed, match="refused"):
        rig.engine.image(ref, refresh=False)


@pytest.mark.parametrize("status", [500, 503])
def test_where_a_refresh_fails_what_is_here_will_do(
    rig: Rig, registry: Registry, repository: str, status: int
) -> None:
    here = rig.engine.image(registry.ref(repository), refresh=False)
    registry.answers[repository] = status
    assert rig.engine.image(registry.ref(repository), refresh=True) == here
    registry.close()
    assert rig.engine.image(registry.ref(repository), refresh=True) == here


@pytest.mark.parametrize(("status", "error"), [(404, ImageNotFound), (403, ImageDenied)])
def test_what_a_registry_took_back_is_not_refreshed_from_here(
    rig: Rig, registry: Registry, repository: str, status: int, error: type[Exception]
) -> None:
    rig.engine.image(registry.ref(repository), refresh=False)
    registry.answers[repository] = status
    with pytest.raises(error):
        rig.engine.image(registry.ref(repository), refresh=True)


def test_an_image_that_was_never_in_a_registry_stays_in_use(
    rig: Rig, registry: Registry, repository: str
) -> None:
    here = rig.engine.image(rig.image_with('CMD ["built here"]'), refresh=False)
    tag = registry.ref(f"{repository}-other")
    rig.api.tag(here.id, tag.removesuffix(":1"), "1")
    assert rig.engine.image(tag, refresh=True) == here
    assert registry.asked[f"{repository}-other"] > 0


def test_one_pull_serves_all_who_wait_for_it(rig: Rig, registry: Registry, repository: str) -> None:
    ready = threading.Barrier(8)

    def ask(_: int) -> str:
        ready.wait(60)
        return rig.engine.image(registry.ref(repository), refresh=False).id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1
    assert registry.asked[repository] <= 2  # the engine asks once or twice in a pull


def test_those_who_refresh_at_once_share_a_pull(
    rig: Rig, registry: Registry, repository: str
) -> None:
    registry.silent.add(repository)
    waiting = threading.Barrier(9)

    def ask(_: int) -> str:
        told: list[PullNews] = []

        def watch(news: PullNews) -> None:
            told.append(news)
            if len(told) == 1:
                waiting.wait(60)

        return rig.engine.image(registry.ref(repository), refresh=True, watch=watch).id

    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(ask, range(8))
        waiting.wait(60)
        registry.released.set()
        assert len(set(answers)) == 1
    assert registry.asked[repository] <= 2  # the engine asks once or twice in a pull


def test_a_refresh_does_not_wait_for_a_registry_in_trouble(
    rig: Rig, registry: Registry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = rig.engine.image(registry.ref(repository), refresh=False)
    monkeypatch.setattr(docker_store, "PAUSES", (60.0,))
    registry.answers[repository] = 503
    assert rig.engine.image(registry.ref(repository), refresh=True) == here


def test_a_failure_is_told_to_all_who_wait_for_it(
    rig: Rig, registry: Registry, repository: str
) -> None:
    registry.answers[repository] = 404
    ready = threading.Barrier(4)

    def ask(_: int) -> None:
        ready.wait(60)
        with pytest.raises(ImageNotFound):
            rig.engine.image(registry.ref(repository), refresh=False)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(4)))


def test_a_registry_that_falls_silent_is_given_up(registry: Registry, repository: str) -> None:
    registry.silent.add(repository)
    engine = DockerEngine(None, stall_seconds=0.5)
    with pytest.raises(ImagePullFailed, match=r"the pull stood still for 0\.5 s"):
        engine.image(registry.ref(repository), refresh=False)
    engine.close()


@pytest.mark.parametrize("ref", ["UPPER/case:1", "white space:1"])
def test_what_is_no_reference_names_no_image(rig: Rig, ref: str) -> None:
    with pytest.raises(ImageNotFound):
        rig.engine.image(ref, refresh=True)
