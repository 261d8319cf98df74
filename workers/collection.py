"""Images that no job has wanted for long are removed, if the operator wishes so.

Only those that pulls of ours brought, never one that a container uses, and never by force. A job
that wants one at that very moment finds it gone at the create, and pulls it again.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from workers.engine import EngineTrouble
from workers.images import PulledImage
from workers.site import Site

logger = logging.getLogger(__name__)
COLLECTION_SECONDS = 300.0
FRESH_SECONDS = 600.0  # an image that a job wanted lately stays, however full the disk is


class Collection:
    """The collection of one worker's node."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._max_age = site.settings.images_max_age_seconds
        self._percent = site.settings.images_disk_percent
        self._told = False

    @property
    def wished(self) -> bool:
        """Whether anything is ever removed."""
        return self._max_age is not None or self._percent is not None

    def step(self, _now: float) -> None:
        """Removes what is due; one process of the node does it. Raises EngineError, OSError."""
        if not self.wished:
            return
        with self._alone() as alone:
            if alone:
                self._remove_aged()
                self._make_room()

    def _remove_aged(self) -> None:
        if self._max_age is None:
            return
        for image in self._unused_for(self._max_age):
            self._discard(image, f"no job has wanted it for {self._max_age:g} s")

    def _make_room(self) -> None:
        if self._percent is None:
            return
        for image in self._unused_for(FRESH_SECONDS):
            full = self._site.engine.fullness()
            if full is None:
                self._tell_blind()
            if full is None or full <= self._percent:
                return
            self._discard(image, f"the disk is {full:.0f} % full")

    def _unused_for(self, seconds: float) -> Iterator[PulledImage]:
        """The least recently used first."""
        bound = datetime.now(UTC) - timedelta(seconds=seconds)
        return (image for image in self._site.engine.pulled() if image.used_at < bound)

    def _discard(self, image: PulledImage, why: str) -> None:
        try:
            gone = self._site.engine.discard(image)
        except EngineTrouble as error:  # this one's is not the others'
            logger.warning("image %s stays: %s", ", ".join(image.refs), error)
        else:
            if gone:
                logger.info("image %s removed: %s", ", ".join(image.refs), why)

    def _tell_blind(self) -> None:
        if not self._told:
            self._told = True
            logger.warning("the engine's disk can't be seen from here: no image is removed for it")

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other process of the node is at it."""
        with (self._site.spool_root.path / "collecting").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
