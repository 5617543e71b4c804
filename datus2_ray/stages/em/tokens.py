"""Read the tokens of the segments of some images, group by group, as the fit takes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import torch

from datus2_ray.core.names.names import Names
from datus2_ray.core.refine.token_groups import Group
from datus2_ray.engine.training.shares import Split, hash_id
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays


@dataclass(frozen=True)
class SegmentTokens:
    """Where tokens and classes of segments lie, and which images are used.

    Parameters
    ----------
    tokens, masks : str
        URIs of ``discover/`` and of ``label/``.
    split : Split
        Deals the images out into groups, by a hash of the id.
    below : int
        Images with a smaller hash are used: a sample that neither parts nor workers change.
    dim : int
        Length of a token.
    names : Names, optional
        They say the class of every segment, -1 where unnamed; without, it is its cluster.
    """

    tokens: str
    masks: str
    parts: tuple[str, ...]
    split: Split
    below: int
    dim: int
    names: Names | None = None

    def read(
        self, groups: Collection[int], device: torch.device, threads: int, on_part: Callable[[], None] = lambda: None
    ) -> dict[int, Group]:
        """Read some groups to a device; in each the images are in the order of their hashes."""
        images: list[_Image] = []
        with ThreadPoolExecutor(threads) as pool:
            for part in pool.map(lambda part: self._read(part, groups), self.parts):
                images += part
                on_part()
        images.sort(key=lambda image: image.order)
        return {group: self._join([image for image in images if image.group == group], device) for group in groups}

    def _join(self, images: Sequence[_Image], device: torch.device) -> Group:
        tokens = [np.empty((0, self.dim), np.float16), *(image.tokens for image in images)]
        sizes, classes = (
            np.concatenate([np.empty(0, np.int64), *(getattr(image, name) for image in images)])
            for name in ("sizes", "classes")
        )
        return Group(*(torch.from_numpy(array).to(device) for array in (np.concatenate(tokens), sizes, classes)))

    def _read(self, part: str, groups: Collection[int]) -> list[_Image]:
        column = "segment_clusters" if self.names is None else "segment_fine"
        masks = parquet.read_table(storage.join(self.masks, part), ["image_id", column])
        ids = masks["image_id"].to_pylist()
        hashes = [hash_id(self.split.seed, image_id) for image_id in ids]
        shares = [self.split.share(image_id) for image_id in ids]
        chosen = [
            row for row, (value, share) in enumerate(zip(hashes, shares, strict=True))
            if value < self.below and share in groups
        ]  # fmt: skip
        if not chosen:
            return []
        table = parquet.read_table(storage.join(self.tokens, part), ["image_id", "patch_map", "tokens"])
        table = table.take(pc.index_in(masks["image_id"].take(chosen), value_set=table["image_id"].combine_chunks()))
        columns = [list_arrays(column) for column in (table["patch_map"], table["tokens"])]
        found = list_arrays(masks[column])
        return [
            _sorted(
                (hashes[row], ids[row]),
                shares[row],
                np.asarray(patch_map),
                np.asarray(tokens),
                self._classes(ids[row], np.asarray(found[row])),
            )
            for row, patch_map, tokens in zip(chosen, *columns, strict=True)
        ]

    def _classes(self, image_id: str, found: np.ndarray) -> np.ndarray:
        return found if self.names is None else self.names.of_segments(image_id, found)


@dataclass(frozen=True)
class _Image:
    """The tokens of an image's segments, one segment after the other; `order` sorts the images."""

    order: tuple[int, str]
    group: int
    tokens: np.ndarray
    sizes: np.ndarray
    classes: np.ndarray


def _sorted(
    order: tuple[int, str], group: int, patch_map: np.ndarray, tokens: np.ndarray, classes: np.ndarray
) -> _Image:
    by_segment = np.argsort(patch_map, kind="stable")[np.count_nonzero(patch_map < 0) :]
    sizes = np.bincount(patch_map[by_segment], minlength=len(classes))
    return _Image(order, group, tokens[by_segment], sizes, classes)
