"""Random choices that depend on a row's global number and a seed, never on where or when the row arrives."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def row_hash(rows: NDArray[np.int64], *key: int | str) -> NDArray[np.uint64]:
    """Hash global row numbers under a key; for one key, different rows have different hashes.

    Parameters
    ----------
    rows : int64 [n]
        Global row numbers.
    *key : int or str
        The seed and what distinguishes this use of random numbers from others, for example ``(seed, "sample", 2)``.

    References
    ----------
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (the finaliser of SplitMix64,
    a bijection, which is why there are no ties).
    """
    offset = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little")
    h = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(offset)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: NDArray[np.uint64] = h ^ (h >> np.uint64(31))
    return hashed


def row_uniform(rows: NDArray[np.int64], *key: int | str) -> NDArray[np.float64]:
    """Return a number of the open interval (0, 1) per row, decided by its global number and the key alone."""
    uniform: NDArray[np.float64] = ((row_hash(rows, *key) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return uniform


def sample_rows(total: int, count: int, *key: int | str) -> NDArray[np.int64]:
    """Draw ``count`` of the rows ``0 .. total - 1`` without replacement: those with the smallest hashes.

    They come in the order of their hashes, which is a random order: with ``count = total`` a permutation.
    """
    hashes = row_hash(np.arange(total), *key)
    if count < total:
        smallest = np.argpartition(hashes, count)[:count]
        return smallest[np.argsort(hashes[smallest])]
    return np.argsort(hashes)
