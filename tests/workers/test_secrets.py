"""What a replica is given by name: values, files in memory, shared volumes, a login."""

import base64
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.shared import SharedVolume
from app.ledger.secrets import Kind
from tests.api.server import SECRETS_KEY
from tests.workers.points import POINTS, STRAYS, check_done_by_the_second
from tests.workers.rig import Killed, Rig, kill_at, runs
from tests.workers.stand_ins import IMAGE
from tests.workers.test_kill_points import hooked_site
from tests.workers.test_lost_nodes import SECONDS, silent
from workers import actions, prepull, secret_files
from workers.engine import Mount
from workers.secret_files import SecretRoot, Unfit

HUSH = b"hunter2-hush\0\xff"
TEXT = "hunter2-hush"
OTHER_KEY = base64.urlsafe_b64encode(b"another key of these same tests ").decode()
FILES = {"a.pem": base64.b64encode(HUSH).decode(), "b.pem": base64.b64encode(b"b").decode()}
ENV = [
    {"name": "PLAIN", "value_or_reference_to_secret": "token"},
    {"name": "TOKEN", "type": "secret", "value_or_reference_to_secret": "token"},
]
MOUNTS = [
    {"type": "secret", "mount_path": "/all", "secret_name": "files"},
    {"type": "secret", "mount_path": "/one", "secret_name": "files", "file_names": ["b.pem"]},
]


def needing(rig: Rig, **changes: Any) -> None:
    """Gives the deployment what it needs of secrets."""
    members = {"image": IMAGE, "exposed_port": 8080, "env": ENV, "volume_mounts": MOUNTS}
    settings = changes.pop("container_registry_settings", {})
    rig.respec(containers=[members | changes], container_registry_settings=settings)


@pytest.fixture
def rig(redis_url: str, tmp_path: Path, quick: None) -> Iterator[Rig]:
    """A node with a key, and a deployment that needs a secret and a file-secret."""
    rig = Rig(redis_url, tmp_path / "spool", secrets_key=SECRETS_KEY)
    rig.ledger.secrets.create(Kind.SECRET, "token", TEXT, {})
    rig.ledger.secrets.create(Kind.FILE_SECRET, "files", FILES, {})
    needing(rig)
    yield rig
    rig.close()


def files(rig: Rig) -> Path:
    return rig.secret_root.path / rig.replica()


def test_variables_have_values_and_mounts_are_of_files_in_memory(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after engine.start")
    spec = rig.engine.spec(rig.replica())
    assert (spec.env["PLAIN"], spec.env["TOKEN"]) == ("token", TEXT)
    made = {m.target: m for m in spec.mounts}
    assert made["/all"] == Mount("bind", str(files(rig) / "0"), "/all", read_only=True)
    assert made["/one"] == Mount("bind", str(files(rig) / "1"), "/one", read_only=True)
    assert {p.name: p.read_bytes() for p in (files(rig) / "0").iterdir()} == {
        "a.pem": HUSH,
        "b.pem": b"b",
    }
    assert [p.name for p in (files(rig) / "1").iterdir()] == ["b.pem"]


def test_only_its_user_gets_to_the_files_but_any_user_of_the_image_can_read_them(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after engine.start")
    modes = {
        rig.secret_root.path.parent: 0o700,
        rig.secret_root.path: 0o700,
        files(rig): 0o755,
        files(rig) / "0": 0o755,
        files(rig) / "0" / "a.pem": 0o444,
    }
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in modes} == modes


def test_they_are_gone_when_the_job_is_over(rig: Rig) -> None:
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    rig.check_nothing_left()


def test_values_stand_in_no_label_no_spool_no_log_and_no_repr(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    rig.script = runs
    rig.submit()
    rig.killed_at("after engine.start")
    spec = rig.engine.spec(rig.replica())
    assert TEXT not in repr(spec.labels)
    assert TEXT not in repr(spec)
    spool = rig.root.attempt(rig.replica()).path
    assert not any(TEXT.encode() in path.read_bytes() for path in spool.iterdir() if path.is_file())
    assert TEXT not in caplog.text
    assert TEXT not in repr(rig.ledger.jobs.view(rig.uid, "j1"))


# -- what is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (Kind.SECRET, "token", "there is no secret 'token' any more"),
        (Kind.FILE_SECRET, "files", "there is no file-secret 'files' any more"),
    ],
)
def test_one_that_was_deleted_fails_the_next_job_by_its_name(
    rig: Rig, kind: Kind, name: str, words: str
) -> None:
    rig.ledger.secrets.delete(kind, name, force=True)
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "start_failed")
    assert words in (rig.job().detail or "")
    assert TEXT not in (rig.job().detail or "")
    rig.check_nothing_left()


def test_a_file_that_its_secret_lacks_is_named(rig: Rig) -> None:
    needing(rig, volume_mounts=[MOUNTS[1] | {"file_names": ["b.pem", "c.pem"]}])
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "start_failed")
    assert "'files' has no file 'c.pem'" in (rig.job().detail or "")


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_a_machine_without_the_key_is_no_fault_of_the_job(rig: Rig, key: str | None) -> None:
    rig.submit()
    site = rig.site(secrets_key=key)
    rig.supervise(site=site)
    assert rig.job().state in ("queued", "dispatched")
    assert rig.job().attempt <= 1
    assert not rig.engine.made
    assert any("ONEJOB_SECRETS_KEY" in str(v) for v in vars(site.fitness).values())
    assert rig.root.replicas() == rig.secret_root.replicas() == []


# -- killed, and left behind -----------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_the_next_one_ends_it_and_nothing_is_left(rig: Rig, point: str) -> None:
    rig.submit()
    rig.killed_at(point)
    rig.lapse()
    rig.supervise()
    check_done_by_the_second(rig)


def test_files_come_before_the_container_and_go_between_it_and_its_directory(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "FRESH_SECONDS", 600)  # who is slow confirms once more
    passed: list[str] = []
    rig.submit()
    rig.supervise(site=rig.site(passed.append))
    order = [
        *("after attempts.confirm", "before secrets.make", "after secrets.make"),
        *("before engine.create", "after engine.remove", "before secrets.remove"),
        *("after secrets.remove", "before spool.remove"),
    ]
    assert [point for point in passed if point in order][: len(order)] == order


def test_what_no_attempt_needs_is_removed_and_what_one_needs_is_kept(rig: Rig) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after engine.start")
    forgotten = rig.secret_root.attempt(rig.replica("forgotten"))
    forgotten.make([{"a": b"x"}])
    rig.upkeep().remove_dangling()
    assert rig.secret_root.replicas() == [rig.replica()]


def test_what_a_killed_worker_was_making_is_removed_in_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    rig.submit()
    with monkeypatch.context() as patch:
        patch.setattr(secret_files, "_fill", killed)
        with pytest.raises(Killed):
            rig.supervise()
    (draft,) = rig.secret_root.path.iterdir()
    assert draft.name.startswith(f".{rig.replica()}.")
    rig.upkeep().remove_dangling()
    assert draft.exists()  # it may be somebody else's, who is just making it
    long_ago = (datetime.now(UTC) - timedelta(minutes=11)).timestamp()
    os.utime(draft, (long_ago, long_ago))
    rig.upkeep().remove_dangling()
    assert list(rig.secret_root.path.iterdir()) == []


@pytest.mark.parametrize("point", STRAYS)
def test_a_stray_takes_its_files_along(rig: Rig, point: str) -> None:
    rig.script = runs
    rig.submit()
    rig.killed_at("after attempts.advance", time=2)
    silent(rig)
    rig.ledger.nodes.lose(rig.node, SECONDS, 1, False)
    rig.ledger.nodes.announce(rig.node, {})
    with pytest.raises(Killed):
        rig.upkeep(hooked_site(rig, kill_at(point))).remove_strays()
    rig.upkeep().remove_strays()
    rig.upkeep().remove_dangling()
    rig.check_nothing_left()


# -- where files may lie ---------------------------------------------------------------------------


def test_a_root_on_a_disk_is_refused(tmp_path: Path) -> None:
    root = SecretRoot(tmp_path / "secrets" / "node")
    with pytest.raises(Unfit, match="is not in memory, but on"):
        root.attempt("a").make([{"f": b"x"}])
    assert root.replicas() == []


def test_a_root_that_somebody_else_made_is_refused(rig: Rig, tmp_path: Path) -> None:
    rig.secret_root.path.parent.symlink_to(tmp_path)
    with pytest.raises(Unfit, match="is no directory of this user"):
        rig.secret_root.attempt("a").make([{"f": b"x"}])
    rig.secret_root.path.parent.unlink()


def test_what_another_supervisor_made_is_left_as_it_is(rig: Rig) -> None:
    made = rig.secret_root.attempt("a")
    made.make([{"f": b"first"}])
    made.make([{"f": b"second"}])
    assert (made.folder(0) / "f").read_bytes() == b"first"


def test_without_files_nothing_is_made(rig: Rig) -> None:
    rig.secret_root.attempt("a").make([])
    assert not rig.secret_root.path.parent.exists()


# -- shared volumes --------------------------------------------------------------------------------

SHARED = [{"type": "shared", "mount_path": "/data", "volume_id": "data"}]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_shared_volume_is_mounted_as_its_operator_says(
    rig: Rig, tmp_path: Path, read_only: bool
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    rig.volumes["data"] = SharedVolume(path=str(tmp_path / "link"), read_only=read_only)
    needing(rig, volume_mounts=SHARED, env=[])
    rig.script = runs
    rig.submit()
    rig.killed_at("after engine.start")
    expected = Mount("bind", str(tmp_path / "real"), "/data", read_only)
    assert expected in rig.engine.spec(rig.replica()).mounts


@pytest.mark.parametrize("there", [None, "missing", "file", "loop"])
def test_one_that_this_machine_lacks_fails_the_job_by_its_name(
    rig: Rig, tmp_path: Path, there: str | None
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    if there:
        rig.volumes["data"] = SharedVolume(path=str(tmp_path / there))
    needing(rig, volume_mounts=SHARED, env=[])
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "start_failed")
    assert "shared volume 'data'" in (rig.job().detail or "")
    assert not rig.engine.made


# -- logins ----------------------------------------------------------------------------------------

PRIVATE = {"is_private": True, "credentials": {"name": "own"}}
OWN = {"name": "own", "type": "verda", "username": "u", "access_token": TEXT}


def test_an_image_is_asked_for_with_the_deployments_credentials(rig: Rig) -> None:
    rig.ledger.secrets.create(Kind.CREDENTIALS, "own", OWN, {})
    needing(rig, container_registry_settings=PRIVATE)
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("succeeded", "exit_0")
    prepull.pull(rig.site(), rig.uid, 1)
    for login in rig.engine.logins[-2:]:
        assert login is not None
        assert login.ask() == ("u", TEXT)
        assert TEXT not in repr(login)
    assert rig.engine.logins[-1] == rig.engine.logins[-2]


def test_without_credentials_it_is_asked_for_as_anybody(rig: Rig) -> None:
    rig.submit()
    rig.supervise()
    assert rig.engine.logins == [None]


def test_credentials_that_were_deleted_fail_the_next_job(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    needing(rig, container_registry_settings=PRIVATE)
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "start_failed")
    assert "no registry credential 'own' any more" in (rig.job().detail or "")
    prepull.pull(rig.site(), rig.uid, 1)
    assert "no registry credential 'own' any more" in caplog.text


def test_credentials_of_another_registry_are_not_sent(rig: Rig) -> None:
    rig.ledger.secrets.create(Kind.CREDENTIALS, "own", OWN | {"type": "ghcr"}, {})
    needing(rig, container_registry_settings=PRIVATE)
    rig.submit()
    rig.supervise()
    assert rig.fate() == ("failed", "image_denied")
    assert re.search("'own' is for ghcr.io, not for docker.io", rig.job().detail or "")
    assert rig.engine.logins == []


def test_a_changed_credential_is_another_login(rig: Rig) -> None:
    needing(rig, container_registry_settings=PRIVATE)
    for token in ("first", "second"):
        rig.ledger.secrets.create(Kind.CREDENTIALS, "own", OWN | {"access_token": token}, {})
        prepull.pull(rig.site(), rig.uid, 1)
        rig.ledger.secrets.delete(Kind.CREDENTIALS, "own", force=True)
    first, second = rig.engine.logins
    assert first != second
    assert first is not None
    assert replace(first, ask=lambda: ("", "")) == first
