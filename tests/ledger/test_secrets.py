"""Secrets in the ledger: sealed, named once, deleted only where nobody needs them."""

import json
from itertools import takewhile
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet

from app.domain.deployment import Deployment
from app.domain.errors import Conflict, NotFound
from app.ledger import Ledger, secrets
from app.ledger.sealing import CantOpen, NoKey
from app.ledger.secrets import Kind
from tests.api.faces import deployment
from tests.api.server import SECRETS_KEY
from tests.ledger.scene import Scene

ENV = [{"name": "A", "type": "secret", "value_or_reference_to_secret": "s"}]
MOUNTS = [{"type": "secret", "mount_path": "/s", "secret_name": "s"}]
USES = {
    Kind.SECRET: {"env": ENV},
    Kind.FILE_SECRET: {"volume_mounts": MOUNTS},
    Kind.CREDENTIALS: {},
}


def keep(ledger: Ledger, kind: Kind = Kind.SECRET, name: str = "s", value: Any = "hush") -> None:
    ledger.secrets.create(kind, name, value, {})


def spec(kind: Kind, name: str = "hello", **changes: Any) -> Deployment:
    """A deployment that refers to `s`, as such a kind."""
    container = deployment()["containers"][0] | USES[kind]
    if kind is Kind.CREDENTIALS:
        settings = {"is_private": True, "credentials": {"name": "s"}}
        changes["container_registry_settings"] = settings
    return Deployment.model_validate(deployment(name, containers=[container], **changes))


def stored(client: redis.Redis) -> bytes:
    """All that Redis has, in one text."""
    everything: list[Any] = [client.hgetall(key) for key in client.keys("onejob:secrets:*")]
    return repr(everything).encode()


@pytest.mark.parametrize("kind", Kind)
def test_a_value_comes_back_and_is_not_in_redis(
    ledger: Ledger, redis_client: redis.Redis, kind: Kind
) -> None:
    made = ledger.secrets.create(kind, "s", {"a": "hush"}, {"secret_type": "x"})
    assert ledger.secrets.list(kind) == [made]
    assert (made.name, made.facts) == ("s", {"secret_type": "x"})
    assert ledger.secrets.open(kind, "s").value == {"a": "hush"}
    assert ledger.secrets.names()[kind] == {"s"}
    assert b"hush" not in stored(redis_client)
    assert b"gAAAA" in stored(redis_client)  # as such tokens begin


def test_what_was_opened_does_not_show_its_value(ledger: Ledger) -> None:
    keep(ledger)
    assert "hush" not in repr(ledger.secrets.open(Kind.SECRET, "s"))


def test_each_kind_has_its_own_names_and_each_name_is_taken_once(ledger: Ledger) -> None:
    for kind in Kind:
        keep(ledger, kind)
        with pytest.raises(Conflict, match="exists already"):
            keep(ledger, kind, value="other")
        assert ledger.secrets.open(kind, "s").value == "hush"


def test_a_script_that_is_sent_twice_stores_once(stuttering: Ledger) -> None:
    keep(stuttering)
    assert len(stuttering.secrets.list(Kind.SECRET)) == 1
    assert stuttering.secrets.rotate() == 1
    assert stuttering.secrets.open(Kind.SECRET, "s").value == "hush"


def test_there_are_only_so_many(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "LIMIT", 1)
    keep(ledger)
    with pytest.raises(Conflict, match="delete those that nobody needs"):
        keep(ledger, name="t")
    keep(ledger, Kind.FILE_SECRET)


def test_another_secret_under_the_same_name_has_another_id(ledger: Ledger) -> None:
    keep(ledger)
    before = ledger.secrets.open(Kind.SECRET, "s").id
    assert ledger.secrets.open(Kind.SECRET, "s").id == before
    ledger.secrets.delete(Kind.SECRET, "s", force=False)
    keep(ledger)
    assert ledger.secrets.open(Kind.SECRET, "s").id != before


# -- deletion --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_what_a_deployment_refers_to_goes_by_force_alone(ledger: Ledger, kind: Kind) -> None:
    keep(ledger, kind)
    ledger.deployments.create(spec(kind), "me")
    with pytest.raises(Conflict, match="used by hello"):
        ledger.secrets.delete(kind, "s", force=False)
    assert ledger.secrets.names()[kind] == {"s"}
    ledger.secrets.delete(kind, "s", force=True)
    with pytest.raises(NotFound):
        ledger.secrets.open(kind, "s")


@pytest.mark.parametrize("kind", Kind)
def test_another_kind_of_the_same_name_is_no_use_of_it(ledger: Ledger, kind: Kind) -> None:
    for other in set(Kind) - {kind}:
        ledger.deployments.create(spec(other, f"uses-{other.name.lower().replace('_', '-')}"), "me")
    keep(ledger, kind)
    ledger.secrets.delete(kind, "s", force=False)


def test_a_plain_value_of_the_same_text_is_no_use_of_it(ledger: Ledger) -> None:
    keep(ledger)
    env = [{"name": "A", "type": "plain", "value_or_reference_to_secret": "s"}]
    container = deployment()["containers"][0] | {"env": env}
    ledger.deployments.create(Deployment.model_validate(deployment(containers=[container])), "me")
    ledger.secrets.delete(Kind.SECRET, "s", force=False)


def test_a_deployment_that_is_being_deleted_or_was_changed_needs_it_no_more(
    ledger: Ledger,
) -> None:
    keep(ledger)
    ledger.deployments.create(spec(Kind.SECRET, "gone"), "me")
    base = ledger.deployments.create(spec(Kind.SECRET, "changed"), "me")
    with pytest.raises(Conflict, match="changed, gone"):
        ledger.secrets.delete(Kind.SECRET, "s", force=False)
    ledger.deployments.terminate("gone")
    ledger.deployments.change(base, Deployment.model_validate(deployment("changed")))
    ledger.secrets.delete(Kind.SECRET, "s", force=False)


@pytest.mark.parametrize("kind", Kind)
def test_an_earlier_version_that_a_job_runs_with_needs_it_still(ledger: Ledger, kind: Kind) -> None:
    keep(ledger, kind)
    scene = Scene(ledger)
    base = ledger.deployments.create(spec(kind), "me")
    scene.deployment, scene.uid = base, base.uid
    grip = scene.started("runs")
    ledger.deployments.change(base, Deployment.model_validate(deployment("hello")))
    with pytest.raises(Conflict, match="used by hello"):
        ledger.secrets.delete(kind, "s", force=False)
    scene.finish(grip)
    ledger.attempts.release(grip)
    ledger.secrets.delete(kind, "s", force=False)


def test_redis_serves_others_while_all_deployments_are_looked_at(
    ledger: Ledger, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "PAGE", 4)
    keep(ledger)
    for number in range(10):
        ledger.deployments.create(spec(Kind.SECRET, f"d{number}"), "me")
    with redis_client.monitor() as monitor:
        with pytest.raises(Conflict, match="used by d0, d1, d2, d3, d4, d5, d6, d7, d8, d9;"):
            ledger.secrets.delete(Kind.SECRET, "s", force=False)
        redis_client.echo("seen")
        commands = list(takewhile(lambda one: one["command"] != "ECHO seen", monitor.listen()))
    assert len(commands) > 10
    assert [one for one in commands if one["client_type"] == "lua"] == []


def test_what_is_not_there_can_not_be_deleted(ledger: Ledger) -> None:
    for force in (False, True):
        with pytest.raises(NotFound, match="no secret 's'"):
            ledger.secrets.delete(Kind.SECRET, "s", force)


# -- keys ------------------------------------------------------------------------------------------


def with_key(client: redis.Redis, keys: str | None) -> Ledger:
    return Ledger(client, secrets_key=keys)


def test_without_a_key_all_goes_but_writing_and_reading(
    ledger: Ledger, redis_client: redis.Redis
) -> None:
    keep(ledger)
    without = with_key(redis_client, None)
    with pytest.raises(Conflict, match="ONEJOB_SECRETS_KEY"):
        keep(without, name="t")
    with pytest.raises(NoKey, match="ONEJOB_SECRETS_KEY"):
        without.secrets.open(Kind.SECRET, "s")
    assert without.secrets.names()[Kind.SECRET] == {"s"}
    without.secrets.delete(Kind.SECRET, "s", force=False)


def test_another_key_does_not_open_it(ledger: Ledger, redis_client: redis.Redis) -> None:
    keep(ledger)
    other = with_key(redis_client, Fernet.generate_key().decode())
    for call in (lambda: other.secrets.open(Kind.SECRET, "s"), other.secrets.rotate):
        with pytest.raises(CantOpen, match="secret 's' can't be read") as error:
            call()
        assert "gAAAA" not in str(error.value)


def test_after_a_rotation_the_old_key_is_not_needed(
    ledger: Ledger, redis_client: redis.Redis
) -> None:
    for kind in Kind:
        keep(ledger, kind)
    new = Fernet.generate_key().decode()
    both = with_key(redis_client, f"{new}, {SECRETS_KEY}")
    assert both.secrets.open(Kind.SECRET, "s").value == "hush"
    before = ledger.secrets.list(Kind.SECRET)
    assert both.secrets.rotate() == len(Kind)
    alone = with_key(redis_client, new)
    assert {alone.secrets.open(kind, "s").value for kind in Kind} == {"hush"}
    assert alone.secrets.list(Kind.SECRET) == before
    with pytest.raises(CantOpen):
        ledger.secrets.open(Kind.SECRET, "s")


def test_what_is_deleted_while_it_is_sealed_anew_stays_deleted(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(ledger)
    reseal = ledger.secrets._sealer.reseal

    def deleted_meanwhile(kind: str, name: str, sealed: str) -> str:
        ledger.secrets.delete(Kind.SECRET, "s", force=False)
        return reseal(kind, name, sealed)

    monkeypatch.setattr(ledger.secrets._sealer, "reseal", deleted_meanwhile)
    ledger.secrets.rotate()
    assert ledger.secrets.list(Kind.SECRET) == []


@pytest.mark.parametrize("where", [(Kind.SECRET, "t"), (Kind.FILE_SECRET, "s")])
def test_what_was_sealed_for_one_place_does_not_open_in_another(
    ledger: Ledger, redis_client: redis.Redis, where: tuple[Kind, str]
) -> None:
    """Who can write into Redis can't give a deployment the secret of another one."""
    keep(ledger)
    kind, name = where
    keep(ledger, kind, name, "other")
    entries = [f"onejob:secrets:{Kind.SECRET}", f"onejob:secrets:{kind}"]
    sealed = json.loads(redis_client.hget(entries[0], "s"))["sealed"]  # type: ignore[arg-type]
    entry = json.loads(redis_client.hget(entries[1], name))  # type: ignore[arg-type]
    redis_client.hset(entries[1], name, json.dumps(entry | {"sealed": sealed}))
    with pytest.raises(CantOpen):
        ledger.secrets.open(kind, name)
