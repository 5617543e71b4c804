"""Settings of evaluate, which scores masks by ground truth."""

from __future__ import annotations

from datus2_ray.config.base import StageConfig, setting


class EvaluateConfig(StageConfig):
    """Evaluate: masks + ground truth → scores."""

    token_kmeans: bool = setting(True, "Also score plain k-means on patch tokens, the baseline.")
    token_restarts: int = setting(3, "Restarts of the baseline.", ge=1, group="expert")
    token_sample: int = setting(2_000_000, "Max tokens that the baseline is fitted on.", ge=2, group="expert")
