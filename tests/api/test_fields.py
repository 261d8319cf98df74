"""Every field of a deployment: what is refused, by which name, and what is allowed."""

import json

import pytest

from tests.api.changes import Change, container, env, mount, refused, scaling
from tests.api.faces import Faces, deployment

TABLE: list[tuple[Change, str, str]] = [
    ({"name": None}, "name", "missing"),
    ({"name": ""}, "name", "must match"),
    ({"name": "x" * 64}, "name", "at most 63 characters"),
    ({"name": "Hello"}, "name", "must match"),
    ({"name": "-a"}, "name", "must match"),
    ({"name": "a-"}, "name", "must match"),
    ({"name": "a_b"}, "name", "must match"),
    ({"name": "a\n"}, "name", "must match"),
    ({"name": "ä"}, "name", "must match"),
    ({"name": 1}, "name", "a string"),
    ({"name": ["a"]}, "name", "a string"),
    ({"name": "status"}, "name", "must not be one of"),
    ({"containers": None}, "containers", "missing"),
    ({"containers": []}, "containers", "exactly one"),
    ({"containers": [{}, {}]}, "containers", "exactly one"),
    ({"containers": {}}, "containers", "a list"),
    ({"containers": "x"}, "containers", "a list"),
    ({"containers": [None]}, "containers[0]", "an object"),
    ({"containers": [[]]}, "containers[0]", "an object"),
    (container(image=None), "containers[0].image", "missing"),
    (container(image=1), "containers[0].image", "a string"),
    (container(image={}), "containers[0].image", "a string"),
    (container(image=[]), "containers[0].image", "a string"),
    (container(image="example/hello"), "containers[0].image", "a version"),
    (container(image="example/hello:latest"), "containers[0].image", "a version"),
    (container(image={"image": "hello:latest"}), "containers[0].image", "a version"),
    (container(image="Hello:1"), "containers[0].image", "image reference"),
    (container(exposed_port=None), "containers[0].exposed_port", "missing"),
    (container(exposed_port=0), "containers[0].exposed_port", "at least 1"),
    (container(exposed_port=65536), "containers[0].exposed_port", "at most 65535"),
    (container(exposed_port=-(10**4000)), "containers[0].exposed_port", "at least 1"),
    (container(exposed_port="80"), "containers[0].exposed_port", "whole number"),
    (container(exposed_port=80.5), "containers[0].exposed_port", "whole number"),
    (container(exposed_port=True), "containers[0].exposed_port", "whole number"),
    (container(should_use_cached_image=1), "containers[0].should_use_cached_image", "true or"),
    (container(should_use_cached_image="true"), "containers[0].should_use_cached_image", "true or"),
    (container(healthcheck=[]), "containers[0].healthcheck", "an object"),
    (container(healthcheck={"enabled": 1}), "containers[0].healthcheck.enabled", "true or"),
    (container(healthcheck={"port": 0}), "containers[0].healthcheck.port", "at least 1"),
    (container(healthcheck={"path": ""}), "containers[0].healthcheck.path", "must match"),
    (container(healthcheck={"path": "up"}), "containers[0].healthcheck.path", "must match"),
    (container(healthcheck={"path": "/a b"}), "containers[0].healthcheck.path", "must match"),
    (
        container(healthcheck={"path": "/\r\nHost: x"}),
        "containers[0].healthcheck.path",
        "must match",
    ),
    (container(healthcheck={"path": "/ä"}), "containers[0].healthcheck.path", "must match"),
    (container(healthcheck={"path": "/" * 2001}), "containers[0].healthcheck.path", "at most 2000"),
    (
        container(entrypoint_overrides={"enabled": "yes"}),
        "containers[0].entrypoint_overrides.enabled",
        "true or",
    ),
    (
        container(entrypoint_overrides={"entrypoint": "/bin/sh"}),
        "containers[0].entrypoint_overrides.entrypoint",
        "a list",
    ),
    (
        container(entrypoint_overrides={"cmd": [1]}),
        "containers[0].entrypoint_overrides.cmd[0]",
        "a string",
    ),
    (
        container(entrypoint_overrides={"cmd": ["a\0b"]}),
        "containers[0].entrypoint_overrides",
        "NUL",
    ),
    (
        container(entrypoint_overrides={"cmd": ["x" * 140_000]}),
        "containers[0].entrypoint_overrides",
        "131072",
    ),
    (container(env={}), "containers[0].env", "a list"),
    (container(env=["A=b"]), "containers[0].env[0]", "an object"),
    (container(env=[{}]), "containers[0].env[0].name", "missing"),
    (env(name=""), "containers[0].env[0].name", "must match"),
    (env(name="A=B"), "containers[0].env[0].name", "must match"),
    (env(name="A\0"), "containers[0].env[0].name", "must match"),
    (env(name="x" * 257), "containers[0].env[0].name", "at most 256"),
    (
        env(value_or_reference_to_secret=None),
        "containers[0].env[0].value_or_reference_to_secret",
        "missing",
    ),
    (
        env(value_or_reference_to_secret=1),
        "containers[0].env[0].value_or_reference_to_secret",
        "a string",
    ),
    (
        env(value_or_reference_to_secret="x" * 65537),
        "containers[0].env[0].value_or_reference_to_secret",
        "at most 65536",
    ),
    (env(type="file"), "containers[0].env[0].type", "'plain' or 'secret'"),
    (
        env(type="secret"),
        "containers[0].env[0].value_or_reference_to_secret",
        "there is no secret",
    ),
    (container(volume_mounts={}), "containers[0].volume_mounts", "a list"),
    (mount(mount_path="/a"), "containers[0].volume_mounts[0]", "must have a type"),
    (mount(type=None), "containers[0].volume_mounts[0]", "one of these types"),
    (mount(type="disk"), "containers[0].volume_mounts[0]", "one of these types"),
    (mount(type=["scratch"]), "containers[0].volume_mounts[0]", "one of these types"),
    (mount(type="scratch"), "containers[0].volume_mounts[0].mount_path", "missing"),
    (
        mount(type="scratch", mount_path="a"),
        "containers[0].volume_mounts[0].mount_path",
        "must match",
    ),
    (
        mount(type="scratch", mount_path="/a:ro"),
        "containers[0].volume_mounts[0].mount_path",
        "must match",
    ),
    (
        mount(type="scratch", mount_path="/a/../.onejob"),
        "containers[0].volume_mounts[0].mount_path",
        "must be a path",
    ),
    (
        mount(type="scratch", mount_path="/./.onejob"),
        "containers[0].volume_mounts[0].mount_path",
        "must be a path",
    ),
    (
        mount(type="scratch", mount_path="//.onejob"),
        "containers[0].volume_mounts[0].mount_path",
        "must be a path",
    ),
    (mount(type="scratch", mount_path="/"), "containers[0].volume_mounts", "neither"),
    (mount(type="scratch", mount_path="/.onejob"), "containers[0].volume_mounts", "neither"),
    (mount(type="scratch", mount_path="/.onejob/x"), "containers[0].volume_mounts", "neither"),
    (
        container(volume_mounts=[{"type": "scratch", "mount_path": p} for p in ("/a", "/a/")]),
        "containers[0].volume_mounts",
        "one mount for each",
    ),
    (
        mount(type="memory", size_in_mb=100),
        "containers[0].volume_mounts[0].size_in_mb",
        "64, 128, 256",
    ),
    (
        mount(type="memory", mount_path="/shm"),
        "containers[0].volume_mounts[0].mount_path",
        "'/dev/shm'",
    ),
    (
        mount(type="secret", mount_path="/s"),
        "containers[0].volume_mounts[0].secret_name",
        "missing",
    ),
    (
        mount(type="secret", mount_path="/s", secret_name="s"),
        "containers[0].volume_mounts[0].secret_name",
        "there is no file-secret",
    ),
    (
        mount(type="shared", mount_path="/s", volume_id="v"),
        "containers[0].volume_mounts[0].volume_id",
        "must be one of datasets",
    ),
    (
        mount(type="shared", mount_path="/s", volumeId="v"),
        "containers[0].volume_mounts[0].volume_id",
        "must be one of datasets",
    ),
    ({"compute": None}, "compute", "missing"),
    ({"compute": "cpu"}, "compute", "an object"),
    ({"compute": {}}, "compute.name", "missing"),
    ({"compute": {"name": "gpu"}}, "compute.name", "must be one of cpu"),
    ({"compute": {"name": ""}}, "compute.name", "at least 1 characters"),
    ({"compute": {"name": "x" * 65}}, "compute.name", "at most 64 characters"),
    ({"compute": {"name": "cpu", "size": 0}}, "compute.size", "at least 1"),
    ({"compute": {"name": "cpu", "size": 1025}}, "compute.size", "at most 1024"),
    (
        {"container_registry_settings": {"is_private": "no"}},
        "container_registry_settings.is_private",
        "true or",
    ),
    (
        {"container_registry_settings": {"credentials": {"name": "c"}}},
        "container_registry_settings.credentials.name",
        "there is no registry credential",
    ),
    ({"scaling": None}, "scaling", "missing"),
    ({"scaling": []}, "scaling", "an object"),
    (scaling(max_replica_count=None), "scaling.max_replica_count", "missing"),
    (scaling(max_replica_count=0), "scaling.max_replica_count", "at least 1"),
    (scaling(max_replica_count=1_000_001), "scaling.max_replica_count", "at most 1000000"),
    (scaling(queue_message_ttl_seconds=0), "scaling.queue_message_ttl_seconds", "at least 1"),
    (scaling(queue_message_ttl_seconds=1e9), "scaling.queue_message_ttl_seconds", "at most"),
    (scaling(queue_message_ttl_seconds=10**10), "scaling.queue_message_ttl_seconds", "at most"),
    (scaling(deadline_seconds=0), "scaling.deadline_seconds", "at least 1"),
    (scaling(deadline_seconds=604_801), "scaling.deadline_seconds", "at most 604800"),
    ({"startup_seconds": 0}, "startup_seconds", "at least 1"),
    ({"startup_seconds": "30"}, "startup_seconds", "whole number"),
]


@pytest.mark.parametrize(
    ("change", "field", "words"), TABLE, ids=lambda value: json.dumps(value, default=str)[:60]
)
def test_a_bad_field_is_named_with_what_is_allowed(
    api: Faces, change: Change, field: str, words: str
) -> None:
    message = refused(api, deployment() | change)
    assert message.startswith((f"{field} is missing", f"{field}: "))
    assert words in message
