"""Settings of refine, which trains a segmenter on the initial masks."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from datus2_ray.config.base import Dtype, StageConfig, check_fit, setting


class RefineConfig(StageConfig):
    """Refine: images + initial masks → segmenter."""

    enabled: bool = setting(True, "Refine the masks.")
    network: Literal["deeplabv3", "linear"] = setting(
        "linear", "Network: DeepLabV3 on pixels, or a linear layer on the tokens of the frozen backbone."
    )
    encoder: str | None = setting(
        None, "Encoder of DeepLabV3; default resnet50 on a GPU, resnet18 on a CPU.", group="expert"
    )
    encoder_start: str = setting(
        "random",
        "Weights of the encoder: random, a file or s3:// URI, a timm name, or supervised (the report says so).",
        group="expert",
    )
    output_stride: Literal[8, 16] = setting(16, "Pixels per cell of the last feature map of DeepLabV3.", group="expert")
    size: int = setting(224, "Side in pixels of the square that the network sees.", ge=64)
    batch_size: int = setting(8, "Images per optimiser step, over all workers.", ge=2, group="expert")
    steps: int = setting(400, "Optimiser steps.", ge=1)
    learning_rate: float = setting(1e-3, "Max learning rate of AdamW.", gt=0, group="expert")
    weight_decay: float = setting(1e-4, "Weight decay of AdamW.", ge=0, group="expert")
    held_out: float = setting(
        0.1, "Share of the images whose loss chooses the checkpoint.", gt=0, le=0.5, group="expert"
    )
    loss: Literal["cross-entropy", "generalised"] = setting(
        "generalised", "Loss; the generalised cross entropy tolerates wrong labels better and learns more slowly."
    )
    teacher: float = setting(
        0.97, "Momentum of an averaged segmenter, which is the one that is kept; 0 for none.", ge=0, lt=1
    )
    dtype: Dtype = setting(
        "auto", "Arithmetic of the training; auto is bfloat16 on a GPU and float32 on a CPU.", group="expert"
    )
    mirror: bool = setting(True, "Predict the mean of the logits of an image and its mirror image.", decides="predict")
    min_images: int = setting(20, "With fewer images than this, masks are not refined.", ge=2, group="expert")
    workers: int | None = setting(None, "Training workers; default one per GPU, else up to two.", ge=1, group="expert")

    @model_validator(mode="after")
    def _check_fit(self) -> RefineConfig:
        given = [name for name in ("encoder", "encoder_start") if getattr(self, name) not in (None, "random")]
        check_fit(
            (
                self.network == "deeplabv3" and self.size % self.output_stride != 0,
                f"size = {self.size} is no multiple of output_stride = {self.output_stride}",
                f"refine.size={-(-self.size // self.output_stride) * self.output_stride}",
            ),
            (
                self.network == "linear" and bool(given),
                f"{', '.join(given)}: network = linear reads the tokens of the run's backbone",
                "refine.network=deeplabv3, or leave the encoder out",
            ),
        )
        return self
