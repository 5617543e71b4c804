"""Images and their label maps in any tree: by names of folders and files, and by content where these decide nothing.

A label map is never taken for an image: it is the ground truth of one, or it is left out and counted.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np

from datus2_ray.core.images.look import Look
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.layout import NO_MASKS, LookAt
from datus2_ray.sources.layouts.roles import fold, folder_role, is_lesser, may_name_mask, split_path, stem_role

#: Files of a group that are looked at, and pairs of groups: however many files there are, some hundred are read.
FILES_LOOKED_AT, GROUPS_LOOKED_AT = 6, 16

#: In order of preference where two label maps have the name of one image.
_PREFERRED = (".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jpg", ".jpeg")

#: A word that names label maps, and a suffix.
_Group = tuple[str, str]

_CUT = re.compile(r"[_\-. ]")

#: Images of one name in different folders that are compared with a mask; more are taken for a numbering.
_MAX_NAMESAKES = 256


@dataclass
class Pairing:
    """Images, the label map of each where there is one, and the label maps that belong to none or are not the first."""

    images: list[str]
    masks: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def pair(files: Sequence[str], masks: str | None = None, look_at: LookAt | None = None) -> Pairing:
    """Separate images and label maps, and pair them.

    Parameters
    ----------
    files : sequence of str
        Paths of images and label maps, sorted.
    masks : str, optional
        Pattern of the label maps that are the ground truth, or :data:`NO_MASKS`.
    look_at : callable, optional
        Looks into files; without it names alone decide.

    Raises
    ------
    UsageError
        If the pattern fits no file or no image, or if files may be label maps but nothing says of which images.
    """
    named = select(files, masks) if masks not in (None, NO_MASKS) else []
    chosen = set(named)
    groups: dict[_Group, list[str]] = defaultdict(list)
    others: list[str] = []
    for path in files:
        if path not in chosen:
            group = _group(path)
            (others if group is None else groups[group]).append(path)
    by_name = _match(groups, others)
    maps: list[tuple[str, list[str]]] = []  # a label map and its images
    for paths in groups.values():
        if _are_maps(paths, by_name, others, masks, look_at):
            maps += [(path, by_name.get(path, [])) for path in paths]
        else:
            others += paths
    twins = _find_twins(sorted(others), masks, look_at) if look_at is not None else {}
    maps += [(path, [image]) for path, image in twins.items()]
    taken = {path for path, _ in maps}
    images = sorted(path for path in others if path not in taken)
    if named:
        return Pairing(images, _pair_named(str(masks), named, images), sorted(taken))
    if masks == NO_MASKS:
        return Pairing(images, {}, sorted(taken))
    pairs = _choose(maps, set(images))
    return Pairing(images, pairs, sorted(taken - set(pairs.values())))


def select(files: Sequence[str], pattern: str) -> list[str]:
    """Return the files that fit a pattern: of a path, of a name, or the name of a folder."""
    trimmed = pattern.rstrip("/").removeprefix("./")

    def fits(path: str) -> bool:
        if "/" in trimmed:
            return fnmatchcase(path, trimmed) or fnmatchcase(path, f"{trimmed}/*")
        return any(fnmatchcase(part, trimmed) for part in path.split("/"))

    chosen = [path for path in files if fits(path)]
    if not chosen:
        folders = sorted({path.rpartition("/")[0] or "." for path in files})
        raise UsageError(f"--masks {pattern} fits none of {len(files):,} files in {', '.join(folders[:6])}")
    return chosen


def _group(path: str) -> _Group | None:
    """Return the word that calls a file a label map, and its suffix; None where no word does."""
    # Most of many paths have no such word, and are not taken apart.
    if not may_name_mask(path):
        return None
    folder, stem, suffix = split_path(path)
    word = _folder(folder)[0] or stem_role(stem).word
    return (word, suffix) if word else None


def _keys(path: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the exact and the loose key of a file: its folder without words of roles, and its name."""
    folder, stem, _ = split_path(path)
    _, key = _folder(folder)
    return (key, fold(stem)), (key, stem_role(stem).rest)


@lru_cache(maxsize=1 << 16)
def _folder(folder: str) -> tuple[str | None, str]:
    """Return the word of a folder that holds label maps, and what is left of its path without words of roles."""
    roles = [folder_role(name) for name in folder.split("/")]
    word = next((role.word for role in reversed(roles) if role.word or role.image), None)
    return word, "/".join(role.rest for role in roles if role.rest)


def _match(groups: Mapping[_Group, list[str]], others: Sequence[str]) -> dict[str, list[str]]:
    """Return the images that every label map is named like."""
    if not groups:
        return {}
    exact: dict[tuple[str, str], list[str]] = defaultdict(list)
    loose: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in others:
        for keys, key in zip((exact, loose), _keys(path), strict=True):
            keys[key].append(path)
    keyed = {path: _keys(path) for paths in groups.values() for path in paths}
    found = {path: images for path, (key, _) in keyed.items() if (images := exact.get(key))}
    done = {image for images in found.values() for image in images}
    for path, (_, key) in keyed.items():
        # An image whose own name some map has takes no other.
        if path not in found and (images := [image for image in loose.get(key, []) if image not in done]):
            found[path] = images
    if len(found) == len(keyed):
        return found
    # `1_sat.jpg` and `1_mask.png`: the one image whose name begins with what is left of the map's.
    begins: dict[tuple[str, str], list[str]] = defaultdict(list)
    done = {image for images in found.values() for image in images}
    for path in others:
        if path not in done:
            folder, stem, _ = split_path(path)
            for match in _CUT.finditer(stem):
                begins[_folder(folder)[1], fold(stem[: match.start()])].append(path)
    for path, (_, key) in keyed.items():
        if path not in found and len(begins.get(key, [])) == 1:
            found[path] = begins[key]
    return found


def _are_maps(
    paths: list[str],
    by_name: Mapping[str, list[str]],
    others: Sequence[str],
    masks: str | None,
    look_at: LookAt | None,
) -> bool:
    """Return whether the files of a group, which its name calls label maps, are that."""
    paired = [path for path in paths if path in by_name]
    if any(_in_image_folder(image) for path in paired for image in by_name[path]):
        return True  # `images/` says it, too
    looks = _majority(look_at, paired or paths) if look_at is not None else None
    if paired:
        return looks != "picture"
    beside = _image_folders(others)
    alone = next((path for path in paths if _parent_of_role(path) in beside), None)
    if looks == "picture" or (looks != "map" and alone is None):
        return False
    if masks is None:
        path = alone or paths[0]
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


def _majority(look_at: LookAt, paths: Sequence[str]) -> Look | None:
    """Return what most of some files of a group look like."""
    step = max(1, len(paths) // FILES_LOOKED_AT)
    looks = Counter(look for look in look_at(paths[::step][:FILES_LOOKED_AT]) if look is not None)
    return looks.most_common(1)[0][0] if looks else None


def _find_twins(paths: Sequence[str], masks: str | None, look_at: LookAt) -> dict[str, str]:
    """Return label maps, and the image of each, among files that only have the names of others.

    Pairs of files with one name are grouped by how their paths differ; some pairs of every frequent group are looked
    at.
    """
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for path, base in _namesakes(paths):
        groups[_difference(path, base)].append((path, base))
    frequent = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:GROUPS_LOOKED_AT]
    twins: dict[str, str] = {}
    for _, pairs in frequent:
        first, second = ([pair[side] for pair in pairs] for side in (0, 1))
        looks = _majority(look_at, first), _majority(look_at, second)
        for (mine, other), (mapped, images) in zip(
            (looks, looks[::-1]), ((first, second), (second, first)), strict=True
        ):
            if mine == "map" and other not in ("map", None):
                twins |= dict(zip(mapped, images, strict=True))
            elif mine == "grey" and other in ("flat", "picture"):
                if masks is None:
                    raise UsageError(
                        f"is {mapped[0]} the mask of {images[0]}? It has its name, and is grey, but not in few values; "
                        "give --masks PATTERN if such files are ground truth, or --masks none to leave them out"
                    )
                twins |= dict(zip(mapped, images, strict=True))
    return {path: image for path, image in twins.items() if image not in twins}


def _namesakes(paths: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield pairs of files of which the first has the name of the second, or begins with it in the same folder."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for path in _repeated(paths, lambda path: [fold(split_path(path)[1])]):
        by_stem[fold(split_path(path)[1])].append(path)
    for same in by_stem.values():
        yield from ((path, same[0]) for path in same[1:])
    by_place: dict[str, str] = {}
    longer = _repeated(paths, lambda path: [_place(path), *_beginnings(path)])
    for path in longer:
        by_place.setdefault(_place(path), path)
    for path in longer:
        base = next((by_place[place] for place in _beginnings(path) if place in by_place), None)
        if base is not None:
            yield path, base


def _repeated(paths: Sequence[str], names: Callable[[str], list[str]]) -> list[str]:
    """Return the paths that share a name with another one, and a few others; 16 bytes per name are held."""
    hashes = array("q")
    for at, path in enumerate(paths):
        for name in names(path):
            hashes.extend((hash(name), at))
    if not hashes:
        return []
    table = np.frombuffer(hashes, np.int64).reshape(-1, 2)
    _, places, counts = np.unique(table[:, 0], return_inverse=True, return_counts=True)
    return [paths[at] for at in np.unique(table[counts[places] > 1, 1])]


def _place(path: str) -> str:
    folder, stem, _ = split_path(path)
    return f"{folder}/{stem}"


def _beginnings(path: str) -> list[str]:
    """Return the places of shorter names with which a name begins, the longest first."""
    folder, stem, _ = split_path(path)
    return [f"{folder}/{stem[: match.start()]}" for match in reversed(list(_CUT.finditer(stem)))]


def _difference(path: str, base: str) -> tuple[str, ...]:
    """Return in what two paths differ: folders without those at both ends, what a stem has more, and suffixes."""
    (folder, stem, suffix), (other, its, its_suffix) = split_path(path), split_path(base)
    mine, theirs = folder.split("/"), other.split("/")
    while mine and theirs and mine[0] == theirs[0]:
        mine, theirs = mine[1:], theirs[1:]
    while mine and theirs and mine[-1] == theirs[-1]:
        mine, theirs = mine[:-1], theirs[:-1]
    more = stem[len(its) :] if len(stem) > len(its) else ""
    return "/".join(mine), "/".join(theirs), more, suffix, its_suffix


def _pair_named(pattern: str, named: Sequence[str], images: Sequence[str]) -> dict[str, str]:
    """Pair the label maps that the user named with the images that are nearest to their names and folders."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    by_rest: dict[str, list[str]] = defaultdict(list)
    for path in images:
        stem = split_path(path)[1]
        by_stem[fold(stem)].append(path)
        by_rest[stem_role(stem).rest].append(path)
    maps = []
    for path in named:
        stem = split_path(path)[1]
        cuts = [match.start() for match in _CUT.finditer(stem)]
        parts = [stem, *(stem[:at] for at in reversed(cuts)), *(stem[at + 1 :] for at in cuts)]
        same = next((by_stem[fold(part)] for part in parts if part and fold(part) in by_stem), None)
        same = same or by_rest.get(stem_role(stem).rest, [])
        if same and len(same) <= _MAX_NAMESAKES:
            near = max(_common(path, image) for image in same)
            maps.append((path, [image for image in same if _common(path, image) == near]))
    if not maps:
        example = f", such as {images[0]}" if images else ""
        raise UsageError(
            f"--masks {pattern} fits {len(named):,} files, such as {named[0]}, but none is named like an image{example}"
        )
    return _choose(maps, set(images))


def _common(path: str, other: str) -> int:
    """Return how many folders two paths have in common, at both ends."""
    mine, theirs = path.split("/")[:-1], other.split("/")[:-1]
    count = 0
    for order in (1, -1):
        for a, b in zip(mine[::order], theirs[::order], strict=False):
            if a != b:
                break
            count += 1
    return count


def _choose(maps: Sequence[tuple[str, Sequence[str]]], images: set[str]) -> dict[str, str]:
    """Return the best label map of every image."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, owners in maps:
        for image in owners:
            if image in images:
                found[image].append(path)

    def rank(path: str, image: str) -> tuple[bool, bool, bool, int, str]:
        (_, stem, suffix), name = split_path(path), image.rpartition("/")[2]
        own = split_path(image)[1]
        place = _PREFERRED.index(suffix) if suffix in _PREFERRED else len(_PREFERRED)
        named_after = path.rpartition("/")[2].startswith(f"{name}.")
        return is_lesser(path), not named_after, stem != own, place, path

    return {image: min(paths, key=lambda path: rank(path, image)) for image, paths in sorted(found.items())}
