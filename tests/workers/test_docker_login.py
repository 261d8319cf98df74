"""Images of a registry that asks for a password, pulled with the login that a deployment names."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.registry import PASSWORD, USER, RealRegistry, real_registry, remove_images
from workers.docker_engine import DockerEngine
from workers.engine import ImageDenied, ImagePullFailed
from workers.images import Login

pytestmark = pytest.mark.docker
RIGHT = Login("right", lambda: (USER, PASSWORD))
WRONG = Login("wrong", lambda: (USER, "no"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("private"), password=True) as registry:
        yield registry
    remove_images(registry.host)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DockerEngine]:
    engine = DockerEngine(images=tmp_path / "images")
    yield engine
    engine.close()


def test_who_can_log_in_gets_the_image_and_nobody_else(
    registry: RealRegistry, engine: DockerEngine
) -> None:
    ref = registry.push("private")
    for login in (None, WRONG):
        with pytest.raises(ImageDenied) as error:
            engine.image(ref, refresh=False, login=login)
        assert PASSWORD not in str(error.value)
    image = engine.image(ref, refresh=False, login=RIGHT)
    assert engine.image(ref, refresh=True, login=RIGHT) == image


def test_a_refresh_with_a_wrong_login_is_denied_though_the_image_is_here(
    registry: RealRegistry, engine: DockerEngine
) -> None:
    ref = registry.push("refreshed")
    image = engine.image(ref, refresh=False, login=RIGHT)
    with pytest.raises(ImageDenied):
        engine.image(ref, refresh=True, login=WRONG)
    # What a machine has, all its deployments may run.
    assert engine.image(ref, refresh=False, login=WRONG) == image


def test_who_pulls_with_another_login_does_not_share_its_failure(
    registry: RealRegistry, engine: DockerEngine
) -> None:
    ref = registry.push("shared")
    with ThreadPoolExecutor(6) as pool:
        logins = [WRONG, RIGHT, None] * 2
        calls = [pool.submit(engine.image, ref, refresh=True, login=login) for login in logins]
        errors = [call.exception() for call in calls]
    for login, error in zip(logins, errors, strict=True):
        if login is RIGHT:
            assert error is None


def test_a_login_that_can_not_be_had_fails_the_pull_in_its_words(
    registry: RealRegistry, engine: DockerEngine
) -> None:
    def unanswered() -> tuple[str, str]:
        raise ImagePullFailed("no login to be had")

    with pytest.raises(ImagePullFailed, match="no login to be had"):
        engine.image(registry.push("unasked"), refresh=False, login=Login("x", unanswered))
