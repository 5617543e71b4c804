"""What a self-supervised training is made of: the model's size, its views, its losses and its schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lightly.utils.scheduler import cosine_schedule, cosine_warmup_schedule

from datus2_ray.core.pretrain.crops import ViewSpec


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training but its images.

    Names and values follow DINO (Caron et al., arXiv 2104.14294) and iBOT (Zhou et al., arXiv 2111.07832).

    Parameters
    ----------
    patch_size, dim, depth : int
        Of the ViT that is trained from scratch: side of a patch in pixels, width (64 a head), blocks.
    image_size : int
        Side of the square that every image is resized to once, and from which the views are cut, in pixels; from
        scratch, position embeddings are made for it.
    global_size, local_size : int
        Sides of the two large and of the small views, in pixels.
    region_area : tuple of float
        Share of the image that all its views are cut from.
    global_area, local_area : tuple of float
        Share of the region that they show.
    local_views : int
        Small views an image.
    colour : float
        How much the light of a view may change, 1 as in DINO.
    patch_objective : str
        ``masked``: the student tells the teacher's prototypes of the patches that are hidden from it (iBOT);
        ``correspondence``: of the same place in another view; ``texture``: that, and in coordinates of its own the
        colour and texture around a patch of the whole image, and its place; ``none``: DINO alone.
    prototypes, hidden_dim, bottleneck_dim : int
        Of both projection heads.
    batch_size : int
        Images a step, over all workers.
    steps, warmup_steps : int
        Optimiser steps, and those over which the learning rate rises.
    learning_rate, weight_decay : float
        Of AdamW; the learning rate is the highest one.
    temperature : float
        Of the teacher's outputs; the student's is 0.1.
    momentum : float
        Of the teacher's average at the start; it rises to 1.
    seed : int
        Of weights and views.
    """

    patch_size: int
    dim: int
    depth: int
    image_size: int
    global_size: int
    local_size: int
    region_area: tuple[float, float]
    global_area: tuple[float, float]
    local_area: tuple[float, float]
    local_views: int
    colour: float
    patch_objective: Literal["none", "masked", "correspondence", "texture"]
    prototypes: int
    hidden_dim: int
    bottleneck_dim: int
    batch_size: int
    steps: int
    warmup_steps: int
    learning_rate: float
    weight_decay: float
    temperature: float
    momentum: float
    seed: int

    def view_specs(self) -> list[ViewSpec]:
        """Give the kinds of view that an image is shown in: two large ones, then the small ones."""
        first = ViewSpec(self.global_size, self.global_area, self.colour, 1.0)
        second = ViewSpec(self.global_size, self.global_area, self.colour, 0.1)
        return [first, second, *[ViewSpec(self.local_size, self.local_area, self.colour, 0.5)] * self.local_views]

    def learning_rate_at(self, step: int) -> float:
        """Give a step's learning rate: a linear rise, then a cosine down to a hundredth."""
        rate: float = cosine_warmup_schedule(
            step, self.steps, self.learning_rate, self.learning_rate / 100, self.warmup_steps, 0.0
        )
        return rate

    def momentum_at(self, step: int) -> float:
        """Give the momentum of the teacher's average in a step."""
        momentum: float = cosine_schedule(step, self.steps, self.momentum, 1.0)
        return momentum
