"""Bad deployments: all is told at once, no secret is, and nothing that is sent is a fault."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.changes import Change, container, env, refused
from tests.api.faces import Faces, deployment


def test_all_bad_fields_are_named_at_once(api: Faces) -> None:
    body = {
        "name": "Bad Name",
        "containers": [
            {
                "image": "hello:latest",
                "exposed_port": 0,
                "env": [{"name": "A", "type": "secret", "value_or_reference_to_secret": "s"}],
                "volume_mounts": [{"type": "shared", "mount_path": "/v", "volume_id": "v"}],
            }
        ],
        "compute": {"name": "gpu", "size": 0},
        "scaling": {"max_replica_count": 0, "deadline_seconds": "1"},
    }
    told = refused(api, body).split("; ")
    assert [sentence.partition(":")[0].removesuffix(" is missing") for sentence in told] == [
        "name",
        "containers[0].image",
        "containers[0].exposed_port",
        "containers[0].env[0].value_or_reference_to_secret",
        "containers[0].volume_mounts[0].volume_id",
        "compute.name",
        "compute.size",
        "scaling.max_replica_count",
        "scaling.queue_message_ttl_seconds",
        "scaling.deadline_seconds",
    ]
    assert 'name: "Bad Name" is not allowed' in told[0]


@pytest.mark.parametrize(
    "secret",
    [
        env(value_or_reference_to_secret="hush\0"),
        env(value_or_reference_to_secret=["hush"]),
        env(type="secret", value_or_reference_to_secret="hush"),
        container(env="A=hush"),
        container(env=["A=hush"]),
        container(env=[["A", "hush"]]),
        container(env={"A": "hush"}),
        {"containers": ["hush"] * 2},
    ],
    ids=json.dumps,
)
def test_what_may_be_a_secret_is_not_repeated(api: Faces, secret: Change) -> None:
    assert "hush" not in refused(api, deployment() | secret)


def test_a_flood_of_errors_is_cut_short(api: Faces) -> None:
    message = refused(api, deployment() | container(env=[{}] * 50_000))
    assert len(message) < 10_000
    assert message.endswith("and 99900 more")


def test_long_values_are_cut_short(api: Faces) -> None:
    assert len(refused(api, deployment(name="x" * 900_000))) < 300
    assert len(refused(api, deployment(**container(image="a/" * 400_000)))) < 300


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b"{}}",
        b"\xff",
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": 1e999}',
        b'{"name": "a", "name": "b"}',
        b'{"name": "\\ud800"}',
        b'{"\\udc00": 1}',
        b'{"scaling": ' + b"9" * 5000 + b"}",
        b'{"name": ' + b"[" * 900 + b"]" * 900 + b"}",
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"name": "a"',
        b"name=a",
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_what_is_no_json_object_is_400(api: Faces, raw: bytes) -> None:
    assert 0 < len(refused(api, raw)) < 400


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_in_another_unicode_encoding(api: Faces, encoding: str) -> None:
    raw = json.dumps(deployment()).encode(encoding)
    assert api.control("POST", "/job-deployments", raw).status == 201


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "type", "image", "size"]), inner, max_size=3)
    ),
    max_leaves=5,
)
PATHS = [
    ("name",),
    ("containers",),
    ("compute",),
    ("compute", "name"),
    ("scaling",),
    ("scaling", "deadline_seconds"),
    ("container_registry_settings",),
    ("containers", 0),
    *(
        ("containers", 0, member)
        for member in (
            *("image", "exposed_port", "healthcheck", "entrypoint_overrides", "env"),
            *("volume_mounts", "should_use_cached_image", "name"),
        )
    ),
]


@given(path=st.sampled_from(PATHS), value=anything)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_anywhere_is_a_fault(api: Faces, path: tuple[str | int, ...], value: Any) -> None:
    body: Any = deployment()
    place = body
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    answer = api.control("POST", "/job-deployments", body)
    assert answer.status in (201, 400)
    if answer.status == 201:
        assert api.control("DELETE", f"/job-deployments/{answer.json['name']}").status == 200


@given(raw=st.binary(max_size=300))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_are_a_fault(api: Faces, raw: bytes) -> None:
    assert api.control("POST", "/job-deployments", raw).status == 400
    assert api.control("POST", "/oauth2/token", raw).status == 400
