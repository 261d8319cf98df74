"""Which server the command line speaks to, and by which credentials."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.children import Child
from app.commands.access import resolve
from app.stack import Layout, Stack
from tests.api.faces import Faces
from tests.api.server import CLIENT_ID, CLIENT_SECRET, PATIENT, PRODUCT
from tests.cli.conftest import Onejob
from tests.ports import free_port

NOWHERE = "http://127.0.0.1:1"
PROFILES = """
[default]
url = "http://default"
client_id = "d-id"
client_secret = "d-secret"
[lab]
url = "http://lab"
inference_key = "lab-key"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment whose home has profiles, and no server that runs."""
    path = tmp_path / "onejob" / "config.toml"
    path.parent.mkdir()
    path.write_text(PROFILES)
    monkeypatch.setenv("ONEJOB_DATA", str(tmp_path / "nothing"))
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_the_environment_goes_before_the_profile(config: dict[str, str]) -> None:
    assert resolve({}, config)["url"] == "http://default"
    assert resolve({}, config | {"ONEJOB_PROFILE": "lab"})["url"] == "http://lab"
    given = config | {"ONEJOB_CLIENT_ID": "e-id"}
    found = resolve({}, given)
    assert (found["client_id"], found["client_secret"]) == ("e-id", "d-secret")


def test_an_option_goes_before_the_environment(config: dict[str, str]) -> None:
    given = config | {"ONEJOB_URL": "http://env", "ONEJOB_INFERENCE_KEY": "e-key"}
    assert resolve({"url": "http://flag"}, given)["url"] == "http://flag"
    assert resolve({"profile": "lab"}, given) == {"url": "http://lab", "inference_key": "lab-key"}


def test_credentials_of_one_server_never_reach_another(config: dict[str, str]) -> None:
    assert resolve({}, config | {"ONEJOB_URL": "http://env"}) == {"url": "http://env"}
    assert resolve({"url": "http://flag"}, config) == {"url": "http://flag"}
    assert "client_id" not in resolve({}, config | {"ONEJOB_PROFILE": "lab"})


def test_secrets_may_lie_in_files(
    onejob: Onejob, hello: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    monkeypatch.setenv("ONEJOB_CLIENT_SECRET_FILE", str(secret))
    assert "both given" in onejob("list").stderr
    monkeypatch.delenv("ONEJOB_CLIENT_SECRET")
    assert "hello" in onejob("list").output
    monkeypatch.delenv("ONEJOB_CLIENT_SECRET_FILE")
    assert onejob("list").exit_code == 4
    assert "hello" in onejob("list", "--client-secret-file", str(secret)).output


def test_a_profile_reaches_its_server(
    onejob: Onejob, api: Faces, hello: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".config" / "onejob"
    folder.mkdir(parents=True)
    (folder / "secret").write_text(CLIENT_SECRET)
    (folder / "config.toml").write_text(
        f'[lab]\nurl = "http://127.0.0.1:{api.port}/"\nclient_id = "{CLIENT_ID}"\n'
        f'client_secret_file = "{folder}/secret"\n'
    )
    monkeypatch.setenv("ONEJOB_URL", NOWHERE)
    assert "hello" in onejob("list", "--profile", "lab").output
    assert "has no profile 'other'" in onejob("list", "--profile", "other").stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[default", "config.toml: "),
        ("[default]\nuri = 'x'", "uri is not allowed"),
        ("[default]\nurl = 8", "url is not allowed"),
        ("default = 3", "no profile 'default'"),
        ("[default]\nclient_secret = 'x'\nclient_secret_file = 'y'", "both given"),
        ("[default]\nclient_secret_file = '/nonexistent/y'", "No such file"),
    ],
)
def test_a_wrong_profile_says_what_is_wrong(
    onejob: Onejob, text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEJOB_URL")
    path = tmp_path / "config.toml"
    path.write_text(text)
    answer = onejob("list", "--config", str(path))
    assert answer.exit_code == 2
    assert complaint in answer.stderr


def test_without_any_server_the_ways_to_name_one_are_told(
    onejob: Onejob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEJOB_URL")
    answer = onejob("list")
    assert answer.exit_code == 2
    for word in ("--url", "ONEJOB_URL", "config.toml", "scripts/run"):
        assert word in answer.stderr


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:y", "http://x?y"]
)
def test_what_is_no_url_is_refused(onejob: Onejob, url: str) -> None:
    answer = onejob("list", "--url", url)
    assert answer.exit_code == 2
    assert "is no http" in answer.stderr


class PatientStack(Stack):
    """One whose API waits longer for its Redis, which waits for the disk at each write."""

    def _start(self, name: str, argv: list[str], stop_seconds: float = 10) -> Child:
        words = [PATIENT if word == PRODUCT else word for word in argv]
        return super()._start(name, words, stop_seconds)


class TestBesideALocalServer:
    @pytest.fixture
    def stack(
        self, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Stack]:
        """What `onejob up` starts, but no worker; the environment names no server."""
        for name in environ:
            if name.startswith("ONEJOB_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("ONEJOB_DATA", str(tmp_path / "data"))
        stack = PatientStack(Layout(tmp_path / "data", free_port(), 2))
        try:
            stack.start_redis()
            stack.ensure_inference_key()
            stack.start_api()
            yield stack
        finally:
            stack.stop(lambda name: None)

    def test_it_is_found_with_its_keys_while_it_runs(
        self, stack: Stack, onejob: Onejob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Its compute resources are those of live workers or of the file; `cpu` is always there.
        assert onejob("create", "it", "--image", "a/b:1").exit_code == 0
        assert onejob("run", "it", "-d", "{}", "--id", "mine", "--no-wait").output == "mine\n"
        monkeypatch.setenv("ONEJOB_DATA", str(tmp_path / "nothing"))
        assert onejob("list").exit_code == 2
        data = str(stack.layout.data)
        monkeypatch.setenv("ONEJOB_URL", NOWHERE)
        assert "it" in onejob("list", "--data", data).output
        stack.stop(lambda name: None)
        stopped = onejob("list", "--data", data)
        assert (stopped.exit_code, f"no onejob runs on {data}" in stopped.stderr) == (2, True)
