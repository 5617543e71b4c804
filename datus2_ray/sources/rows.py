"""Which sample each image of a listing is of, where some files are several images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datus2_ray.sources.blocks import Positions
from datus2_ray.sources.paths import Paths


@dataclass(frozen=True, eq=False)
class Rows:
    """The images of samples: one of each sample, and of some samples several.

    Parameters
    ----------
    total : int
        Number of images.
    several, counts : ndarray of int64
        Samples of several images, ascending, and how many each has.
    firsts : ndarray of int64
        First image of each of these samples.
    """

    total: int
    several: Positions
    counts: Positions
    firsts: Positions

    @staticmethod
    def of(images: Paths, pieces: Mapping[str, Sequence[str]], limit: int | None) -> Rows:
        """Return the images, at most `limit`, of the files of samples; `pieces` names those of files of several."""
        found = [(at, len(pieces[image])) for at, image in enumerate(images) if image in pieces] if pieces else []
        several, counts = np.array(found, np.int64).reshape(-1, 2).T
        more = np.cumsum(counts - 1)
        total = len(images) + int(more[-1] if len(more) else 0)
        return Rows(total if limit is None else min(total, limit), several, counts, several + more - (counts - 1))

    def __len__(self) -> int:
        return self.total

    def read(self, start: int, stop: int) -> tuple[Positions, Positions]:
        """Return sample and number of the piece, -1 where a file is one image, of the images `start` to `stop`."""
        images = np.arange(start, min(stop, self.total))
        if not len(self.several):
            return images, np.full(len(images), -1)
        before = np.searchsorted(self.firsts, images, "right") - 1
        number = images - self.firsts[before]
        after = number - (self.counts[before] - 1)
        inside = (before >= 0) & (after <= 0)
        samples = np.where(after <= 0, self.several[before], self.several[before] + after)
        return np.where(before < 0, images, samples), np.where(inside, number, -1)
