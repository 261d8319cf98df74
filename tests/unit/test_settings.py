"""Settings: from variables and files, all errors at once, and no secret in an error."""

from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, load
from app.web import create_app

TLS_MISTAKES = (
    "ssl_ca_certs=/nowhere/ca.pem",
    "ssl_certfile=",
    "ssl_cert_reqs=CERT_REQUIRED",
    "ssl_cert_reqs",
    "ssl_check_hostname=maybe",
    "ssl_password=hush",
    "db=1",
)


def errors(environ: dict[str, str]) -> list[str]:
    """The lines of the error."""
    with pytest.raises(SettingsError) as error:
        load(environ)
    return str(error.value).splitlines()


def test_without_any_variable_all_has_a_default() -> None:
    assert load({}) == Settings()


def test_variables_are_read() -> None:
    read = load({"ONEJOB_API_THREADS": "3", "ONEJOB_LEASE_SECONDS": "1.5", "OTHER": "x"})
    assert (read.api_threads, read.lease_seconds) == (3, 1.5)


def test_an_empty_variable_is_one_that_is_not_given() -> None:
    assert load({"ONEJOB_API_THREADS": "", "ONEJOB_CLIENT_ID_FILE": ""}) == Settings()


def test_a_file_has_the_value(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(" a secret with blanks \r\n")
    read = load({"ONEJOB_CLIENT_SECRET_FILE": str(secret)})
    assert read.client_secret == " a secret with blanks "


def test_a_file_that_has_no_value_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("empty", "binary", "missing", ""):
        (line,) = errors({"ONEJOB_REDIS_URL_FILE": str(tmp_path / name)})
        assert line.startswith("ONEJOB_REDIS_URL_FILE: ")


def test_a_value_and_a_file_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("a")
    (line,) = errors({"ONEJOB_CLIENT_ID": "b", "ONEJOB_CLIENT_ID_FILE": str(tmp_path / "id")})
    assert line == "ONEJOB_CLIENT_ID and ONEJOB_CLIENT_ID_FILE are both given"


def test_all_errors_are_told_at_once_and_no_value() -> None:
    lines = errors(
        {
            "ONEJOB_CLIENT_SECRET": "hush",
            "ONEJOB_TOKEN_SECRET": "hush too",
            "ONEJOB_API_WORKERS": "many",
            "ONEJOB_COMPUTE_FILE_FILE": "/nowhere",
            "ONEJOB_NETWORK": "host",
        }
    )
    assert sorted(line.partition(": ")[0] for line in lines) == [
        "ONEJOB_API_WORKERS",
        "ONEJOB_CLIENT_SECRET",
        "ONEJOB_COMPUTE_FILE_FILE",
        "ONEJOB_NETWORK",
        "ONEJOB_TOKEN_SECRET",
    ]
    assert "hush" not in "".join(lines)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "REDIS_URL",
            ["localhost", "http://localhost", "redis:/x", "redis://[::", "redis://\u2100"],
        ),
        ("REDIS_URL", ["redis://host?ssl_cert_reqs=required", "redis://host?protocol=3"]),
        ("REDIS_URL", [f"rediss://h/0?{word}" for word in TLS_MISTAKES]),
        ("BIND", ["8080", "host", "host:", "host:port", "host:65536", "a b:1", "unix:", "::1:80"]),
        ("PUBLIC_URL", ["host", "ftp://host", "http://", "https:///x", "http://h?x", "http://h#x"]),
        ("API_WORKERS", ["0", "65", "1.5", "x"]),
        ("BODY_SECONDS", ["0", "-1", "nan", "inf"]),
        ("STOP_GRACE_SECONDS", ["-1", "nan", "3601"]),
        ("OWN_REPLICAS", ["maybe"]),
        ("PREPULL", ["perhaps"]),
        ("PULL_SECONDS", ["0", "-1", "inf"]),
        ("IMAGES_MAX_AGE_SECONDS", ["0", "x"]),
        ("IMAGES_DISK_PERCENT", ["0", "100", "nan"]),
        ("NETWORK", ["", "bridge", "a b", "-x"][1:]),
        ("TOKEN_SECONDS", ["0", "1.5", "1e3"]),
        ("FLOWER_PORT", ["0", "65536"]),
    ],
)
def test_values_that_are_not_allowed(name: str, values: list[str]) -> None:
    for value in values:
        (line,) = errors({f"ONEJOB_{name}": value})
        assert line.startswith(f"ONEJOB_{name}: ")


def test_an_error_of_a_url_does_not_tell_its_password() -> None:
    for rest in ("\u2100", "h:x/0?db=1", "h?ssl_ca_certs=/nowhere"):
        (line,) = errors({"ONEJOB_REDIS_URL": f"rediss://:hush@{rest}"})
        assert "hush" not in line


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("REDIS_URL", ["redis://:pw@host:6379/1", "rediss://host"]),
        ("REDIS_URL", [f"rediss://h?ssl_ca_certs={__file__}&ssl_check_hostname=false"]),
        ("REDIS_URL", [f"rediss://h?ssl_certfile={__file__}&ssl_cert_reqs=optional"]),
        ("BIND", ["0.0.0.0:80", "[::]:8080", "localhost:0", "unix:/run/x.sock", ":80", "fd://3"]),
        ("PUBLIC_URL", ["http://h", "https://h:8443/base", "http://[::1]:80"]),
        ("OWN_REPLICAS", ["true", "1", "no"]),
        ("IMAGES_DISK_PERCENT", ["85", "99.5"]),
    ],
)
def test_values_that_are_allowed(name: str, values: list[str]) -> None:
    for value in values:
        load({f"ONEJOB_{name}": value})


@pytest.mark.parametrize("url", ["http://h/", "http://h///"])
def test_a_base_url_ends_without_a_slash(url: str) -> None:
    assert load({"ONEJOB_PUBLIC_URL": url}).public_url == "http://h"


def test_what_a_process_needs_is_missed_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        create_app(load({"ONEJOB_CLIENT_ID": "x"}))
    assert str(error.value).splitlines() == [
        "ONEJOB_CLIENT_SECRET is missing",
        "ONEJOB_TOKEN_SECRET is missing",
    ]


def test_a_compute_file_that_is_wrong_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "compute.toml"
    secrets = {"client_id": "x", "client_secret": "x" * 16, "token_secret": "x" * 32}
    settings = Settings(**secrets, compute_file=file)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"ONEJOB_COMPUTE_FILE: .*No such file"):
        create_app(settings)
    file.write_text("[cpu]\ncpus = 0")
    with pytest.raises(SettingsError, match="ONEJOB_COMPUTE_FILE: compute 'cpu': cpus"):
        create_app(settings)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load({}).bind = "x"  # type: ignore[misc]


KEY = "b25lIG9mIHRoZSBzZWNyZXRzIGtleXMgb2YgdGVzdHM="


@pytest.mark.parametrize("keys", [KEY, f"{KEY},{KEY}", f"{KEY}, {KEY}"])
def test_secrets_keys_may_be_several(keys: str) -> None:
    assert load({"ONEJOB_SECRETS_KEY": keys}).secrets_key == keys


@pytest.mark.parametrize("keys", ["hush", f"{KEY},", f"{KEY},hush", KEY[:-4], KEY + "AAAA"])
def test_a_secrets_key_that_is_none_is_told_and_not_shown(keys: str) -> None:
    (line,) = errors({"ONEJOB_SECRETS_KEY": keys})
    assert line.startswith("ONEJOB_SECRETS_KEY: ")
    assert "hush" not in line
    assert KEY not in line


def test_a_volumes_file_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    volumes = tmp_path / "volumes.toml"
    given = {f"ONEJOB_{n}": "x" * 32 for n in ("CLIENT_ID", "CLIENT_SECRET", "TOKEN_SECRET")}
    settings = load(given | {"ONEJOB_VOLUMES_FILE": str(volumes)})
    with pytest.raises(SettingsError, match=r"ONEJOB_VOLUMES_FILE: .*volumes\.toml"):
        create_app(settings)
    volumes.write_text('[a]\npath = "srv"\n')
    with pytest.raises(SettingsError, match="ONEJOB_VOLUMES_FILE: volume 'a': path"):
        create_app(settings)
