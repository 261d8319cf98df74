"""Makes ready what a worker needs of its machine: the usher's binary, and the example image.

`python -m workers.prepare [--example] [--spool DIR]`
"""

import argparse
import errno
import fcntl
import hashlib
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from app import settings as app_settings
from workers.docker_images import EngineSummary, Images, NoEngine, NotBuilt, NotPulled

CHECKOUT = Path(__file__).resolve().parent.parent
USHER_SOURCES = Path(__file__).resolve().parent / "usher"
EXAMPLE_SOURCES = CHECKOUT / "examples" / "hello"
EXAMPLE_IMAGE = "onejob-hello:1"
REGISTRY_BASE = "python:3.12-slim"
LOCAL_BASE = "onejob-base:bookworm"
MAKE_ROOM = "free some disk space, then run this again"
SEE_WORDS = "see the system's words, then run this again"
SOURCES_LABEL = "onejob.sources"
# As the client's words carry them: no socket file, a stale one, a closed TCP port.
_NOTHING_LISTENS = ("FileNotFoundError", "ConnectionRefusedError", "Connection refused")


class Unprepared(Exception):
    """Something is missing: what, in one line, and the next step."""

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what)
        self.next_step = next_step


def install_usher(spool_root: Path) -> Path:
    """The absolute path of the usher's binary in the spool root, compiled if it is not there.

    Its name carries the digest of its content: one that running replicas have mounted is never
    changed. A link named by the sources spares the next start the compiler. Raises Unprepared.
    """
    spool_root = spool_root.resolve()
    spool_root.mkdir(parents=True, exist_ok=True)
    known = spool_root / f".usher-of-{_digest(USHER_SOURCES, platform.machine())[:16]}"
    if _intact(known.resolve()):
        return known.resolve()
    with _draft(spool_root) as draft:
        _bring_usher(draft)
        usher = spool_root / f"usher-{_content_digest(draft)}"
        if not _intact(usher):
            draft.replace(usher)
    with _draft(spool_root) as draft:
        draft.symlink_to(usher.name)
        draft.replace(known)
    return usher


def build_example(images: Images) -> bool:
    """Builds the example image unless it was built from the same sources; whether it did.

    Raises Unprepared, NotBuilt.
    """
    with (EXAMPLE_SOURCES / "Dockerfile").open() as lock:
        _wait_for(lock)  # two that start at once need not build it twice
        digest = _digest(EXAMPLE_SOURCES)
        if (images.labels(EXAMPLE_IMAGE) or {}).get(SOURCES_LABEL) == digest:
            return False
        base = _example_base(images)
        images.build(EXAMPLE_SOURCES, EXAMPLE_IMAGE, base, {SOURCES_LABEL: digest})
    return True


def find_engine(docker_host: str | None) -> tuple[Images, EngineSummary]:
    """The images of the engine of this machine, and what engine it is. Raises Unprepared."""
    try:
        images = Images(docker_host)
        engine = images.engine()
    except NoEngine as error:
        raise _no_engine(docker_host, str(error)) from error
    if engine.architecture != platform.machine():
        raise Unprepared(
            f"the engine is on {engine.architecture}, this machine is {platform.machine()}",
            "run this on the engine's own machine; a remote engine is not supported",
        )
    return images, engine


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares this machine; returns the exit code."""
    options = _arguments(argv)
    try:
        # Whoever starts us may have blocked it until we can answer.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _prepare(options.spool, options.example)
    except Unprepared as error:
        return _complain(str(error), error.next_step)
    except NotBuilt as error:
        return _complain(f"building {EXAMPLE_IMAGE} failed: {error}", "see the engine's words")
    except app_settings.SettingsError as error:
        return _complain(str(error), "set these variables, then run this again")
    except OSError as error:
        return _complain(str(error), MAKE_ROOM if error.errno == errno.ENOSPC else SEE_WORDS)
    except KeyboardInterrupt:
        return 130
    return 0


def _prepare(spool: Path | None, example: bool) -> None:
    settings = app_settings.load()
    images, engine = find_engine(settings.docker_host)
    risk = "" if engine.live_restore else "; live-restore is off: a restart of it ends the jobs"
    _say("engine", f"Docker {engine.version}, {engine.architecture}{risk}")
    _say("usher", str(install_usher(spool or settings.spool_root)))
    if example:
        built = build_example(images)
        _say("example", f"{EXAMPLE_IMAGE} {'built' if built else 'is there'}")
    images.close()


def _no_engine(docker_host: str | None, words: str) -> Unprepared:
    where = docker_host or os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"
    if "PermissionError" in words:
        what = f"the Docker engine at {where} does not let this user in"
        return Unprepared(what, "join the group docker (usermod -aG docker USER) and log in again")
    if any(word in words for word in _NOTHING_LISTENS):
        words = "nothing listens there"
    return Unprepared(
        f"no Docker engine answers at {where}: {words}",
        "start it (systemctl start docker), or use scripts/run as root, which installs one",
    )


def _bring_usher(output: Path) -> None:
    """An image brings one, compiled from the same sources; else it is compiled here."""
    if ready := os.environ.get("ONEJOB_USHER"):
        shutil.copyfile(ready, output)
        output.chmod(0o755)
    else:
        _compile_usher(output)


def _compile_usher(output: Path) -> None:
    _say("usher", "compiling")
    done = subprocess.run(
        [USHER_SOURCES / "build", output], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        words = done.stderr.strip() or f"exit code {done.returncode}"
        full = os.strerror(errno.ENOSPC) in words
        step = MAKE_ROOM if full else "apt-get install musl-tools, then again"
        raise Unprepared(f"the usher was not compiled: {words}", step)
    output.chmod(0o755)


def _example_base(images: Images) -> str:
    for tag in (REGISTRY_BASE, LOCAL_BASE):
        if images.labels(tag) is not None:
            return tag
    _say("example", f"pulling {REGISTRY_BASE}")
    try:
        images.pull(REGISTRY_BASE)
    except NotPulled as refusal:
        _say("example", f"no registry gave it; making {LOCAL_BASE} instead")
        _make_local_base(str(refusal))
        return LOCAL_BASE
    return REGISTRY_BASE


def _wait_for(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("example", f"waiting: another process makes {EXAMPLE_IMAGE}")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _make_local_base(refusal: str) -> None:
    # Its progress and its errors are for the same reader as ours.
    done = subprocess.run([CHECKOUT / "scripts" / "base-image", LOCAL_BASE], check=False)
    if done.returncode != 0:
        raise Unprepared(
            f"there is no base image for the example: {REGISTRY_BASE}: {refusal}",
            f"docker pull {REGISTRY_BASE}, or scripts/base-image (see above)",
        )


def _digest(folder: Path, *more: str) -> str:
    """Of the names and contents of a folder's files, in hexadecimal."""
    digest = hashlib.sha256()
    for word in more:
        digest.update(f"{word}\n".encode())
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _content_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _intact(usher: Path) -> bool:
    """Whether the binary is there and is what its name says: a power failure can empty a file."""
    return usher.is_file() and usher.name == f"usher-{_content_digest(usher)}"


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """A name for something that appears by one rename, or not at all."""
    draft = folder / f".draft.{secrets.token_hex(4)}"
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workers.prepare",
        description="Makes ready what a worker needs: finds the engine, compiles the usher.",
    )
    parser.add_argument("--example", action="store_true", help=f"build {EXAMPLE_IMAGE} too")
    parser.add_argument("--spool", type=Path, metavar="DIR", help="the spool root")
    return parser.parse_args(argv)


def _say(name: str, text: str) -> None:
    print(f"  {name:<11} {text}", flush=True)


def _complain(what: str, next_step: str) -> int:
    print(f"onejob: {what}\n  next: {next_step}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
