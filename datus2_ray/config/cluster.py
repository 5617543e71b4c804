"""Settings of cluster, which groups the segments of all images by their descriptors."""

from __future__ import annotations

from typing import Literal

from datus2_ray.config.base import StageConfig, setting


class ClusterConfig(StageConfig):
    """Cluster: segment descriptors → centroids."""

    algorithm: Literal["lloyd", "minibatch"] = setting(
        "lloyd", "Exact Lloyd iterations, or mini-batch k-means.", group="expert"
    )
    metric: Literal["euclidean", "spherical"] = setting("spherical", "Distance between descriptors.")
    overclustering: int = setting(
        12, "k-means finds this many times K centroids, which average linkage merges to K.", ge=1
    )
    start: Literal["k-means++", "k-means||", "random"] = setting(
        "k-means++", "Choice of the first centroids.", group="expert"
    )
    restarts: int = setting(3, "Starts, of which the one with the lowest inertia is kept.", ge=1)
    max_iterations: int = setting(300, "Max Lloyd iterations per start.", ge=1, group="expert")
    tolerance: float = setting(
        1e-4, "Stop when the centroids move less than this times the variance.", ge=0, group="expert"
    )
    epochs: int = setting(50, "Passes over the data (algorithm = minibatch).", ge=1, group="expert")
    batch_size: int = setting(1024, "Descriptors per step (algorithm = minibatch).", ge=1, group="expert")
    start_sample: int = setting(100_000, "Max descriptors that k-means++ chooses from.", ge=2, group="expert")
    scaling: Literal["none", "centred", "standardised"] = setting(
        "centred",
        "centred subtracts the mean of all descriptors; standardised also divides by their deviation. "
        "The tokens of the baseline are scaled likewise.",
    )
    pca: int | None = setting(None, "Dimensions that PCA keeps; default no PCA.", ge=1, group="experimental")
    weights: Literal["none", "area"] = setting(
        "none", "Weight of a segment: all equal, or its number of patches.", group="experimental"
    )
    workers: int | None = setting(
        None, "Actors that hold the descriptors; default one per CPU.", ge=1, decides="speed", group="expert"
    )
