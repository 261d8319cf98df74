"""The command line beside a running server, with a real job in a real container."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.e2e.house import House

pytestmark = pytest.mark.docker

Onejob = Callable[..., Result]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x00done"
APP = f"print('one', flush=True); c = take_job(); c.sendall({ANSWER!r}); print('two', flush=True)"


@pytest.fixture
def onejob(house: House, monkeypatch: pytest.MonkeyPatch) -> Onejob:
    """A command on a machine where a server runs, and nothing else says which is meant."""
    for name in ("URL", "CLIENT_ID", "CLIENT_SECRET", "INFERENCE_KEY", "PROFILE", "CONFIG"):
        monkeypatch.delenv(f"ONEJOB_{name}", raising=False)
    monkeypatch.setenv("HOME", str(house.folder / "nobody"))
    monkeypatch.setenv("ONEJOB_DATA", str(house.folder))

    return lambda *words: CliRunner().invoke(main, words)


def test_from_a_request_to_its_response_and_log(house: House, onejob: Onejob) -> None:
    house.deploy("works", APP)
    answer = onejob("run", "works", "/job", "-d", "{}", "--id", "mine")
    assert (answer.exit_code, answer.stdout_bytes) == (0, b"\x00done"), answer.stderr
    log = onejob("logs", "works", "mine", "-f")
    assert (log.exit_code, log.stdout) == (0, "one\ntwo\n")
    (job,) = json.loads(onejob("jobs", "works", "-o", "json").stdout)
    assert (job["Id"], job["State"]) == ("mine", "succeeded")
    assert onejob("delete", "works").output == "deployment works is deleted\n"


def test_a_job_that_fails_says_why_and_ends_with_1(house: House, onejob: Onejob) -> None:
    house.deploy("fails", f"{APP}; sys.exit(3)")
    answer = onejob("run", "fails", "-d", "{}")
    assert (answer.exit_code, answer.stdout_bytes) == (1, b"\x00done")
    assert "failed  HTTP 200  exit_nonzero: " in answer.stderr
    assert "exit code 3" in answer.stderr
    onejob("delete", "fails")
