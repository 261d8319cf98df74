"""What `onejob up` shows: plain lines, and one live line on a terminal."""

import sys
import time
from typing import TextIO

_COLOURS = {"good": "32", "bad": "31", "dim": "2", "bold": "1"}


class Story:
    """Writes the story of a start; colours and the live line on a terminal only."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._terminal = self._out.isatty()
        self._live = ""

    def title(self, text: str) -> None:
        """A heading."""
        self._write(self.paint(text, "bold"))

    def step(self, name: str, text: str) -> None:
        """One thing that is done, with its name in a column."""
        self._write(f"  {name:<11} {text}")

    def error(self, text: str) -> None:
        """What went wrong, and the next step."""
        self._write(self.paint(text, "bad"))

    def live(self, text: str) -> None:
        """The live line, rewritten in place; on a terminal only."""
        if self._terminal:
            self._out.write(f"\r\x1b[2K  {text}")
            self._out.flush()
            self._live = text

    def quiet(self) -> None:
        """Takes the live line away."""
        if self._live:
            self._out.write("\r\x1b[2K")
            self._out.flush()
            self._live = ""

    def paint(self, text: str, how: str) -> str:
        """The text in a colour, on a terminal."""
        return f"\x1b[{_COLOURS[how]}m{text}\x1b[0m" if self._terminal else text

    def _write(self, line: str) -> None:
        self.quiet()
        self._out.write(line + "\n")
        self._out.flush()


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __str__(self) -> str:
        return f"{time.monotonic() - self._began:.1f} s"
