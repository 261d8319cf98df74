"""The image of one attempt, and what the job's timeline tells of its pull.

An image that is here costs the timeline nothing. A pull is told when it begins, when it ended well,
and in between ever more rarely: nobody reads hundreds of lines, and Redis has to keep them.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from workers import provisions
from workers.attempt import Attempt
from workers.engine import Image, ImageGone
from workers.images import PullNews
from workers.roster import Attention
from workers.wishes import Wishes

FIRST_SECONDS = 10.0  # of a pull, until it is told how far it is; then twice as many, and so on
MB = 1e6


class CalledOff(Exception):
    """There is something that goes before the image: the supervisor has to look up."""


class RunImage:
    """The image that an attempt runs."""

    def __init__(self, attempt: Attempt, attention: Attention, wishes: Wishes) -> None:
        self._attempt = attempt
        self._attention = attention
        self._wishes = wishes
        self._image: Image | None = None

    @contextmanager
    def had(self) -> Iterator[Image]:
        """The image, looked up or pulled if it is not known, for what is done in the block.

        Where that finds it gone, it is looked up again the next time. Raises ImageError, Hopeless;
        CalledOff where a pull is not waited for any longer; Stale.
        """
        if self._image is None:
            self._image = self._bring()
        try:
            yield self._image
        except ImageGone:
            self._image = None
            raise

    def _bring(self) -> Image:
        recipe, site = self._attempt.recipe, self._attempt.site
        container, login = recipe.run.container, provisions.login(site, recipe.spec)
        story = PullStory(self._attempt, container.image)

        def watch(news: PullNews) -> None:
            if not news.over and self._called_off():
                raise CalledOff(container.image)
            story.tell(news)

        refresh = not container.should_use_cached_image
        return site.engine.image(container.image, refresh=refresh, watch=watch, login=login)

    def _called_off(self) -> bool:
        attention = self._attention
        return bool(attention.lost or attention.stopping or self._wishes.cancel)


class PullStory:
    """What the timeline tells of one pull."""

    def __init__(self, attempt: Attempt, ref: str) -> None:
        self._attempt = attempt
        self._ref = ref
        self._begun = False
        self._next_seconds = FIRST_SECONDS

    def tell(self, news: PullNews) -> None:
        """Tells what is due, and later what Redis did not take. Raises Stale."""
        if not self._begun:
            self._begun = True
            self._attempt.note("pulling", self._ref)
        if news.over:
            self._attempt.note("pulled", f"{self._ref}: {_came(news)} in {news.seconds:.1f} s")
        elif news.seconds >= self._next_seconds:
            self._next_seconds = 2 * news.seconds
            self._attempt.note("pulling", f"{self._ref}: {_comes(news)}")
        with suppress(redis.RedisError):
            self._attempt.tell()


def _came(news: PullNews) -> str:
    if news.done_bytes is None:
        return "by another worker of this machine,"
    return f"{news.done_bytes / MB:.1f} MB"


def _comes(news: PullNews) -> str:
    if news.done_bytes is None:
        return "another worker of this machine is at it"
    # The layers that have not begun are not in it, so it is no share of the whole.
    return f"{news.done_bytes / MB:.1f} of at least {news.known_bytes / MB:.1f} MB so far"
