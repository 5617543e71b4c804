"""Images and their label maps in any tree: by names of folders and files, and by content where these decide nothing.

A label map is never taken for an image: it is the ground truth of one, or it is left out and counted.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.choose import choose, pair_named, select
from datus2_ray.sources.layouts.layout import NO_MASKS, LookAt
from datus2_ray.sources.layouts.match import match, without_roles
from datus2_ray.sources.layouts.roles import folder_role, may_name_mask, split_path, stem_role
from datus2_ray.sources.layouts.twins import find_twins, majority
from datus2_ray.sources.paths import Paths, Positions

#: A word that names label maps, and a suffix.
_Group = tuple[str, str]


@dataclass(frozen=True)
class Pairing:
    """Which files are images, and the position of the label map of each of these, -1 where there is none."""

    images: NDArray[np.bool_]
    masks: Positions


def pair(files: Paths, masks: str | None = None, look_at: LookAt | None = None) -> Pairing:
    """Separate images and label maps, and pair them.

    Parameters
    ----------
    files : Paths
        Images and label maps, sorted.
    masks : str, optional
        Pattern of the label maps that are the ground truth, or :data:`NO_MASKS`.
    look_at : callable, optional
        Looks into files; without it names alone decide.

    Raises
    ------
    UsageError
        If the pattern fits no file or no image, or if files may be label maps but nothing says of which images.
    """
    chosen = select(files, masks) if masks is not None and masks != NO_MASKS else np.empty(0, np.int64)
    groups = _group(files, chosen)
    is_map, is_other = np.zeros(len(files), np.bool_), np.ones(len(files), np.bool_)
    is_other[chosen] = False
    for positions in groups.values():
        is_other[positions] = False
    named = np.concatenate([*groups.values(), np.empty(0, np.int64)])
    maps, images = match(files, named, np.flatnonzero(is_other))
    group_of = np.zeros(len(files), np.int32)
    for number, positions in enumerate(groups.values()):
        group_of[positions] = number
    order = np.argsort(group_of[maps], kind="stable")
    maps, images = maps[order], images[order]
    ends = np.searchsorted(group_of[maps], np.arange(len(groups)), "right")
    for positions, start, stop in zip(groups.values(), [0, *ends], ends, strict=False):
        if _are_maps(files, positions, maps[start:stop], images[start:stop], is_other, masks, look_at):
            is_map[positions] = True
        else:
            is_other[positions] = True
    kept = is_map[maps]
    maps, images = maps[kept], images[kept]
    if look_at is not None:
        twins, theirs = find_twins(files, np.flatnonzero(is_other), masks, look_at)
        is_other[twins] = False
        maps, images = np.concatenate([maps, twins]), np.concatenate([images, theirs])
    if len(chosen):
        maps, images = pair_named(files, str(masks), chosen, np.flatnonzero(is_other))
    kept = is_other[images]
    if masks == NO_MASKS or not kept.any():
        return Pairing(is_other, np.full(np.count_nonzero(is_other), -1))
    return Pairing(is_other, choose(files, maps[kept], images[kept])[is_other])


def _group(files: Paths, chosen: Positions) -> dict[_Group, Positions]:
    """Return the files that a word calls label maps, in groups of one word and suffix, without those chosen."""
    groups: dict[_Group, array[int]] = defaultdict(lambda: array("q"))
    left_out = set(chosen.tolist())
    for at, path in enumerate(files):
        # Most of many paths have no such word, and are not taken apart.
        if may_name_mask(path) and at not in left_out:
            folder, stem, suffix = split_path(path)
            word = without_roles(folder)[0] or stem_role(stem).word
            if word:
                groups[word, suffix].append(at)
    return {group: np.array(positions, np.int64) for group, positions in groups.items()}


def _are_maps(
    files: Paths,
    positions: Positions,
    paired: Positions,
    images: Positions,
    is_other: NDArray[np.bool_],
    masks: str | None,
    look_at: LookAt | None,
) -> bool:
    """Return whether the files of a group, which its name calls label maps, are that.

    Those that are `paired` have the names of `images`.
    """
    if any(map(_in_image_folder, files.at(images))) and not any(map(_in_image_folder, files.at(paired))):
        return True  # `images/` says it, too, of the others
    paired = np.unique(paired)
    looks = majority(files, paired if len(paired) else positions, look_at) if look_at is not None else None
    if len(paired):
        return looks != "picture"
    beside = _image_folders(files.at(np.flatnonzero(is_other)))
    alone = next((path for path in files.at(positions) if _parent_of_role(path) in beside), None)
    if looks == "picture" or (looks != "map" and alone is None):
        return False
    if masks is None:
        path = alone or files[positions[0]]
        raise UsageError(
            f"no mask in {path.rpartition('/')[0] or 'the root'}/ is named like an image: {path} would be the mask of "
            "an image of its name; give --masks PATTERN for the ground truth, or --masks none to leave label maps out"
        )
    return True


def _in_image_folder(path: str) -> bool:
    return any(folder_role(name).image for name in path.split("/")[:-1])


def _image_folders(paths: Iterable[str]) -> set[str]:
    """Return the parents of all folders that are named after images."""
    folders = {path.rpartition("/")[0] for path in paths}
    found = set()
    for folder in folders:
        parts = folder.split("/")
        found |= {"/".join(parts[:at]) for at, name in enumerate(parts) if folder_role(name).image}
    return found


def _parent_of_role(path: str) -> str | None:
    parts = path.split("/")[:-1]
    for at in range(len(parts) - 1, -1, -1):
        if folder_role(parts[at]).word:
            return "/".join(parts[:at])
    return None
