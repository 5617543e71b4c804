"""Settings of cluster, which groups the segments of all images by their descriptors."""

from __future__ import annotations

from typing import Literal

from datus2_ray.config.base import StageConfig, experimental, expert, setting


class ClusterConfig(StageConfig):
    """Cluster: segment descriptors → centroids."""

    algorithm: Literal["lloyd", "minibatch"] = expert("lloyd", "Exact Lloyd iterations, or mini-batch k-means.")
    metric: Literal["euclidean", "spherical"] = setting("spherical", "Distance between descriptors.")
    descriptors: Literal["tokens", "head", "stego-coco", "stego-cityscapes", "stego-potsdam"] = experimental(
        "tokens",
        "What describes segments: discover.descriptor, or mean codes of a head that is learned on tokens without "
        "labels: with shifts that follow from the tokens, or with those that STEGO published for a data set. Codes are "
        "neither scaled nor whitened. The sample on which K is chosen is always described by discover.descriptor.",
    )
    fine: int | None = setting(
        300,
        "Fine clusters that k-means finds, or K if that is more; a tree merges them to any smaller number. "
        "null: k-means finds K clusters, and nothing is merged.",
        ge=2,
    )
    start: Literal["k-means++", "k-means||", "random"] = expert("k-means++", "Choice of the first centroids.")
    votes: int = setting(
        10,
        "Clusterings that vote on which fine clusters form a cluster; 1: a single tree decides. No effect with fine = "
        "null.",
        ge=1,
    )
    restarts: int = setting(
        1,
        "Starts of a clustering, of which the one with the lowest inertia is kept; with fine = null, give 3 to 10.",
        ge=1,
    )
    max_iterations: int = expert(300, "Max Lloyd iterations per start.", ge=1)
    tolerance: float = expert(1e-4, "Stop when the centroids move less than this times the variance.", ge=0)
    epochs: int = expert(50, "Passes over the data (algorithm = minibatch).", ge=1)
    batch_size: int = expert(1024, "Descriptors per step (algorithm = minibatch).", ge=1)
    start_sample: int = expert(
        3_000, "Descriptors that k-means++ chooses from, or ten per cluster that it chooses if these are more.", ge=2
    )
    scaling: Literal["none", "centred", "standardised"] = setting(
        "centred",
        "centred subtracts the mean of all descriptors; standardised also divides by their deviation. "
        "The tokens of the baselines are scaled likewise.",
    )
    pca: int | None = setting(
        64, "Max dimensions of the descriptors after PCA, tokens of the merged baseline included; null: no PCA.", ge=1
    )
    whitening: float = setting(
        0.6,
        "How far PCA evens out the deviations along its components: 0 keeps distances as they are, 1 makes all equal.",
        ge=0,
        le=1,
    )
    weights: Literal["none", "area"] = experimental("none", "Weight of a segment: all equal, or its number of patches.")
    workers: int | None = expert(
        None,
        "Actors that hold the descriptors, if they are over 64 MB or in over 64 parts; default one per CPU.",
        ge=1,
        decides="speed",
    )

    @property
    def uses_head(self) -> bool:
        """Whether segments are described by the codes of a head."""
        return self.descriptors != "tokens"

    @property
    def clusterings(self) -> int:
        """Number of clusterings: those that vote, or one where nothing is merged."""
        return self.votes if self.fine else 1

    @property
    def projection(self) -> tuple[Literal["none", "centred", "standardised"], int | None, float]:
        """Scaling, dimensions of PCA and whitening of the descriptors: none for codes, whose cosines were learned."""
        return ("none", None, 0.0) if self.uses_head else (self.scaling, self.pca, self.whitening)
