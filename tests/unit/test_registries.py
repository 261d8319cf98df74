"""Which registry credentials are for, and what is sent there."""

import base64
import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.domain.registries import (
    CREDENTIALS,
    CustomCredentials,
    EcrCredentials,
    NotForThisRegistry,
    check_registry,
    registry_of,
    static_login,
)

ECR = "1234.dkr.ecr.eu-north-1.amazonaws.com"


def credentials(type: str, **fields: str) -> Any:
    return CREDENTIALS.validate_python({"name": "c", "type": type} | fields)


HUB = credentials("dockerhub", username="u", access_token="p")
GITHUB = credentials("ghcr", username="u", access_token="p")
VERDA = credentials("verda", username="u", access_token="p")
GOOGLE = credentials("gcr", service_account_key='{"k": 1}')
SCALEWAY = credentials("scaleway", scaleway_domain="rg.nl-ams.scw.cloud", scaleway_uuid="key")
AMAZON = credentials(
    "aws-ecr", access_key_id="A1", secret_access_key="p", region="eu-north-1", ecr_repo=f"{ECR}/app"
)


def config(**auths: Any) -> CustomCredentials:
    """A config.json whose registries' dots are written as underscores."""
    entries = {name.replace("_", "."): entry for name, entry in auths.items()}
    made = credentials("custom", docker_config_json=json.dumps({"auths": entries}))
    assert isinstance(made, CustomCredentials)
    return made


CUSTOM = config(r_test={"auth": "dTpw"})


@pytest.mark.parametrize(
    ("ref", "host"),
    [
        ("app:1", "docker.io"),
        ("library/app:1", "docker.io"),
        ("docker.io/app:1", "docker.io"),
        ("index.docker.io/me/app:1", "docker.io"),
        ("ghcr.io/me/app:1", "ghcr.io"),
        ("localhost/app:1", "localhost"),
        ("r.test:5000/a/b@sha256:0", "r.test:5000"),
        ("me/r.test/app:1", "docker.io"),
    ],
)
def test_a_reference_names_its_registry(ref: str, host: str) -> None:
    assert registry_of(ref) == host


@pytest.mark.parametrize(
    ("given", "ref", "login"),
    [
        (HUB, "me/app:1", ("u", "p")),
        (GITHUB, "ghcr.io/me/app:1", ("u", "p")),
        (VERDA, "any.test/app:1", ("u", "p")),
        (GOOGLE, "gcr.io/me/app:1", ("_json_key", '{"k": 1}')),
        (GOOGLE, "eu.gcr.io/me/app:1", ("_json_key", '{"k": 1}')),
        (GOOGLE, "europe-docker.pkg.dev/me/app:1", ("_json_key", '{"k": 1}')),
        (SCALEWAY, "rg.nl-ams.scw.cloud/me/app:1", ("nologin", "key")),
        (AMAZON, f"{ECR}/app:1", None),
    ],
)
def test_what_is_sent_to_the_registry_it_is_for(
    given: Any, ref: str, login: tuple[str, str] | None
) -> None:
    check_registry(given, ref)
    assert static_login(given, ref) == login


@pytest.mark.parametrize("given", [HUB, GITHUB, GOOGLE, SCALEWAY, AMAZON, CUSTOM])
@pytest.mark.parametrize(
    "host", ["evil.test", "ghcr.io.evil.test", "evilgcr.io", f"{ECR}.evil.test", "r.test.evil"]
)
def test_nothing_is_sent_to_another_registry(given: Any, host: str) -> None:
    with pytest.raises(NotForThisRegistry, match=f"'c' is for .*, not for {host}"):
        check_registry(given, f"{host}/app:1")


@pytest.mark.parametrize(
    "entry",
    [
        {"username": "u", "password": "p:q"},
        {"auth": base64.b64encode(b"u:p:q").decode()},
        {"auth": base64.b64encode(b"u:p:q").decode(), "username": "", "email": "x"},
    ],
)
def test_a_config_says_its_logins_in_either_way(entry: dict[str, str]) -> None:
    assert config(r_test=entry).login("r.test") == ("u", "p:q")


def test_a_config_names_docker_hub_by_its_url() -> None:
    entry = {"username": "u", "password": "p"}
    text = json.dumps({"auths": {"https://index.docker.io/v1/": entry, "r.test:5000": entry}})
    made = credentials("custom", docker_config_json=text)
    assert made.fits("docker.io")
    assert made.fits("r.test:5000")
    assert not made.fits("r.test")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null", '{"auths": []}', '{"auths": {}}', '{"auths": {"r": null}}'),
        *('{"auths": {"r": {}}}', '{"auths": {"r": {"auth": "!"}}}'),
        *('{"auths": {"r": {"auth": "dQ=="}}}', '{"auths": {"r": {"username": 1}}}'),
        '{"auths": {"r": {"username": "u", "password": ""}}}',
        "[" * 60_000,
    ],
)
def test_a_config_without_a_login_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as error:
        credentials("custom", docker_config_json=text)
    assert "input_value" not in str(error.value)


@pytest.mark.parametrize("given", [HUB, GOOGLE, SCALEWAY, AMAZON, CUSTOM])
def test_a_repr_shows_the_name_alone(given: Any) -> None:
    assert repr(given) == f"{type(given).__name__}(name='c')"


def test_scaleway_needs_a_key_by_either_name() -> None:
    fields = {"scaleway_domain": "rg.test", "username": "me", "access_token": "t"}
    assert static_login(credentials("scaleway", **fields), "rg.test/app:1") == ("me", "t")
    with pytest.raises(ValidationError, match="scaleway_uuid"):
        credentials("scaleway", scaleway_domain="rg.test")


def test_amazons_host_is_told_with_or_without_a_repository() -> None:
    assert isinstance(AMAZON, EcrCredentials)
    for repo in (ECR, f"{ECR}/a/b", f"https://{ECR}/a"):
        assert AMAZON.model_copy(update={"ecr_repo": repo}).hosts() == ECR
