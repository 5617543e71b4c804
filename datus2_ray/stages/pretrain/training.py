"""What a self-supervised training is: all that decides it, handed alike to the driver and to the workers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from datus2_ray.config.stages import PretrainConfig
from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.engine.training.shares import Split
from datus2_ray.sources.images_table import ImagesTable

#: File of a backbone, in a checkpoint and where the last one is kept.
MODEL = "backbone.safetensors"


@dataclass(frozen=True)
class Pretrain:
    """Everything that decides a training, and where its images are.

    Parameters
    ----------
    recipe : Recipe
        What is trained, and how.
    start : str or None
        Backbone to go on from, as :func:`~vit.load_backbone` takes it; None trains from scratch.
    images : ImagesTable
        The run's images.
    parts : tuple of str
        Names of the parts.
    lanes : Split
        Deals the images into as many lanes as a batch has images, and what is held out into as many more. A step takes
        one image of every lane, so that a batch is the same however many workers hold the lanes.
    held : bool
        Whether a worker keeps its decoded images; else they are streamed, and a batch is made of those at hand.
    workers, threads : int
        Training workers, and torch threads each of them may use on a CPU.
    checkpoint_steps : int
        Steps between two checkpoints.
    dtype : str
        Arithmetic of the forward passes.
    scalars : str
        URI of the folder for TensorBoard.
    """

    recipe: Recipe
    start: str | None
    images: ImagesTable
    parts: tuple[str, ...]
    lanes: Split
    held: bool
    workers: int
    threads: int
    checkpoint_steps: int
    dtype: Literal["float32", "bfloat16"]
    scalars: str

    def lanes_of(self, rank: int) -> range:
        """Give the lanes that a worker holds."""
        each = self.recipe.batch_size // self.workers
        return range(rank * each, (rank + 1) * each)


def recipe_of(config: PretrainConfig, seed: int, *, from_scratch: bool) -> Recipe:
    """Take the settings that make a recipe.

    Parameters
    ----------
    config : PretrainConfig
        The settings.
    seed : int
        Of the run.
    from_scratch : bool
        Whether no backbone is gone on from: then ``auto`` teaches texture. A backbone's tokens hold more than that
        already, and would have to make room.
    """
    settings = config.model_dump()
    if config.patch_objective == "auto":
        settings["patch_objective"] = "texture" if from_scratch else "correspondence"
    return Recipe(seed=seed, **{field.name: settings[field.name] for field in fields(Recipe) if field.name != "seed"})
