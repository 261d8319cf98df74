"""What every engine must do with images that it has to pull."""

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.contracts.worlds import World
from workers.engine import ImageGone
from workers.images import PulledImage, PullNews


class CalledAway(Exception):
    """Raised by a test's watch."""


def called_away(_: PullNews) -> None:
    raise CalledAway


def pull(world: World) -> tuple[str, PulledImage]:
    """An image that was pulled, as the engine remembers it."""
    ref = world.pushed()
    id = world.engine.image(ref, refresh=False).id
    [pulled] = [image for image in world.engine.pulled() if image.id == id]
    return ref, pulled


def test_a_pull_is_told_from_its_beginning_to_its_end(world: World) -> None:
    told: list[PullNews] = []
    world.engine.image(world.pushed(), refresh=False, watch=told.append)
    assert [news.over for news in told] == [False] * (len(told) - 1) + [True]
    assert len(told) >= 2
    assert all(a.seconds <= b.seconds for a, b in pairwise(told))
    assert told[-1].done_bytes == told[-1].known_bytes


def test_of_an_image_that_is_here_nothing_is_told(world: World) -> None:
    world.engine.image(world.ref, refresh=False, watch=called_away)
    ref, _ = pull(world)
    world.engine.image(ref, refresh=False, watch=called_away)


def test_a_refresh_asks_the_registry_also_where_the_image_is_here(world: World) -> None:
    ref, _ = pull(world)
    told: list[PullNews] = []
    world.engine.image(ref, refresh=True, watch=told.append)
    assert told[-1].over


def test_what_the_watch_raises_ends_the_wait(world: World) -> None:
    with pytest.raises(CalledAway):
        world.engine.image(world.pushed(), refresh=False, watch=called_away)


def test_only_what_was_pulled_is_remembered(world: World) -> None:
    world.engine.image(world.ref, refresh=False)
    assert world.engine.pulled() == []
    ref, pulled = pull(world)
    assert pulled.refs == (ref,)


def test_a_use_is_remembered(world: World) -> None:
    ref, before = pull(world)
    for _ in range(1000):  # at first the clock of files may not have gone on
        world.engine.image(ref, refresh=False)
        [after] = world.engine.pulled()
        if after.used_at != before.used_at:
            break
    assert after.used_at > before.used_at


def test_a_discarded_image_is_gone_and_pulled_again(world: World) -> None:
    ref, pulled = pull(world)
    assert world.engine.discard(pulled)
    assert world.engine.pulled() == []
    with pytest.raises(ImageGone):
        world.engine.create(replace(world.spec(), image=pulled.id))
    told: list[PullNews] = []
    assert world.engine.image(ref, refresh=False, watch=told.append).id == pulled.id
    assert told[-1].over


def test_an_image_of_a_container_is_not_discarded(world: World) -> None:
    _, pulled = pull(world)
    made = world.engine.create(replace(world.spec(), image=pulled.id))
    assert not world.engine.discard(pulled)
    assert [image.id for image in world.engine.pulled()] == [pulled.id]
    world.engine.remove(made.id)
    assert world.engine.discard(pulled)


def test_discarding_what_is_gone_already_is_fine(world: World) -> None:
    _, pulled = pull(world)
    assert world.engine.discard(pulled)
    assert world.engine.discard(pulled)


def test_a_disk_is_between_empty_and_full(world: World) -> None:
    full = world.engine.fullness()
    assert full is None or 0 <= full <= 100
