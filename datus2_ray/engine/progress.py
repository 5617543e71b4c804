"""The one line a stage: done/total, rate, errors, time left; rewritten on a terminal, repeated in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

#: Seconds between two lines where the output is a log and not a terminal.
LOG_INTERVAL = 15.0


class Progress:
    """Shows how far a stage is.

    Parameters
    ----------
    stage : str
        Name of the stage.
    total : int
        Things to do.
    unit : str
        What they are, for example ``images``.
    stream : TextIO
        Where the line goes; standard error, so that standard output stays free for results.
    """

    def __init__(self, stage: str, total: int, unit: str = "images", stream: TextIO | None = None) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._start = time.monotonic()
        self._last = self._start
        self.done = 0
        self.errors = 0

    def advance(self, done: int, errors: int = 0, note: str = "") -> None:
        """Count things as done (of which some failed) and show the line where it is due."""
        self.done += done
        self.errors += errors
        now = time.monotonic()
        if self._terminal or now - self._last >= LOG_INTERVAL:
            self._last = now
            self._show(self._line(now, note), end="" if self._terminal else "\n")

    def tell_pass(self, number: int) -> None:
        """Show that the number of passes over all things has grown, while none of them is done yet."""
        self.advance(0, note=f"pass {number}")

    def finish(self, note: str = "") -> float:
        """Show the last line and give the stage's seconds."""
        seconds = time.monotonic() - self._start
        rate = f"{self.done / seconds:.1f} {self.unit}/s" if seconds > 0 and self.done else ""
        parts = [f"{self.done:,} {self.unit}", rate, self._error_text(), note, f"{seconds:.1f} s"]
        self._show(f"{self.stage:<9} {', '.join(part for part in parts if part)}", end="\n")
        return seconds

    def skip(self, note: str) -> None:
        """Say that there was nothing to do."""
        self._show(f"{self.stage:<9} {note}", end="\n")

    def _line(self, now: float, note: str) -> str:
        if not self.done:
            return f"{self.stage:<9} {self.total:,} {self.unit}, {note or 'starting'}"
        rate = self.done / (now - self._start) if now > self._start else 0.0
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate > 0 else ""
        parts = [
            f"{self.done:,}/{self.total:,} {self.unit}",
            f"{rate:.1f} {self.unit}/s",
            self._error_text(),
            note,
            left,
        ]
        return f"{self.stage:<9} {', '.join(part for part in parts if part)}"

    def _error_text(self) -> str:
        return f"{self.errors} error{'s' if self.errors != 1 else ''}" if self.errors else ""

    def _show(self, line: str, end: str) -> None:
        self._stream.write(f"\r\x1b[2K{line}{end}" if self._terminal else f"{line}{end}")
        self._stream.flush()
