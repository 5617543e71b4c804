"""What a self-supervised training is made of: the model's size, its views and its losses.

The settings of the command ``pretrain`` are made of these, so this module imports neither torch nor lightly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


@dataclass(frozen=True)
class ViewSpec:
    """How a kind of view is drawn.

    Parameters
    ----------
    size : int
        Side of the square view, in pixels.
    area : tuple of float
        Smallest and largest share of the region that it shows.
    colour : float
        Strength of the change of light: brightness and contrast by up to 0.4 times it, saturation by 0.2, hue by a
        tenth of a turn; one view in five (times it) is grey.
    blur : float
        Share of the views that are blurred.
    """

    size: int
    area: tuple[float, float]
    colour: float
    blur: float


#: Marks fields that help lists apart, for experts (:mod:`datus2_ray.config.base`).
EXPERT: dict[str, Any] = {"group": "expert"}


class Recipe(BaseModel):
    """Everything that decides a training but its images and its seed.

    Names and values follow DINO (Caron et al., arXiv 2104.14294) and iBOT (Zhou et al., arXiv 2111.07832).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patch_size: int = Field(
        8, ge=4, description="Side of a patch in pixels; like dim and depth used only from scratch."
    )
    dim: int = Field(192, ge=64, multiple_of=64, description="Width of the ViT; its heads are 64 wide.")
    depth: int = Field(12, ge=1, description="Transformer blocks.")
    image_size: int = Field(
        224, ge=32, description="Side in pixels of the square that views are cut from.", json_schema_extra=EXPERT
    )
    global_size: int = Field(160, ge=16, description="Side in pixels of the two large views.", json_schema_extra=EXPERT)
    local_size: int = Field(64, ge=8, description="Side in pixels of the small views.", json_schema_extra=EXPERT)
    region_area: tuple[float, float] = Field(
        (0.3, 1.0), description="Share of the image that its views are cut from.", json_schema_extra=EXPERT
    )
    global_area: tuple[float, float] = Field(
        (0.4, 1.0), description="Share of the region that a large view shows.", json_schema_extra=EXPERT
    )
    local_area: tuple[float, float] = Field(
        (0.05, 0.4), description="Share of the region that a small view shows.", json_schema_extra=EXPERT
    )
    local_views: int = Field(6, ge=0, description="Small views per image.", json_schema_extra=EXPERT)
    colour: float = Field(
        0.5, ge=0, le=1, description="Strength of the colour jitter; 1 as in DINO.", json_schema_extra=EXPERT
    )
    patch_objective: Literal["auto", "none", "masked", "correspondence", "texture"] = Field(
        "auto",
        description="What patches learn: nothing; what is hidden (iBOT); the same place in another view; that and "
        "texture. auto: texture from scratch, correspondence from a backbone.",
        json_schema_extra=EXPERT,
    )
    prototypes: int = Field(4096, ge=2, description="Outputs of the projection heads.", json_schema_extra=EXPERT)
    hidden_dim: int = Field(1024, ge=8, description="Width of the projection heads.", json_schema_extra=EXPERT)
    bottleneck_dim: int = Field(
        256, ge=8, description="Width before the last layer of the projection heads.", json_schema_extra=EXPERT
    )
    batch_size: int = Field(256, ge=2, description="Images per step, over all workers.")
    steps: int = Field(20_000, ge=1, description="Optimiser steps.")
    warmup_steps: int = Field(
        1_000, ge=0, description="Steps over which the learning rate rises.", json_schema_extra=EXPERT
    )
    learning_rate: float = Field(1e-3, gt=0, description="Max learning rate of AdamW.")
    weight_decay: float = Field(0.04, ge=0, description="AdamW's weight decay.", json_schema_extra=EXPERT)
    temperature: float = Field(
        0.04,
        ge=0.02,
        lt=0.1,
        description="Temperature of the teacher's outputs; the student's is 0.1.",
        json_schema_extra=EXPERT,
    )
    momentum: float = Field(
        0.996,
        ge=0,
        lt=1,
        description="Momentum of the averaged teacher at the start; rises to 1.",
        json_schema_extra=EXPERT,
    )

    @model_validator(mode="after")
    def _views_fit(self) -> Self:
        for name in ("image_size", "global_size", "local_size"):
            if getattr(self, name) % self.patch_size:
                nearest = max(1, round(getattr(self, name) / self.patch_size)) * self.patch_size
                raise ValueError(
                    f"{name} must be a multiple of the patch size {self.patch_size}: set pretrain.{name}={nearest}"
                )
        for name in ("region_area", "global_area", "local_area"):
            smallest, largest = getattr(self, name)
            if not 0 < smallest <= largest <= 1:
                raise ValueError(f"{name} must be two rising shares in (0, 1]")
        if self.warmup_steps > self.steps:
            raise ValueError("warmup_steps must not exceed steps")
        return self

    def resolve_objective(self, *, from_scratch: bool) -> Self:
        """Replace ``auto``: a backbone's tokens hold more than texture already, and would have to make room for it."""
        objective = "texture" if from_scratch else "correspondence"
        return self if self.patch_objective != "auto" else self.model_copy(update={"patch_objective": objective})

    def view_specs(self) -> list[ViewSpec]:
        """Return the kinds of view that an image is shown in: two large ones, then the small ones."""
        first = ViewSpec(self.global_size, self.global_area, self.colour, 1.0)
        second = ViewSpec(self.global_size, self.global_area, self.colour, 0.1)
        return [first, second, *[ViewSpec(self.local_size, self.local_area, self.colour, 0.5)] * self.local_views]
