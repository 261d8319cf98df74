"""What happens to an attempt before it is started goes into the timeline, once."""

import pytest

from app.domain.job import Reason
from app.ledger import Ledger
from app.ledger.attempts import Stale
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
