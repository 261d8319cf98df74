"""Inference keys, and the one call that says who asks and for what."""

import hmac
import json

import pytest
import redis

from app.ledger import Ledger, inference_keys
from tests.ledger.scene import Scene
from tests.redis_server import RedisServer

MALFORMED = ["", ".", "..", "x", ".x", "x.", "\0.\0", "ä.ö", "\udcff.\udcfe", "a" * 10_000]


def test_a_key_is_known_by_its_name(ledger: Ledger) -> None:
    _, key = ledger.keys.create("ci")
    assert ledger.keys.verify(key) == "ci"


def test_keys_are_random(ledger: Ledger) -> None:
    made = [ledger.keys.create("ci") for _ in range(50)]
    assert len({key_id for key_id, _ in made}) == 50
    secrets = {key.partition(".")[2] for _, key in made}
    assert len(secrets) == 50
    assert min(map(len, secrets)) >= 43  # 256 bits
    assert all(key.startswith(f"{key_id}.") for key_id, key in made)


def test_only_a_hash_is_stored(ledger: Ledger) -> None:
    key_id, key = ledger.keys.create("ci")
    stored = ledger.client.hgetall("onejob:inference_keys")
    assert set(stored) == {key_id.encode()}
    entry = json.loads(stored[key_id.encode()])
    assert set(entry) == {"name", "sha256", "created_at"}
    assert key.partition(".")[2] not in stored[key_id.encode()].decode()


@pytest.mark.parametrize("presented", MALFORMED)
def test_what_is_no_key_is_refused(ledger: Ledger, presented: str) -> None:
    ledger.keys.create("ci")
    assert ledger.keys.verify(presented) is None
    assert ledger.keys.access("dep", presented).key_name is None


def test_a_secret_opens_with_its_own_id_alone(ledger: Ledger) -> None:
    (one, key), (other, _) = ledger.keys.create("one"), ledger.keys.create("other")
    secret = key.partition(".")[2]
    wrong = [f"{other}.{secret}", f"{one}.{secret}x", f"{one}.{secret[:-1]}", f"{one}.", secret]
    assert [ledger.keys.verify(presented) for presented in wrong] == [None] * 5


@pytest.mark.parametrize("known", [True, False])
def test_the_hash_is_compared_in_constant_time_whether_the_id_is_known_or_not(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    key_id, _ = ledger.keys.create("ci")
    compared, original = [], hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append(other)
        return original(one, other)

    monkeypatch.setattr(inference_keys.hmac, "compare_digest", compare)
    assert ledger.keys.verify(f"{key_id if known else 'other'}.x") is None
    assert len(compared) == 1
    assert len(compared[0]) == 64


def test_access_names_the_key_and_brings_the_deployment(scene: Scene) -> None:
    _, key = scene.ledger.keys.create("ci")
    found = scene.ledger.keys.access("dep", key)
    assert found.key_name == "ci"
    assert found.deployment == scene.deployment == scene.ledger.deployments.get("dep")


def test_access_tells_a_missing_key_from_a_missing_deployment(scene: Scene) -> None:
    _, key = scene.ledger.keys.create("ci")
    access = scene.ledger.keys.access
    assert (access("other", key).key_name, access("other", key).deployment) == ("ci", None)
    assert access("dep", "no.key").key_name is None
    assert access("dep", "no.key").deployment == scene.deployment


def test_access_is_one_round_trip_and_sees_every_change_at_once(
    scene: Scene, redis_server: RedisServer
) -> None:
    _, key = scene.ledger.keys.create("ci")

    class Counting(redis.Redis):
        calls = 0

        def execute_command(self, *args: object, **options: object) -> object:
            Counting.calls += 1
            return super().execute_command(*args, **options)

    ledger = Ledger(Counting(port=redis_server.port))
    ledger.keys.access("dep", key)
    Counting.calls = 0
    assert ledger.keys.access("dep", key).deployment == scene.deployment
    assert Counting.calls == 1
    scene.ledger.deployments.terminate("dep")
    found = ledger.keys.access("dep", key).deployment
    assert found is not None
    assert found.state == "terminating"
