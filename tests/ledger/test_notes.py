"""What happens to an attempt goes into the timeline, once."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.job import Reason, State, TimelineEntry
from app.ledger import Ledger
from app.ledger.attempts import Grip, Stale
from tests.ledger.scene import Scene, check_places


def notes(scene: Scene) -> list[tuple[str, str | None]]:
    timeline = scene.ledger.jobs.view(scene.uid, "a").timeline
    return [(e.event, e.detail) for e in timeline if e.event.startswith("pull")]


def test_notes_stand_in_the_timeline_with_their_details(scene: Scene) -> None:
    grip = scene.started("a")
    scene.ledger.attempts.note(grip, 1, "pulling", "app:1")
    scene.ledger.attempts.note(grip, 2, "pulled", "app:1: 2.0 MB in 1.5 s")
    assert notes(scene) == [("pulling", "app:1"), ("pulled", "app:1: 2.0 MB in 1.5 s")]
    check_places(scene)


def test_a_note_that_is_repeated_is_noted_once(scene: Scene, stuttering: Ledger) -> None:
    grip = scene.started("a")
    for number in (1, 2):  # the same words twice are two notes
        stuttering.attempts.note(grip, number, "pulling", "app:1")
    assert notes(scene) == [("pulling", "app:1")] * 2


def test_who_was_replaced_notes_nothing(scene: Scene) -> None:
    old = scene.started("a")
    scene.lapse("a")
    new = scene.grip("a")
    with pytest.raises(Stale):
        scene.ledger.attempts.note(old, 1, "pulling", "app:1")
    scene.ledger.attempts.note(new, 1, "pulling", "app:1")
    assert notes(scene) == [("pulling", "app:1")]


@pytest.mark.parametrize("how", ["running", "final", "queued again"])
def test_later_there_is_nothing_to_note(scene: Scene, how: str) -> None:
    grip = scene.started("a")
    if how == "running":
        scene.run(grip)
    elif how == "final":
        scene.finish(grip)
    else:
        scene.requeue(grip)
    with pytest.raises(Stale):
        scene.ledger.attempts.note(grip, 1, "pulling", "app:1")
    assert notes(scene) == []


def test_the_same_attempt_made_again_counts_from_one(scene: Scene) -> None:
    grip = scene.started("a")
    scene.ledger.attempts.note(grip, 1, "pulling", "app:1")
    scene.requeue(grip, counts=False)
    again = scene.grip("a")
    assert (again.attempt, again.fence > grip.fence) == (grip.attempt, True)
    scene.ledger.attempts.note(again, 1, "pulling", "app:1")
    assert len(notes(scene)) == 2


def test_a_note_leaves_nothing_in_the_record_of_what_is_over(scene: Scene) -> None:
    grip = scene.started("a")
    scene.ledger.attempts.note(grip, 1, "pulling", "app:1")
    scene.finish(grip)
    assert b"noted" not in scene.raw("a")
    assert scene.job("a").reason is Reason.EXIT_0


# -- what its node saw ---------------------------------------------------------------------------


def seen(event: str, seconds: float) -> TimelineEntry:
    """Something that was seen so long ago, by the node's clock."""
    return TimelineEntry(event, datetime.now(UTC) - timedelta(seconds=seconds), "words")


def finish(ledger: Ledger, grip: Grip, *entries: TimelineEntry) -> None:
    ledger.attempts.finish(grip, State.SUCCEEDED, Reason.EXIT_0, "exited with 0", {}, entries)


def test_what_was_seen_stands_before_what_followed_from_it(
    scene: Scene, stuttering: Ledger
) -> None:
    grip = scene.started("a")
    fields = {"started_at": "1700000000.000000"}
    state, attempts = State.STARTING, stuttering.attempts
    attempts.advance(grip, state, state, "started", fields, [seen("created", 0)])
    finish(stuttering, grip, seen("responded", 0), seen("exited", 0))
    assert scene.events("a")[2:] == [
        *("starting", "created", "started", "responded", "exited", "succeeded"),
    ]
    entries = scene.ledger.jobs.view(scene.uid, "a").timeline
    assert [entry.detail for entry in entries if entry.event == "exited"] == ["words"]


def test_its_instants_keep_to_the_order_of_the_timeline(scene: Scene) -> None:
    grip = scene.started("a")
    finish(scene.ledger, grip, seen("early", 9999), seen("right", 0), seen("late", -9999))
    at = {entry.event: entry.at for entry in scene.ledger.jobs.view(scene.uid, "a").timeline}
    assert at["starting"] == at["early"]
    assert at["early"] <= at["right"] <= at["late"] <= at["succeeded"]
    assert datetime.now(UTC) - at["early"] < timedelta(seconds=60)


def test_who_was_replaced_tells_nothing_that_it_saw(scene: Scene) -> None:
    old = scene.started("a")
    scene.lapse("a")
    scene.grip("a")
    before = scene.events("a")
    with pytest.raises(Stale):
        finish(scene.ledger, old, seen("exited", 0))
    assert scene.events("a") == before
