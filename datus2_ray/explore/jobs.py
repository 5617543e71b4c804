"""Commands that the page starts, each a process of its own, so that Ray's and torch's memory is not the server's."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

from datus2_ray.config.export import FormatName
from datus2_ray.errors import UsageError
from datus2_ray.store.run_folder import RunFolder


def _export(format_name: str, run: str) -> list[str]:
    return ["export", run, "--format", format_name]


#: The arguments of `datus2` by what the page asks for, given the URI of the run.
COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "teach": lambda run: ["name", run, "--teach"],
    **{f"export-{name}": partial(_export, name) for name in get_args(FormatName)},
}


class Jobs:
    """Starts commands on a run, one at a time, and says how they go; `log` is the file that they print to."""

    def __init__(
        self, run: RunFolder, log: Path, program: tuple[str, ...] = (sys.executable, "-m", "datus2_ray")
    ) -> None:
        self._run, self._log, self._program = run, log, program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._name = ""

    def start(self, name: str) -> None:
        """Start a command; raise a UsageError if there is no such command or one is under way."""
        if name not in COMMANDS:
            raise UsageError(f"there are {', '.join(COMMANDS)}")
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                raise UsageError(f"{self._name} is under way; wait until it ends")
            self._name = name
            command = [*self._program, *COMMANDS[name](self._run.uri)]
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def state(self) -> dict[str, Any]:
        """Return what was started last, ``idle``, ``running``, ``done`` or ``failed``, and its last line."""
        with self._lock:
            if self._process is None:
                return {"do": "", "state": "idle", "line": ""}
            code = self._process.poll()
            state = "running" if code is None else "done" if code == 0 else "failed"
            text = self._log.read_bytes()[-20_000:].decode(errors="replace").replace("\r", "\n")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            errors = [line for line in lines if line.startswith("error: ")]
            return {"do": self._name, "state": state, "line": (errors or lines or [""])[-1][:300]}

    def stop(self) -> None:
        """End a command that is under way; the run folder stays whole, and the next start goes on."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
                self._process.wait(30)
