"""Settings of pretrain, which trains a backbone without labels."""

from __future__ import annotations

from pydantic import model_validator

from datus2_ray.config.base import Dtype, StageConfig, check_fit, expert, setting
from datus2_ray.core.pretrain.recipe import Recipe


class PretrainConfig(Recipe, StageConfig):
    """Pretrain: images → backbone."""

    dtype: Dtype = expert("auto", "Arithmetic of the forward passes; auto is bfloat16 on a GPU and float32 on a CPU.")
    held_out: int = expert(128, "Images that are not trained on, for the score without labels.", ge=0)
    checkpoint_steps: int = expert(500, "Steps between two checkpoints.", ge=1)
    memory: float = expert(4.0, "GB of decoded images that a worker keeps; more are streamed, pass after pass.", gt=0)
    workers: int | None = setting(
        None, "Training workers; default one per GPU, else one. Another number changes the rounding.", ge=1
    )

    @model_validator(mode="after")
    def _check_fit(self) -> PretrainConfig:
        check_fit(
            (
                bool(self.workers and self.batch_size % self.workers),
                f"batch_size = {self.batch_size} must be a multiple of workers = {self.workers}",
                "another pretrain.batch_size or pretrain.workers",
            ),
        )
        return self
