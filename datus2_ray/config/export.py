"""Settings of export, which writes masks in the formats of other tools."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from datus2_ray.config.base import StageConfig, setting

FormatName = Literal["png", "coco", "coco-panoptic", "cvat", "label-studio", "yolo", "hf", "geojson"]
MaskSet = Literal["initial", "refined", "named", "taught"]


class ExportConfig(StageConfig):
    """Export: masks → files that other tools read."""

    format: FormatName | None = setting(
        None, "Format: png, coco, coco-panoptic, cvat, label-studio, yolo, hf or geojson; default none."
    )
    masks: MaskSet | None = setting(None, "Set of masks: initial, refined, named or taught; default the last of these.")
    instances: bool = setting(False, "Make every connected region an object of its own, where the format has objects.")
    min_area: int = setting(0, "Connected regions of fewer pixels get no class.", ge=0)
    min_confidence: float = setting(
        0.0, "Pixels of taught masks whose class is less certain than this, in [0, 1], get none.", ge=0, le=1
    )
    splits: dict[str, float] = setting(
        {"train": 1.0}, "Splits and their shares; an image's split depends on its id only."
    )
    image_url: str = setting("", "What stands before an image's path in label-studio.")

    @field_validator("splits")
    @classmethod
    def _check_splits(cls, splits: dict[str, float]) -> dict[str, float]:
        plain = all(name.isidentifier() for name in splits)
        if not splits or not plain or min(splits.values()) <= 0:
            raise ValueError("give names of letters and positive shares, such as train=0.8,val=0.2")
        return splits
