"""Guesses: what a process remembers of keys and deployments, and the script that compares."""

import dataclasses

import pytest

from app.ledger import guesses
from app.ledger.guesses import Guess, Outdated
from app.ledger.jobs import Accepted
from app.ledger.payloads import Upload
from tests.ledger.scene import Scene, ids, submission


@pytest.fixture
def key(scene: Scene) -> str:
    """A key that was used for the deployment."""
    _, key = scene.ledger.keys.create("ci")
    assert scene.ledger.keys.access("dep", key).key_name == "ci"
    return key


@pytest.fixture
def guess(scene: Scene, key: str) -> Guess:
    """What is taken for granted after that."""
    found = scene.ledger.keys.guess("dep", key)
    assert found is not None
    return found


def upload(scene: Scene) -> Upload:
    """A small request."""
    made = scene.ledger.payloads.upload(b"head")
    made.write(b"body")
    return made


def accept(scene: Scene, guess: Guess, parcel: Upload | None = None) -> Accepted:
    """Accepts job `a` on a guess."""
    parcel = parcel or upload(scene)
    return scene.ledger.jobs.accept(guess.deployment, "a", submission(), parcel, guess)


def revoke(scene: Scene, guess: Guess) -> None:
    """Makes the key no key."""
    scene.redis.hdel("onejob:inference_keys", guess.key_id)


def test_a_guess_that_is_true_is_a_job(scene: Scene, guess: Guess) -> None:
    assert guess.deployment == scene.deployment
    assert ids(accept(scene, guess).hints) == ["a"]
    assert accept(scene, guess).repeated


def test_nothing_is_guessed_that_was_not_seen(scene: Scene, key: str) -> None:
    _, unused = scene.ledger.keys.create("unused")
    scene.ledger.keys.access("other", key)
    guess = scene.ledger.keys.guess
    assert guess("dep", unused) is None
    assert guess("other", key) is None
    assert guess("dep", key + "x") is None
    assert guess("dep", key.partition(".")[0]) is None
    assert guess("dep", ".") is None


def test_a_wrong_secret_is_not_remembered(scene: Scene) -> None:
    key_id, _ = scene.ledger.keys.create("ci")
    scene.ledger.keys.access("dep", f"{key_id}.x")
    assert scene.ledger.keys.guess("dep", f"{key_id}.x") is None


def test_a_deployment_that_was_not_found_is_forgotten(scene: Scene, key: str, guess: Guess) -> None:
    scene.ledger.deployments.terminate("dep")
    assert scene.ledger.deployments.shrink(scene.uid) == "gone"
    scene.ledger.keys.access("dep", key)
    assert scene.ledger.keys.guess("dep", key) is None


def test_a_revoked_key_makes_nothing(scene: Scene, guess: Guess) -> None:
    revoke(scene, guess)
    before = set(scene.redis.keys("*"))
    with pytest.raises(Outdated):
        accept(scene, guess)
    assert set(scene.redis.keys("*")) == before


def test_a_changed_deployment_makes_nothing(scene: Scene, guess: Guess) -> None:
    scene.change(version=2)
    before = set(scene.redis.keys("*"))
    with pytest.raises(Outdated):
        accept(scene, guess)
    assert set(scene.redis.keys("*")) == before


def test_a_deployment_that_is_gone_is_looked_for_again(scene: Scene, guess: Guess) -> None:
    other = dataclasses.replace(guess.deployment, uid="another")
    with pytest.raises(Outdated):
        accept(scene, dataclasses.replace(guess, deployment=other))


def test_what_a_wrong_guess_was_made_with_can_be_accepted(scene: Scene, guess: Guess) -> None:
    parcel = upload(scene)
    revoke(scene, guess)
    with pytest.raises(Outdated):
        accept(scene, guess, parcel)
    scene.ledger.jobs.accept(scene.deployment, "a", submission(), parcel)
    _, body = scene.ledger.payloads.read(scene.job("a").payload)
    assert b"".join(body) == b"body"


def test_a_call_repeated_after_its_key_was_revoked_is_still_accepted(
    scene: Scene, guess: Guess
) -> None:
    parcel = upload(scene)
    accept(scene, guess, parcel)
    revoke(scene, guess)
    assert ids(accept(scene, guess, parcel).hints) == ["a"]
    with pytest.raises(Outdated):  # a repeat by the client is a request like any other
        accept(scene, guess)


def test_no_more_is_remembered_than_has_room(
    scene: Scene, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guesses, "LIMIT", 2)
    for name in ("one", "two", "three"):
        Scene(scene.ledger, name)
        scene.ledger.keys.access(name, key)
    known = [n for n in ("dep", "one", "two", "three") if scene.ledger.keys.guess(n, key)]
    assert "three" in known
    assert len(known) <= 2
