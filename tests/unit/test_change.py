"""A change laid over a deployment: what is not sent stays, objects merge, lists replace."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.change import merged, names_in
from app.domain.deployment import Deployment
from app.domain.members import Names
from tests.unit.test_deployment import DEPLOYMENTS, spec, wire_form

VALID = DEPLOYMENTS.map(Deployment.model_validate)
NOTHING = st.sampled_from(
    [
        {},
        {"name": None, "containers": None, "scaling": None, "compute": None},
        {"containers": [{}]},
        {"containers": [{"image": None, "env": None, "healthcheck": {"port": None}}]},
        {"containers": [{"image": {"image": None, "last_updated_at": "2026-01-01"}}]},
        {"scaling": {}, "compute": {"size": None}, "container_registry_settings": {}},
        {"more": {"scaling": 1}, "created_at": "x", "is_spot": True},
    ]
)


def changed(deployment: Deployment, sent: dict[str, Any]) -> Deployment:
    """The deployment after a change; no names are known but those that it has."""
    return Deployment.model_validate(merged(deployment, sent), context=names_in(deployment))


def one(**changes: Any) -> Deployment:
    """A deployment with something in each place."""
    container = {
        "image": "a:1",
        "exposed_port": 8000,
        "healthcheck": {"port": 9000, "path": "/up"},
        "entrypoint_overrides": {"enabled": True, "entrypoint": ["/a"], "cmd": ["b", "c"]},
        "env": [{"name": "A", "value_or_reference_to_secret": "1"}],
        "volume_mounts": [{"type": "scratch", "mount_path": "/x"}],
    }
    more = {
        "startup_seconds": 5,
        "retry_policy": {"max_attempts": 2, "on": ["node_lost"]},
        "container_registry_settings": {"is_private": True, "credentials": {"name": "c"}},
    }
    return Deployment.model_validate(spec(containers=[container], **more) | changes)


@given(VALID)
def test_what_was_read_can_be_sent_back_and_changes_nothing(deployment: Deployment) -> None:
    assert changed(deployment, wire_form(deployment)) == deployment


@given(VALID, NOTHING)
def test_what_is_not_given_changes_nothing(deployment: Deployment, nothing: dict[str, Any]) -> None:
    assert changed(deployment, nothing) == deployment


@given(VALID, VALID)
def test_a_whole_deployment_replaces_all_that_it_gives(before: Deployment, to: Deployment) -> None:
    after = Deployment.model_validate(merged(before, wire_form(to)))
    assert after.name == before.name
    assert (after.containers, after.compute, after.scaling) == (
        to.containers,
        to.compute,
        to.scaling,
    )
    assert after.startup_seconds == (to.startup_seconds or before.startup_seconds)


def test_objects_merge() -> None:
    sent = {
        "containers": [{"healthcheck": {"path": "/b"}, "entrypoint_overrides": {"cmd": ["d"]}}],
        "scaling": {"max_replica_count": 9},
        "retry_policy": {"max_attempts": 3},
        "container_registry_settings": {"is_private": False},
    }
    after = changed(one(), sent)
    (container,) = after.containers
    assert (container.healthcheck.port, container.healthcheck.path) == (9000, "/b")
    assert container.entrypoint_overrides.entrypoint == ("/a",)
    assert container.entrypoint_overrides.cmd == ("d",)
    assert (after.scaling.max_replica_count, after.scaling.deadline_seconds) == (9, 1)
    assert after.retry_policy is not None
    assert (after.retry_policy.max_attempts, after.retry_policy.on) == (3, ("node_lost",))
    assert after.container_registry_settings.credentials is not None
    assert after.container_registry_settings.is_private is False


def test_lists_replace() -> None:
    env = [{"name": "B", "value_or_reference_to_secret": "2"}]
    (container,) = changed(one(), {"containers": [{"env": env, "volume_mounts": []}]}).containers
    assert [variable.name for variable in container.env] == ["B"]
    assert container.volume_mounts == ()


def test_a_health_check_on_the_exposed_port_follows_it() -> None:
    sent = {"containers": [{"exposed_port": 81}]}
    followed = changed(Deployment.model_validate(spec()), sent).containers[0]
    assert (followed.exposed_port, followed.healthcheck.port) == (81, None)
    (apart,) = changed(one(), sent).containers
    assert (apart.exposed_port, apart.healthcheck.port) == (81, 9000)


def test_it_refers_to_what_it_says() -> None:
    container = {
        "image": "a:1",
        "exposed_port": 1,
        "env": [
            {"name": "A", "value_or_reference_to_secret": "s", "type": "secret"},
            {"name": "B", "value_or_reference_to_secret": "plain"},
        ],
        "volume_mounts": [
            {"type": "secret", "mount_path": "/s", "secret_name": "f"},
            {"type": "shared", "mount_path": "/v", "volume_id": "v"},
            {"type": "memory"},
        ],
    }
    assert names_in(one(containers=[container])) == Names(
        compute=frozenset({"cpu"}),
        secrets=frozenset({"s"}),
        file_secrets=frozenset({"f"}),
        volumes=frozenset({"v"}),
        credentials=frozenset({"c"}),
    )
