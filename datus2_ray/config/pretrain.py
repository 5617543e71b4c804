"""Settings of pretrain, which trains a backbone without labels."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from datus2_ray.config.base import Dtype, StageConfig, check_fit, setting


class PretrainConfig(StageConfig):
    """Pretrain: images → backbone."""

    patch_size: int = setting(8, "Side of a patch in pixels; like dim and depth used only from scratch.", ge=4)
    dim: int = setting(192, "Width of the ViT; its heads are 64 wide.", ge=64, multiple_of=64)
    depth: int = setting(12, "Transformer blocks.", ge=1)
    image_size: int = setting(224, "Side in pixels of the square that views are cut from.", ge=32, group="expert")
    global_size: int = setting(160, "Side in pixels of the two large views.", ge=16, group="expert")
    local_size: int = setting(64, "Side in pixels of the small views.", ge=8, group="expert")
    region_area: tuple[float, float] = setting(
        (0.3, 1.0), "Share of the image that its views are cut from.", group="expert"
    )
    global_area: tuple[float, float] = setting(
        (0.4, 1.0), "Share of the region that a large view shows.", group="expert"
    )
    local_area: tuple[float, float] = setting(
        (0.05, 0.4), "Share of the region that a small view shows.", group="expert"
    )
    local_views: int = setting(6, "Small views per image.", ge=0, group="expert")
    colour: float = setting(0.5, "Strength of the colour jitter; 1 as in DINO.", ge=0, le=1, group="expert")
    patch_objective: Literal["auto", "none", "masked", "correspondence", "texture"] = setting(
        "auto",
        "What patches learn: nothing; what is hidden (iBOT); the same place in another view; that and "
        "texture. auto is texture from scratch, correspondence from a backbone.",
        group="expert",
    )
    prototypes: int = setting(4096, "Outputs of the projection heads.", ge=2, group="expert")
    hidden_dim: int = setting(1024, "Width of the projection heads.", ge=8, group="expert")
    bottleneck_dim: int = setting(256, "Width before their last layer.", ge=8, group="expert")
    batch_size: int = setting(256, "Images per step, over all workers.", ge=2)
    steps: int = setting(20_000, "Optimiser steps.", ge=1)
    warmup_steps: int = setting(1_000, "Steps over which the learning rate rises.", ge=0, group="expert")
    learning_rate: float = setting(1e-3, "Max learning rate of AdamW.", gt=0)
    weight_decay: float = setting(0.04, "Weight decay of AdamW.", ge=0, group="expert")
    temperature: float = setting(
        0.04, "Temperature of the teacher's outputs; the student's is 0.1.", ge=0.02, lt=0.1, group="expert"
    )
    momentum: float = setting(
        0.996, "Momentum of the averaged teacher at the start; rises to 1.", ge=0, lt=1, group="expert"
    )
    dtype: Dtype = setting(
        "auto", "Arithmetic of the forward passes; auto is bfloat16 on a GPU and float32 on a CPU.", group="expert"
    )
    held_out: int = setting(128, "Images that are not trained on, for the score without labels.", ge=0, group="expert")
    checkpoint_steps: int = setting(500, "Steps between two checkpoints.", ge=1, group="expert")
    memory: float = setting(
        4.0, "GB of decoded images that a worker keeps; more are streamed, pass after pass.", gt=0, group="expert"
    )
    workers: int | None = setting(
        None, "Training workers; default one per GPU, else one. Another number changes the rounding.", ge=1
    )

    @model_validator(mode="after")
    def _check_fit(self) -> PretrainConfig:
        for name in ("image_size", "global_size", "local_size"):
            if getattr(self, name) % self.patch_size:
                raise ValueError(f"{name} must be a multiple of the patch size {self.patch_size}")
        for name in ("region_area", "global_area", "local_area"):
            smallest, largest = getattr(self, name)
            if not 0 < smallest <= largest <= 1:
                raise ValueError(f"{name} must be two rising shares in (0, 1]")
        check_fit(
            (
                bool(self.workers and self.batch_size % self.workers),
                f"batch_size = {self.batch_size} is no multiple of workers = {self.workers}",
                "another pretrain.batch_size or pretrain.workers",
            ),
            (
                self.warmup_steps > self.steps,
                f"warmup_steps = {self.warmup_steps} exceeds steps = {self.steps}",
                f"pretrain.warmup_steps={self.steps // 20}",
            ),
        )
        return self
