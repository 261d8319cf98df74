"""What --help says: each command has examples, and all of them work."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.cli import COMMANDS, main
from app.commands.command import Command
from tests.api.faces import Faces, deployment
from tests.api.worker import PlayedWorker
from tests.cli.conftest import Onejob
from tests.cli.stage import ONEJOB, Player

CONTEXT = click.Context(main)
NAMES = [name for commands in COMMANDS.values() for name in commands]


def command(name: str) -> click.Command:
    """A command by its name."""
    found = main.get_command(CONTEXT, name)
    assert found is not None
    return found


def examples() -> Iterator[tuple[str, str]]:
    """The examples of all clients' commands, with the command's name."""
    for name in NAMES:
        if isinstance(command(name), Command):
            _, _, text = (command(name).help or "").partition("Example")
            joined = text.replace("\\\n", " ")
            for line in re.findall(r"^ *(onejob .*)$", joined, re.MULTILINE):
                yield name, line


EXAMPLES = list(examples())


def test_every_command_has_examples() -> None:
    clients = {name for name in NAMES if isinstance(command(name), Command)}
    assert {name for name, _ in EXAMPLES} == clients
    assert len(clients) == 15


@pytest.mark.parametrize("line", [line for _, line in EXAMPLES])
def test_an_example_works_as_it_is_written(
    line: str,
    onejob: Onejob,
    api: Faces,
    worker: PlayedWorker,
    player: Player,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    api.deploy("hello")
    job_id = api.submit("hello")
    if line.startswith("onejob run"):
        worker.respond("hello", job_id)
        player.respond("hello", body=b"{}")
    elif not line.startswith("onejob cancel"):
        worker.respond("hello", job_id)
    code, told = execute(line, job_id)
    assert (code, told) == (0, ""), line


def write_files(folder: Path) -> None:
    """The files that examples name."""
    (folder / "input.json").write_text("{}")
    (folder / "deployment.json").write_text(json.dumps(deployment("written")))
    (folder / "deployment.toml").write_text(
        'name = "written"\n[[containers]]\nimage = "a/b:1"\nexposed_port = 80\n'
    )


def execute(line: str, job_id: str) -> tuple[int, str]:
    """Runs an example; its exit code, and what it complained of."""
    if "<" in line:
        shell = line.replace("onejob", str(ONEJOB), 1)
        environ = {"PYTHONPATH": str(Path(__file__).parents[2])}

        done = subprocess.run(
            ["sh", "-c", shell], env=os.environ | environ, capture_output=True, text=True
        )
        return done.returncode, _complaints(done.stderr)
    words = shlex.split(line.replace("$ID", job_id))[1:]
    answer = CliRunner().invoke(main, words)
    return answer.exit_code, _complaints(answer.stderr)


def _complaints(stderr: str) -> str:
    told = ("job ", "succeeded ")
    return "\n".join(line for line in stderr.splitlines() if not line.startswith(told))


@pytest.mark.parametrize("name", NAMES)
def test_the_overview_says_what_the_command_says(name: str) -> None:
    texts = {n: text for commands in COMMANDS.values() for n, (_, text) in commands.items()}
    first = (command(name).help or "").split("\n\n")[0].replace("\n", " ")
    assert first.startswith(texts[name].rstrip("."))
    assert f"  {name} " in CliRunner().invoke(main, ["--help"]).output


@pytest.mark.parametrize("name", ["list", "run"])
def test_help_ends_with_how_to_reach_the_server(name: str) -> None:
    told = CliRunner().invoke(main, [name, "--help"]).output
    own, _, access = told.partition("Server and credentials:")
    assert "--profile NAME" in access
    assert "--url" not in own


def test_help_imports_no_command() -> None:
    """It would take three times as long."""
    code = (
        "import sys; from app.cli import main; main(['--help'], standalone_mode=False);"
        "print([m for m in ('app.client', 'app.settings', 'redis', 'celery') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_client_needs_neither_redis_nor_settings() -> None:
    code = (
        "import sys, app.commands.run, app.commands.logs, app.commands.deployments;"
        "print([m for m in ('pydantic', 'redis', 'celery', 'flask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_is_no_command_is_a_wrong_command_line() -> None:
    answer = CliRunner().invoke(main, ["lst"])
    assert (answer.exit_code, "lst" in answer.stderr) == (2, True)
