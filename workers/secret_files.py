"""The files of secrets, for replicas: in memory of the engine's host, never on its disk.

    <secrets root>/<node>/                  only its user can enter
    <secrets root>/<node>/<replica>/<n>/    mounted read-only, for the n-th mount of a secret

An attempt's directory appears by one rename, before its container is created, and goes after it.
"""

import os
import secrets
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from workers.spool import remove_tree

IN_MEMORY = ("tmpfs", "ramfs")
Folder = Mapping[str, bytes]  # what is in each file, by its name


class Unfit(OSError):
    """The secrets root is no place for secrets: the text says why, and names the setting."""


class SecretFiles:
    """One attempt's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def folder(self, number: int) -> Path:
        """The directory of the n-th mount."""
        return self.path / str(number)

    def made_at(self) -> datetime | None:
        """When they were made, None if they are gone."""
        with suppress(OSError):
            return datetime.fromtimestamp(self.path.stat(follow_symlinks=False).st_mtime, UTC)
        return None

    def make(self, folders: Sequence[Folder]) -> None:
        """Makes a directory for each, all or nothing. Raises OSError, Unfit.

        What another supervisor of the same attempt made is left as it is.
        """
        if not folders or self.path.is_dir():
            return
        _check(self.path.parent)
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        draft.mkdir(mode=0o700)
        try:
            for number, folder in enumerate(folders):
                _fill(draft / str(number), folder)
            draft.chmod(0o755)  # the image's user is not known here
            draft.rename(self.path)
        except OSError:
            remove_tree(draft)
            if not self.path.is_dir():
                raise

    def remove(self) -> None:
        """Removes them. Gone already is fine."""
        remove_tree(self.path)


class SecretRoot:
    """The files of all attempts of one node; made when the first of them needs it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def attempt(self, replica: str) -> SecretFiles:
        """The files of one replica, there or not."""
        return SecretFiles(self.path / replica)

    def replicas(self) -> list[str]:
        """Names of the replicas that have files."""
        return sorted(p.name for p in self._paths() if not p.name.startswith("."))

    def remove_drafts(self, older_seconds: float) -> list[str]:
        """Removes what a killed worker left of a directory it was making; returns the names."""
        removed = []
        for path in self._paths():
            with suppress(FileNotFoundError):  # it was finished, or another sweep was faster
                old = path.stat(follow_symlinks=False).st_mtime < time.time() - older_seconds
                if path.name.startswith(".") and old:
                    remove_tree(path)
                    removed.append(path.name)
        return removed

    def _paths(self) -> list[Path]:
        with suppress(FileNotFoundError):
            return list(self.path.iterdir())
        return []


def _check(node_root: Path) -> None:
    """Makes the node's directory and the one above it, if need be. Raises OSError, Unfit."""
    for path in (node_root.parent, node_root):
        path.mkdir(mode=0o700, exist_ok=True)
        there = path.lstat()
        # Others may write where it lies, as in /dev/shm: what they put there is not used.
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
            raise Unfit(f"{path} (ONEJOB_SECRETS_ROOT) is no directory of this user")
        if stat.S_IMODE(there.st_mode) != 0o700:
            path.chmod(0o700)
    kind = _filesystem(node_root)
    if kind not in IN_MEMORY:
        raise Unfit(f"{node_root} (ONEJOB_SECRETS_ROOT) is not in memory, but on {kind}")


def _filesystem(path: Path) -> str:
    """The kind of filesystem that a path is on, by the kernel's word."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        if mount.split()[2] == number:
            return filesystem.split()[0]
    return "an unknown filesystem"


def _fill(path: Path, folder: Folder) -> None:
    path.mkdir()
    for name, content in folder.items():
        with (path / name).open("xb") as file:
            file.write(content)
        (path / name).chmod(0o444)
    path.chmod(0o755)
