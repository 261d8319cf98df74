"""What a deployment may be, and that it comes back as it was: from the ledger and from clients."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.schemas import deployment_out
from app.domain.deployment import RESERVED_NAMES, Deployment
from app.domain.image import LONGEST, LONGEST_PATH, pinned
from app.domain.members import Names
from app.ledger.deployments import DeploymentRecord

DIGEST = "sha256:" + "0123456789abcdef" * 4
GOOD_IMAGES = [
    "hello:1",
    "hello:v1.2.3-rc_4",
    "hello:Latest",
    "hello:latest1",
    "library/hello:1",
    "a/b/c/d:1",
    "docker.io/library/hello:1",
    "localhost/hello:1",
    "localhost:5000/hello:1",
    "registry.example.com:443/team/app:2026-11-24",
    "Registry.Example.COM/app:1",
    "[fd00::1]:5000/app:1",
    "a__b/c--d.e_f:1",
    "hello:" + "t" * 128,
    f"hello@{DIGEST}",
    f"hello:latest@{DIGEST}",
    f"localhost:5000/hello:1@{DIGEST}",
    "hello@sha512:" + "0" * 128,
    "x" * LONGEST_PATH + ":1",
]
BAD_IMAGES = [
    "",
    " ",
    "hello:1 ",
    "hello:1\n",
    "Hello:1",
    "hello:",
    "hello:-1",
    "hello:" + "t" * 129,
    ":1",
    "/hello:1",
    "hello/:1",
    "a//b:1",
    "a..b/c:1",
    "-a.b/c:1",
    "a___b:1",
    "_a:1",
    "a-:1",
    "hello@1",
    f"hello@{DIGEST[:-1]}",
    f"hello@{DIGEST.upper()}",
    f"hello@md5:{'0' * 32}",
    f"@{DIGEST}",
    "http://registry/hello:1",
    "hello:1?x",
    "hello:1 --privileged",
    "hélló:1",
    "hello\0:1",
    "x" * (LONGEST_PATH + 1) + ":1",
    "a.b/" * (LONGEST // 4) + "c:1",
]
UNPINNED_IMAGES = [
    "hello",
    "hello:latest",
    "localhost:5000/hello",
    "registry.example.com/a/b:latest",
    "5000/hello",
]


@pytest.mark.parametrize("image", GOOD_IMAGES)
def test_images_that_say_what_they_are(image: str) -> None:
    assert pinned(image) == image


@pytest.mark.parametrize("image", BAD_IMAGES)
def test_what_is_no_image_reference(image: str) -> None:
    with pytest.raises(ValueError, match="must be an image reference"):
        pinned(image)


@pytest.mark.parametrize("image", UNPINNED_IMAGES)
def test_latest_written_or_implied(image: str) -> None:
    with pytest.raises(ValueError, match="must name a version"):
        pinned(image)


@pytest.mark.parametrize("piece", ["a", "-", "a-", "a.", "a/", "_", "a_", "A", ":", "@"])
def test_a_hostile_reference_costs_no_time(piece: str) -> None:
    for length in (LONGEST, 1_000_000):
        with pytest.raises(ValueError, match="must be an image reference"):
            pinned((piece * length)[: length - 1] + "!")


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "name": "hello",
        "containers": [{"image": "hello:1", "exposed_port": 8000}],
        "compute": {"name": "cpu"},
        "scaling": {"max_replica_count": 1, "queue_message_ttl_seconds": 1, "deadline_seconds": 1},
    } | changes


def wire_form(deployment: Deployment) -> dict[str, Any]:
    record = DeploymentRecord(
        "u", deployment.name, "running", 1, deployment, datetime.now(UTC), "c"
    )
    return deployment_out(record, "http://host")


OPTIONAL = st.none()
NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in RESERVED_NAMES
)
PORT = st.integers(1, 65535)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
PATH = st.from_regex(r"/[!-~]{0,20}", fullmatch=True)
SEGMENT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=":/"), min_size=1, max_size=9
).filter(lambda segment: segment not in (".", ".."))
MOUNT_PATH = st.lists(SEGMENT, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
HEALTHCHECK = st.fixed_dictionaries(
    {}, optional={"enabled": st.booleans(), "port": OPTIONAL | PORT, "path": OPTIONAL | PATH}
)
ENV = st.fixed_dictionaries(
    {
        "name": TEXT.filter(lambda name: name and "=" not in name),
        "value_or_reference_to_secret": TEXT,
    },
    optional={"type": st.sampled_from(["plain", "secret", None])},
)
MOUNT = st.one_of(
    st.fixed_dictionaries({"type": st.just("scratch"), "mount_path": MOUNT_PATH}),
    st.fixed_dictionaries(
        {"type": st.just("memory")},
        optional={"size_in_mb": st.sampled_from([2**n for n in range(6, 16)])},
    ),
    st.fixed_dictionaries(
        {"type": st.just("secret"), "mount_path": MOUNT_PATH, "secret_name": SEGMENT},
        optional={"file_names": OPTIONAL | st.lists(SEGMENT, max_size=2)},
    ),
    st.fixed_dictionaries(
        {"type": st.just("shared"), "mount_path": MOUNT_PATH, "volumeId": SEGMENT}
    ),
)
MOUNTS = st.lists(
    MOUNT.filter(lambda mount: not mount.get("mount_path", "").startswith("/.onejob")),
    unique_by=lambda mount: mount.get("mount_path", "/dev/shm"),
    max_size=3,
)
CONTAINER = st.fixed_dictionaries(
    {
        "image": st.sampled_from(GOOD_IMAGES)
        | st.sampled_from(GOOD_IMAGES).map(lambda image: {"image": image}),
        "exposed_port": PORT,
    },
    optional={
        "name": TEXT,
        "should_use_cached_image": OPTIONAL | st.booleans(),
        "healthcheck": OPTIONAL | HEALTHCHECK,
        "entrypoint_overrides": OPTIONAL
        | st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={"entrypoint": st.lists(TEXT), "cmd": OPTIONAL | st.lists(TEXT)},
        ),
        "env": OPTIONAL | st.lists(ENV, max_size=3),
        "volume_mounts": OPTIONAL | MOUNTS,
    },
)
DEPLOYMENTS = st.fixed_dictionaries(
    {
        "name": NAME,
        "containers": CONTAINER.map(lambda container: [container]),
        "compute": st.fixed_dictionaries(
            {"name": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)},
            optional={"size": st.integers(1, 1024)},
        ),
        "scaling": st.fixed_dictionaries(
            {
                "max_replica_count": st.integers(1, 1_000_000),
                "queue_message_ttl_seconds": st.integers(1, 315_360_000),
                "deadline_seconds": st.integers(1, 604_800),
            }
        ),
    },
    optional={
        "container_registry_settings": st.sampled_from(
            [None, {"is_private": True, "credentials": {"name": "x"}}, {"is_private": False}]
        ),
        "startup_seconds": OPTIONAL | st.integers(1, 604_800),
        "more": st.integers(),
    },
)


@given(DEPLOYMENTS)
def test_what_is_accepted_comes_back_equal(given_spec: dict[str, Any]) -> None:
    deployment = Deployment.model_validate(given_spec)
    assert Deployment.model_validate_json(deployment.model_dump_json()) == deployment
    assert Deployment.model_validate(wire_form(deployment)) == deployment


def test_the_defaults_are_the_contracts() -> None:
    out = wire_form(Deployment.model_validate(spec()))
    container = out["containers"][0]
    assert container["healthcheck"] == {"enabled": True, "port": 8000, "path": "/health"}
    assert container["should_use_cached_image"] is True
    assert (container["env"], container["volume_mounts"]) == ([], [])
    assert out["compute"]["size"] == 1


def test_a_health_check_on_the_exposed_port_follows_it() -> None:
    same, other = (
        Deployment.model_validate(
            spec(containers=[{"image": "a:1", "exposed_port": 80, "healthcheck": {"port": port}}])
        )
        for port in (80, 81)
    )
    assert same.containers[0].healthcheck.port is None
    assert other.containers[0].healthcheck.port == 81


def test_lists_are_never_null() -> None:
    mounts = [{"type": "secret", "mount_path": "/s", "secret_name": "s", "file_names": None}]
    container = {"image": "a:1", "exposed_port": 1, "volume_mounts": mounts}
    out = wire_form(Deployment.model_validate(spec(containers=[container])))
    assert out["containers"][0]["volume_mounts"][0]["file_names"] == []


def test_names_are_known_only_where_it_is_asked() -> None:
    unknown = spec(compute={"name": "gone"})
    assert Deployment.model_validate(unknown).compute.name == "gone"  # at rest
    known = Names(compute=frozenset({"cpu", "gpu"}))
    assert Deployment.model_validate(spec(), context=known)
    with pytest.raises(ValidationError, match="must be one of cpu, gpu"):
        Deployment.model_validate(unknown, context=known)


@pytest.mark.parametrize("name", ["a" * 63, "0", "a-0"])
def test_good_names(name: str) -> None:
    assert Deployment.model_validate(spec(name=name)).name == name


@pytest.mark.parametrize(
    "name", ["a" * 64, "", "-a", "a-", "A", "a.b", "a\n", *sorted(RESERVED_NAMES)]
)
def test_bad_names(name: str) -> None:
    with pytest.raises(ValidationError):
        Deployment.model_validate(spec(name=name))


@pytest.mark.parametrize("change", [{"name": "\ud800"}, {"compute": {"name": "\udfff"}}])
def test_half_of_a_surrogate_pair_is_no_text(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Deployment.model_validate(spec(**change))


def test_half_a_surrogate_in_an_argument_is_no_text() -> None:
    container = {"image": "a:1", "exposed_port": 1, "entrypoint_overrides": {"cmd": ["\ud800"]}}
    with pytest.raises(ValidationError):
        Deployment.model_validate(spec(containers=[container]))
