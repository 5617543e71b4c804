"""Sampling: which parts of a set are looked at where all of them would be too many."""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Images that are looked at, or as few more as whole parts allow.
SAMPLE = 128


def sample_parts(parts: Mapping[str, int]) -> dict[str, int]:
    """Take parts from all over a set, for neighbours in the order of names are often alike: frames of one film.

    Parameters
    ----------
    parts : mapping of str to int
        Names of the parts and the images in each.

    Returns
    -------
    dict of str to int
        Some of them, at even distances, with :data:`SAMPLE` images in all or a little more; all where there are fewer.
    """
    names = sorted(parts)
    mean = sum(parts.values()) / len(names)
    count = min(len(names), math.ceil(SAMPLE / mean))
    return {name: parts[name] for name in (names[i * len(names) // count] for i in range(count))}
