"""What a training is: all that decides it, handed alike to the driver that watches and the workers that train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datus2_ray.engine.training.shares import Split
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.stages.refine.data import ReadPairs

#: File of a segmenter, in a checkpoint and where the best one is kept.
MODEL = "model.safetensors"


@dataclass(frozen=True)
class Training:
    """Everything that decides a training; the same for every worker.

    Parameters
    ----------
    images : ImagesTable
        The run's images.
    masks, start : str
        URIs of ``masks/initial/`` and the segmenter to start from.
    parts : tuple of str
        Names of the parts.
    split : Split
        Which image belongs to which worker, and which are held out.
    seed : int
        The run's seed.
    size : int
        Side of the square images, in pixels.
    workers, threads : int
        Training workers, and torch threads each of them may use on a CPU.
    batch_size : int
        Images a worker takes in a step.
    steps, epoch_steps : int
        Optimiser steps in all, and those between two checkpoints.
    learning_rate, weight_decay : float
        Of AdamW; the learning rate is the highest one.
    exponent : float
        Of the generalised cross entropy; 0 for the cross entropy.
    balance : bool
        Whether classes are weighed by their pixels.
    teacher : float
        Momentum of the averaged segmenter; 0 for none.
    rounds : int
        Parts of the steps; the labels of each but the first are made by the segmenter that the last one ended with.
    confidence : float
        Least probability of such a label.
    dtype : str
        Arithmetic of the forward passes.
    backbone : str
        Name, file or URI of the run's backbone, whose tokens a token segmenter reads.
    """

    images: ImagesTable
    masks: str
    start: str
    parts: tuple[str, ...]
    split: Split
    seed: int
    size: int
    workers: int
    threads: int
    batch_size: int
    steps: int
    epoch_steps: int
    learning_rate: float
    weight_decay: float
    exponent: float
    balance: bool
    teacher: float
    rounds: int
    confidence: float
    dtype: Literal["float32", "bfloat16"]
    backbone: str

    def round_of(self, step: int) -> int:
        """Give the round of a step, both counted from 0."""
        return step * self.rounds // self.steps

    def read(self, share: int) -> ReadPairs:
        """Say how a share is read."""
        return ReadPairs(self.images, self.masks, self.split, share, self.size)
