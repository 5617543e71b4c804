"""The curves of a training for TensorBoard: written beside the worker, copied to storage at every checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from datus2_ray.store import storage


class Scalars:
    """Writes one event file per start of the training, below the folder that TensorBoard is pointed at.

    The ``first_step`` steps done before this start are in the files of earlier starts.
    """

    def __init__(self, uri: str, first_step: int) -> None:
        self._uri = storage.join(uri, f"events.out.tfevents.{first_step:08d}.datus2")
        self._written = first_step
        self._folder = tempfile.TemporaryDirectory()
        self._writer = SummaryWriter(self._folder.name)

    def write(self, history: Mapping[str, Sequence[float | None]]) -> None:
        """Write the new steps of a history: ``step`` and the curves, one entry per step; None is left out."""
        for row in range(self._written, len(history["step"])):
            for name, values in history.items():
                if name != "step" and (value := values[row]) is not None:
                    self._writer.add_scalar(name, value, row + 1)
        self._written = len(history["step"])
        self._writer.flush()
        (file,) = Path(self._folder.name).iterdir()
        storage.write_bytes(self._uri, file.read_bytes())
