"""Settings of label, which paints the initial masks."""

from __future__ import annotations

from typing import Literal

from datus2_ray.config.base import StageConfig, setting


class LabelConfig(StageConfig):
    """Label: segments + centroids → initial masks."""

    edges: Literal["patches", "image"] = setting(
        "patches", "Borders of the initial masks: those of the patches, or along the edges of the image (PAMR)."
    )
