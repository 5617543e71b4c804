"""Teach from the page: `datus2 name RUN --teach` as a process of its own, so that its memory is not the server's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from datus2_ray.errors import UsageError
from datus2_ray.store.run_folder import RunFolder


class Teaching:
    """Starts the command, one at a time, and says how it goes."""

    def __init__(self, run: RunFolder) -> None:
        self._command = [sys.executable, "-m", "datus2_ray", "name", run.uri, "--teach"]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path(tempfile.mkdtemp(prefix="datus2-teach-")) / "log"

    def start(self) -> None:
        """Begin to teach; raise a UsageError if it is under way."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                raise UsageError("teaching is under way")
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def state(self) -> dict[str, Any]:
        """Return ``idle``, ``running``, ``done`` or ``failed``, and the last line that the command printed."""
        with self._lock:
            if self._process is None:
                return {"state": "idle", "line": ""}
            code = self._process.poll()
            state = "running" if code is None else "done" if code == 0 else "failed"
            text = self._log.read_bytes()[-20_000:].decode(errors="replace").replace("\r", "\n")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            errors = [line for line in lines if line.startswith("error: ")]
            return {"state": state, "line": (errors or lines or [""])[-1][:300]}

    def stop(self) -> None:
        """End a process that is under way; the run folder stays whole, and the next start goes on."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
                self._process.wait(30)
