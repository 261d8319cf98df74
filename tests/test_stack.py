"""What `onejob up` keeps in its data directory, and who may use it."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.credentials import CredentialsError, load_or_make
from app.settings import load
from app.stack import InUse, Layout, Stack
from app.up import Interrupted, Interrupts


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data", 1, 2)


def test_two_can_not_use_one_data_directory(layout: Layout) -> None:
    first = Stack(layout)
    with pytest.raises(InUse, match=str(layout.data)):
        Stack(layout)
    first.stop(lambda name: None)
    Stack(layout).unlock()


def test_what_a_killed_one_left_keeps_the_directory_locked(layout: Layout) -> None:
    first = Stack(layout)
    child = first._start("sleeper", ["sleep", "60"])
    first.unlock()  # as its own end would do
    with pytest.raises(InUse):
        Stack(layout)
    child.stop()
    Stack(layout).unlock()


def test_credentials_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    assert load_or_make(path) == load_or_make(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_from_before_there_were_secrets_gets_their_key(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    made = load_or_make(path)
    older = json.loads(path.read_text())
    del older["secrets_key"]
    path.write_text(json.dumps(older))
    known = load_or_make(path)
    assert load_or_make(path) == known
    assert load({"ONEJOB_SECRETS_KEY": known.secrets_key})
    assert replace(known, secrets_key=made.secrets_key) == made


@pytest.mark.parametrize("content", ["", "{}", "[]", "nonsense"])
def test_a_spoilt_credentials_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(content)
    with pytest.raises(CredentialsError, match=r"credentials\.json"):
        load_or_make(path)


INTERRUPTED_WHILE_HELD = """
import os, signal, subprocess, sys
from app.up import Interrupted, Interrupts
interrupts = Interrupts()
try:
    with interrupts.held():
        os.kill(os.getpid(), int(sys.argv[1]))
        child = subprocess.Popen([sys.executable, "-c",
            "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)"],
            stdout=subprocess.PIPE, text=True)
        print("noted", flush=True)
except Interrupted:
    print("interrupted", child.communicate()[0].strip())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_waits_until_a_child_is_noted_and_is_not_inherited(number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_HELD, str(int(number))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["noted", "interrupted", "False"]


def test_only_one_interrupt_is_raised() -> None:
    before = {number: signal.getsignal(number) for number in (2, 15, 1)}
    interrupts = Interrupts()
    try:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        interrupts.ignore()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
