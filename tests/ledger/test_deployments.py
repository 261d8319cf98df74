"""Deployments: made, found, listed."""

import pytest
import redis

from app.domain.errors import Conflict, NotFound
from app.ledger import Ledger
from app.ledger.deployments import DeploymentRecord
from tests.ledger.scene import Scene, spec
from tests.redis_server import RedisServer


def test_a_deployment_comes_back_as_it_was_made(ledger: Ledger) -> None:
    made = ledger.deployments.create(spec("dep", cap=3, ttl=7), "someone")
    assert (made.name, made.state, made.version) == ("dep", "running", 1)
    assert (made.spec, made.created_by) == (spec("dep", cap=3, ttl=7), "someone")
    assert ledger.deployments.get("dep") == made
    assert ledger.deployments.spec(made.uid, 1) == made.spec


def test_a_name_is_given_once(ledger: Ledger) -> None:
    made = ledger.deployments.create(spec(cap=1), "me")
    with pytest.raises(Conflict, match="'dep' exists already"):
        ledger.deployments.create(spec(cap=2), "you")
    assert ledger.deployments.get("dep") == made


def test_making_one_is_repeated_by_a_stuttering_client_without_harm(stuttering: Ledger) -> None:
    made = stuttering.deployments.create(spec(), "me")
    assert stuttering.deployments.list() == [made]


def test_what_is_not_there_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound, match="'other'"):
        scene.ledger.deployments.get("other")
    with pytest.raises(NotFound, match="'other'"):
        scene.ledger.deployments.terminate("other")
    with pytest.raises(NotFound):
        scene.ledger.deployments.spec(scene.uid, 2)


def test_the_current_version_of_the_spec_is_shown(scene: Scene) -> None:
    newer = spec(cap=9)
    scene.redis.hset(f"onejob:deployment:{scene.uid}:specs", "2", newer.model_dump_json())
    scene.change(version=2)
    record = scene.ledger.deployments.get("dep")
    assert (record.version, record.spec) == (2, newer)
    assert scene.ledger.deployments.spec(scene.uid, 1) == spec()


def test_the_list_is_in_the_order_of_creation_and_costs_one_round_trip(
    ledger: Ledger, redis_server: RedisServer
) -> None:
    made = [ledger.deployments.create(spec(name), "me") for name in ("c", "a", "b")]
    ledger.client.hset("onejob:deployments", "half", "nobody")
    seen: list[object] = []

    class Noting(redis.Redis):
        def execute_command(self, *args: object, **options: object) -> object:
            seen.append(args[0])
            return super().execute_command(*args, **options)

    other = Ledger(Noting(port=redis_server.port))
    other.deployments.list()
    seen.clear()
    listed: list[DeploymentRecord] = other.deployments.list()
    assert listed == made
    assert len(seen) == 1


def test_terminating_shows_in_record_and_set(scene: Scene) -> None:
    assert scene.ledger.deployments.terminating() == []
    for _ in range(2):
        assert scene.ledger.deployments.terminate("dep").state == "terminating"
    assert scene.ledger.deployments.terminating() == [scene.uid]
    assert scene.ledger.deployments.get("dep").state == "terminating"
