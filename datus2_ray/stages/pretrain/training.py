"""What decides a self-supervised training: handed alike to the driver and to the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datus2_ray.config.stages import PretrainConfig
from datus2_ray.engine.training.shares import Split
from datus2_ray.sources.images_table import ImagesTable

#: File of a backbone, in a checkpoint and where the last one is kept.
MODEL = "backbone.safetensors"


@dataclass(frozen=True)
class Pretrain:
    """Everything that decides a training, and where its images are.

    Parameters
    ----------
    config : PretrainConfig
        Its objective is resolved.
    start : str or None
        Backbone to go on from, as :func:`~vit.load_backbone` takes it; None trains from scratch.
    parts : tuple of str
        Names of the parts.
    lanes : Split
        Deals the images into as many lanes as a batch has images, and what is held out into as many more. A step takes
        one image of every lane, so that a batch is the same however many workers hold the lanes.
    held : bool
        Whether a worker keeps its decoded images; else they are streamed, shuffled within a buffer.
    threads : int
        torch threads that a worker may use on a CPU.
    dtype : str
        Arithmetic of the forward passes.
    scalars : str
        URI of the folder for TensorBoard.
    """

    config: PretrainConfig
    seed: int
    start: str | None
    images: ImagesTable
    parts: tuple[str, ...]
    lanes: Split
    held: bool
    workers: int
    threads: int
    dtype: Literal["float32", "bfloat16"]
    scalars: str

    def lanes_of(self, rank: int) -> range:
        """Return the lanes that a worker holds."""
        each = self.config.batch_size // self.workers
        return range(rank * each, (rank + 1) * each)
