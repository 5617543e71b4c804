"""The progress line of a stage: rewritten on a terminal, printed every 15 seconds in a log."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

#: Seconds between two lines of a log, and between two states of a terminal's line.
LOG_INTERVAL, TERMINAL_INTERVAL = 15.0, 0.1


class Progress:
    """The progress line of a stage, on standard error so that standard output has results only.

    Of the `total` things, `done_before` were done, and `errors` failed, in earlier attempts. `memory` is what the
    largest actor took in this one, in bytes, where that is known.
    """

    memory: int | None = None

    def __init__(
        self,
        stage: str,
        total: int,
        unit: str = "images",
        stream: TextIO | None = None,
        *,
        done_before: int = 0,
        errors: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done, self.done_before, self.errors = done_before, done_before, errors
        self._stream, self._clock = stream or sys.stderr, clock
        self._terminal = self._stream.isatty()
        self._reached = False
        self._interval = TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL
        self._start = clock()
        # A terminal shows the first state at once.
        self._shown = self._start - self._interval if self._terminal else self._start

    def advance(self, done: int, errors: int = 0, note: str = "") -> None:
        """Count things as done, of which some failed, and show the line if its interval is over."""
        self.done += done
        self.errors += errors
        now = self._clock()
        if now - self._shown >= self._interval:
            self._shown = now
            self._show(self._line(now - self._start, note), end="" if self._terminal else "\n")

    def reach(self, done: int) -> None:
        """Set the number of things done, for instance training steps; the first number counts as done before."""
        if not self._reached:
            self._reached = True
            self.done = self.done_before = max(done, self.done)
        self.advance(max(0, done - self.done))

    def note_pass(self, number: int) -> None:
        """Show the number of passes over all things, none of which is done before the last pass."""
        self.advance(0, note=f"pass {number}")

    def finish(self, note: str = "") -> float:
        """Show the last line and return the seconds of this attempt."""
        seconds = self._clock() - self._start
        done = self.done - self.done_before
        before = f"{self.done_before:,} done before" if self.done_before else ""
        rate = f"{done / seconds:.1f} {self.unit}/s" if seconds > 0 and done else ""
        self.skip(_join(f"{self.done:,} {self.unit}", before, rate, self._error_text(), note, f"{seconds:.1f} s"))
        return seconds

    def skip(self, note: str) -> None:
        """Show a line of a stage that has nothing to do."""
        self._show(f"{self.stage:<9} {note}", end="\n")

    def _line(self, seconds: float, note: str) -> str:
        line: str = tqdm.format_meter(
            self.done,
            self.total,
            seconds,
            ncols=shutil.get_terminal_size().columns if self._terminal else 0,
            prefix=self.stage,
            unit=f" {self.unit}",
            postfix=_join(self._error_text(), note),
            initial=self.done_before,
        )
        return line

    def _error_text(self) -> str:
        return f"{self.errors:,} error{'s' if self.errors != 1 else ''}" if self.errors else ""

    def _show(self, line: str, end: str) -> None:
        self._stream.write(f"\r\x1b[2K{line}{end}" if self._terminal else f"{line}{end}")
        self._stream.flush()


def say(stage: str, *lines: str) -> None:
    """Show what a user should know of a stage, a line each, where its progress is shown."""
    for line in lines:
        Progress(stage, 0).skip(line)


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
