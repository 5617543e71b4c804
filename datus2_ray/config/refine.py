"""Settings of the refinement: em, which fits a layer to tokens, and refine, which trains DeepLabV3."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from datus2_ray.config.base import Dtype, StageConfig, check_fit, expert, setting


class RefineConfig(StageConfig):
    """Refine: images + initial masks → segmenter."""

    enabled: bool = setting(True, "Refine the masks.")
    em: bool = setting(True, "Fit a linear layer on the tokens of the patches to the segments, which vote (EM).")
    network: Literal["deeplabv3", "linear"] = setting(
        "linear", "What labels the images: the layer of EM, or DeepLabV3, trained on its masks or on the initial ones."
    )
    encoder: str | None = expert(None, "Encoder of DeepLabV3; default resnet50 on a GPU, resnet18 on a CPU.")
    encoder_start: str = expert(
        "random",
        "Weights of the encoder: random, a file or s3:// URI, a timm name, or supervised (the report says so).",
    )
    output_stride: Literal[8, 16] = expert(16, "Pixels per cell of the last feature map of DeepLabV3.")
    size: int = setting(224, "Side in pixels of the square that DeepLabV3 sees.", ge=64)
    batch_size: int = expert(8, "Images per optimiser step of DeepLabV3, over all workers.", ge=2)
    steps: int = setting(400, "Optimiser steps of DeepLabV3.", ge=1)
    learning_rate: float = expert(1e-3, "Max learning rate of AdamW for DeepLabV3.", gt=0)
    weight_decay: float = expert(1e-4, "Weight decay of AdamW for DeepLabV3.", ge=0)
    held_out: float = expert(0.1, "Share of the images whose loss chooses the checkpoint of DeepLabV3.", gt=0, le=0.5)
    loss: Literal["cross-entropy", "generalised"] = setting(
        "generalised",
        "Loss of DeepLabV3; the generalised cross entropy tolerates wrong labels better and learns more slowly.",
    )
    teacher: float = setting(
        0.97, "Momentum of an averaged DeepLabV3, which is the one that is kept; 0 for none.", ge=0, lt=1
    )
    dtype: Dtype = expert("auto", "Arithmetic of DeepLabV3's training; auto is bfloat16 on a GPU and float32 on a CPU.")
    mirror: bool = setting(
        True, "DeepLabV3 predicts the mean of the logits of an image and its mirror image.", decides="predict"
    )
    min_images: int = expert(20, "With fewer images than this, masks are not refined.", ge=2)
    workers: int | None = expert(
        None, "Workers; default one for EM and for a head, and for DeepLabV3 one per GPU, or one on CPUs.", ge=1
    )

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
                self.network == "linear" and not self.em,
                "network = linear is the layer that em fits",
                "refine.em=true or refine.network=deeplabv3",
            ),
            (
                self.network == "linear" and bool(given),
                f"{', '.join(given)}: network = linear reads the tokens of the run's backbone",
                "refine.network=deeplabv3, or leave the encoder out",
            ),
        )
        return self
