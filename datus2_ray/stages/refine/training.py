"""What decides a training: handed alike to the driver that watches it and to the workers that train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datus2_ray.config.refine import RefineConfig
from datus2_ray.engine.training.shares import Split
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.stages.refine.data import LayerMasks, ReadPairs

#: File of a segmenter, in a checkpoint and where the best one is kept.
MODEL = "model.safetensors"


@dataclass(frozen=True)
class Training:
    """Everything that decides a training; the same for every worker.

    Parameters
    ----------
    masks, start : str
        URIs of ``masks/initial/`` and of the segmenter to start from.
    parts : tuple of str
        Names of the parts.
    split : Split
        Shares 0 … workers-1 are trained on, the next as many are held out.
    threads : int
        torch threads that a worker may use on a CPU.
    epoch_steps : int
        Optimiser steps between two checkpoints.
    dtype : str
        Arithmetic of the forward passes.
    layer : LayerMasks or None
        What makes the masks that are learned, where they are not the initial ones.
    """

    config: RefineConfig
    seed: int
    images: ImagesTable
    masks: str
    start: str
    parts: tuple[str, ...]
    split: Split
    workers: int
    threads: int
    epoch_steps: int
    dtype: Literal["float32", "bfloat16"]
    layer: LayerMasks | None

    @property
    def batch_size(self) -> int:
        """Images that a worker takes in a step."""
        return self.config.batch_size // self.workers

    def read(self, share: int) -> ReadPairs:
        """Return the task that reads the pairs of a share."""
        return ReadPairs(self.images, self.masks, self.split, share, self.config.size, self.layer)
