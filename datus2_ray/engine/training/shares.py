"""Split images between the workers of a training, and what is held out, by a hash of the image's id."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from datus2_ray.store import parquet, storage


@dataclass(frozen=True)
class Split:
    """Deals the images out into 2W shares by their hashes: shares 0 … W-1 to train on, W … 2W-1 to hold out.

    `bounds` are the ascending hashes at which the next share begins.
    """

    seed: int
    bounds: tuple[int, ...]

    def share(self, image_id: str) -> int:
        """Return the share of an image."""
        return bisect_right(self.bounds, hash_id(self.seed, image_id))


def split_images(image_ids: Collection[str], seed: int, shares: int, held_out: int) -> Split:
    """Cut the images, in the order of their hashes, into equal shares; the last `held_out` of them are held out."""
    hashes = sorted(hash_id(seed, image_id) for image_id in image_ids)
    train = len(hashes) - held_out
    cuts = [train * rank // shares for rank in range(1, shares + 1)]
    cuts += [train + held_out * rank // shares for rank in range(1, shares)]
    return Split(seed, tuple(hashes[cut] if cut < len(hashes) else 2**64 for cut in cuts))


def hash_id(seed: int, image_id: str) -> int:
    """Hash an image id, differently for every seed, to 64 bits."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{image_id}".encode(), digest_size=8).digest(), "big")


def image_ids(folder: str, parts: Iterable[str]) -> list[str]:
    """Read the ids of a table's images, part after part."""
    tables = (parquet.read_table(storage.join(folder, part), ["image_id"]) for part in parts)
    return [image_id for table in tables for image_id in table["image_id"].to_pylist()]
