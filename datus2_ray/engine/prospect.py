"""What is known of a run before a stage starts: from the listing for a plan, from earlier stages in the run itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from datus2_ray.config import RunConfig
from datus2_ray.engine.machines import Device, Machines


@dataclass(frozen=True)
class Prospect:
    """Settings, machines and size of a run.

    Parameters
    ----------
    parts : mapping of str to int
        Images in each part.
    part_bytes : int
        Bytes of the largest part's files; 0 where not known.
    unscored : str or None
        Why nothing is scored; None where there is ground truth.
    has_k : bool
        Whether the number of clusters is given or counted.
    has_ids : bool
        Whether ids come from a column of shards, so that two may be the same.
    has_layer : bool
        Whether a layer of another run labels these images, as in ``datus2 predict``: their tokens are in no table.
    """

    config: RunConfig
    machines: Machines
    device: Device
    parts: Mapping[str, int]
    part_bytes: int
    unscored: str | None
    has_k: bool
    has_ids: bool
    has_layer: bool = False

    @property
    def labelled(self) -> bool:
        """Whether there is ground truth to score by."""
        return self.unscored is None

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(self.parts.values())

    @property
    def uncompared(self) -> str | None:
        """Why masks are not compared with k-means on patch tokens; None where they are."""
        if self.unscored is not None:
            return self.unscored
        return None if self.config.evaluate.token_kmeans else "switched off (evaluate.token_kmeans)"

    @property
    def unrefined(self) -> str | None:
        """Why masks are not refined; None where they are."""
        config = self.config.refine
        if not config.enabled:
            return "switched off (--no-refine)"
        if self.images < config.min_images:
            return f"{self.images} images with masks, under refine.min_images = {config.min_images}"
        return None

    @property
    def fits_layer(self) -> bool:
        """Whether a layer is fitted to the tokens of this run's images."""
        return self.unrefined is None and self.config.refine.em

    @property
    def tasks(self) -> int:
        """CPU tasks over parts that run at once."""
        return min(self.machines.cpus, max(1, len(self.parts)))
