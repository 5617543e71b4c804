"""Settings of evaluate, which scores masks by ground truth."""

from __future__ import annotations

from datus2_ray.config.base import StageConfig, expert, setting


class EvaluateConfig(StageConfig):
    """Evaluate: masks + ground truth → scores."""

    token_kmeans: bool = setting(
        True, "Also score both baselines: k-means on patch tokens, plain and in fine clusters that are merged."
    )
    token_restarts: int = expert(3, "Restarts of the plain baseline.", ge=1)
    token_sample: int = expert(
        100_000,
        "Max tokens that the plain baseline is fitted on; the merged one takes 100 per fine cluster at most.",
        ge=2,
    )
