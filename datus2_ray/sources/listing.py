"""What a source has, before any image is read: its images in parts, and a hash of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datus2_ray.sources.layouts.layout import Palette
from datus2_ray.sources.shard_columns import ShardColumns

#: Images in a sample of the parts, or the next number that whole parts allow.
SAMPLE = 128


@dataclass(frozen=True)
class Listing:
    """The images of a source in parts.

    Parameters
    ----------
    parts : mapping of str to dict
        What reading a part takes: lists ``image_id``, ``image`` and ``mask`` of paths, ``drawn`` in place of a mask,
        and ``piece`` of the file (-1 where a file is one picture), or the :class:`Slice` of a part.
    counts, sizes : dict of str to int
        Images in each part, and the bytes of their files.
    content : str
        Hash of the paths, sizes and times of the files.
    dataset : str
        Layout that defines the classes of the masks.
    labelled : bool
        Whether there are masks.
    columns : ShardColumns or None
        Columns of the shards, of the first one with a mask if any; None if the source has files.
    root : str
        Folder that the paths in `parts` are relative to; a local path or URI.
    passed_over : dict of str to str
        Files that are not used, and why.
    notes : tuple of str
        What was passed over, a line per kind: files that are not used, and what no listing has, such as broken links.
    palette : tuple of (str, int)
        Names and colours of the classes, where the source has a file of them.
    ground_truth : tuple of str
        Lines on what was taken for ground truth, and which classes are in it.
    """

    parts: Mapping[str, dict[str, Any]]
    counts: dict[str, int]
    sizes: dict[str, int]
    content: str
    dataset: str
    labelled: bool
    columns: ShardColumns | None
    root: str = ""
    passed_over: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    palette: Palette = ()
    ground_truth: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(self.counts.values())


def sample_parts(parts: Mapping[str, int]) -> dict[str, int]:
    """Sample parts (name → images) at even distances, with :data:`SAMPLE` images or a few more.

    Neighbours in the order of names are often alike, for instance the frames of one film.
    """
    names = sorted(parts)
    mean = sum(parts.values()) / len(names)
    count = min(len(names), math.ceil(SAMPLE / mean))
    return {name: parts[name] for name in (names[i * len(names) // count] for i in range(count))}
