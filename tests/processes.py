"""Processes of a Ray by the titles that it gives them, for tests that kill some of them."""

from __future__ import annotations

import contextlib

import psutil


def processes_titled(word: str, driver: int | None = None) -> list[psutil.Process]:
    """Return the processes below a driver, by default this one, whose titles hold a word; the last started comes last.

    Those that have ended in between are left out, and those whose end nobody has asked for yet.
    """
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if word in " ".join(process.cmdline()):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())
