"""What happens to a queue between two steps of its purge."""

from typing import Any

import pytest

from app.domain.job import Reason, State
from app.ledger import Ledger
from tests.ledger.scene import Scene, check_places


def between_steps(ledger: Ledger, happens: list[Any]) -> None:
    """Does one thing after each step of a purge."""
    jobs, verbs = ledger.jobs, ledger.jobs._verbs

    def stepwise(verb: str, *args: Any) -> Any:
        answer = verbs(verb, *args)
        if verb == "purge" and happens:
            happens.pop(0)()
        return answer

    jobs._verbs = stepwise  # type: ignore[assignment]


def test_a_job_that_is_refused_at_its_claim_meanwhile_is_purged_too(scene: Scene) -> None:
    scene.submit("a")
    scene.ledger.deployments.pause(scene.uid)
    between_steps(scene.ledger, [lambda: scene.claim("a")])
    scene.ledger.jobs.purge(scene.uid)
    assert scene.job("a").reason is Reason.PURGED
    check_places(scene)


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_what_is_accepted_meanwhile_is_not_meant(ledger: Ledger, limit: int) -> None:
    scene = Scene(ledger, cap=2)
    for name in "abcd":
        scene.submit(name)
    between_steps(ledger, [lambda: scene.submit("new1"), lambda: scene.submit("new2")])
    ledger.jobs.purge(scene.uid, limit)
    assert {scene.job(name).reason for name in "abcd"} == {Reason.PURGED}
    assert {scene.state("new1"), scene.state("new2")} == {State.DISPATCHED}
    check_places(scene)


def test_a_job_that_got_its_slot_meanwhile_is_purged_too(scene: Scene) -> None:
    scene.started("running")
    for name in "abc":
        scene.submit(name)
    scene.change(max_replica_count=2)
    between_steps(scene.ledger, [lambda: scene.ledger.jobs.admit(scene.uid)])
    scene.ledger.jobs.purge(scene.uid, limit=1)
    assert {scene.job(name).reason for name in "abc"} == {Reason.PURGED}
    assert scene.state("running") is State.STARTING
    check_places(scene)
