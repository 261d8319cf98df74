"""Small files of ours that have to survive a power failure: there whole, or not at all."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Torn(OSError):
    """The file is there, and is not what was written; the text has the next step."""


def replace(path: Path, text: str) -> None:
    """Writes the file whole, in place of what was there. Raises OSError."""
    with _written(path, text) as draft:
        draft.replace(path)


def make_once(path: Path, text: str) -> None:
    """Writes the file unless it is there. Of many that do so at once, one has its way."""
    with _written(path, text) as draft, suppress(FileExistsError):
        os.link(draft, path)


def read(path: Path, whole: Callable[[str], bool], next_step: str) -> str:
    """The file's text. Raises OSError; Torn unless it is `whole`."""
    text = path.read_text(errors="replace").strip()
    if not whole(text):
        raise Torn(f"{path} is torn, as by a power failure: it says {text[:60]!r}; {next_step}")
    return text


@contextmanager
def _written(path: Path, text: str) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("x") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
