"""The layout of most data sets: folders of images beside folders of masks, by split or with lists of names."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.label_map import LabelMap
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.ground_truth import label_map
from datus2_ray.sources.layouts.ids import assign_ids
from datus2_ray.sources.layouts.layout import (
    MASK_SUFFIXES,
    About,
    Inside,
    describe,
    find_mask,
    image_files,
    index_masks,
)
from datus2_ray.sources.layouts.samples import Sample
from datus2_ray.sources.layouts.tree import Tree

#: Decodes a mask for an image of a height and width to class ids, 255 = ignored.
ReadMask = Callable[[bytes, int, int], NDArray[np.uint8]]


@dataclass(frozen=True)
class Pair:
    """A folder of images and its folder of masks; ``{split}`` stands for the name of a split, if there are splits.

    Parameters
    ----------
    images, masks : str
        Paths of the folders; files may lie deeper.
    image_end, mask_ends : str, tuple of str
        What follows the common part of the names, with the suffix; empty for any suffix. Earlier ends of masks count.
    lists : tuple of str
        Patterns of text files with the names in a split, one per line; the first that fits one file counts.
    unlisted : str
        What to know where there is no such list.
    sure : bool
        Whether these names alone tell the data set; such folders may lie deeper in the source.
    deeper : str
        Folders between, as they are shown: ``CITY/``.
    by_list : bool
        Whether lists alone make the splits.
    """

    images: str
    masks: str
    image_end: str = ""
    mask_ends: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    unlisted: str = ""
    sure: bool = True
    deeper: str = ""
    by_list: bool = False

    def of(self, split: str) -> Pair:
        """Return the pair of a split."""
        images, masks, *lists = (name.format(split=split) for name in (self.images, self.masks, *self.lists))
        by_list = bool(lists) and "{split}" not in self.images
        return replace(self, images=images, masks=masks, lists=tuple(lists), by_list=by_list)

    @property
    def has_splits(self) -> bool:
        """Whether folders or lists make splits."""
        return "{split}" in self.images or bool(self.lists)

    @property
    def is_bare(self) -> bool:
        """Whether the folder of images is called like a split, which says nothing without the masks."""
        return "{split}" in self.images and "/" not in self.images

    @property
    def form(self) -> str:
        """The pair as patterns of paths."""
        images, masks = (f"{folder}/{self.deeper}*" for folder in (self.images, self.masks))
        lists = f" and {self.lists[0]}" if self.by_list else ""
        return f"{images}{self.image_end} with {masks}{self.mask_ends[0] if self.mask_ends else ''}{lists}"

    def image_paths(self, tree: Tree) -> list[str]:
        """Return the images of the pair."""
        below, end = tree.below(self.images), self.image_end.lower()
        return [path for path in below if path.lower().endswith(end)] if end else image_files(below)

    def named_images(self, tree: Tree) -> list[tuple[str, str]]:
        """Return the images of the pair: their names below its folder, without the end but with a suffix, and paths."""
        names = []
        for path in self.image_paths(tree):
            name = path[len(self.images) + 1 :]
            if self.image_end:
                name = name[: -len(self.image_end)] + posixpath.splitext(name)[1]
            names.append((name, path))
        return names

    def index(self, tree: Tree) -> dict[str, str]:
        """Return the masks of the pair by their names."""
        return index_masks(tree.below(self.masks), self.masks, self.mask_ends or MASK_SUFFIXES)


@dataclass(frozen=True, eq=False)
class LabelledFolders:
    """A :class:`~datus2_ray.sources.layouts.layout.DatasetLayout` described by the names of its folders.

    Parameters
    ----------
    splits : tuple of str
        Empty if the source always is one pair of folders.
    palette : ndarray of uint8, shape [C, 3], or None
        The data set's own colours.
    pairs : tuple of Pair
        The first one that fits counts, for each split; else the first one without splits.
    read_mask : callable or None
        Decodes a mask; None where the classes are found in the masks.
    read_others : mapping of str to callable
        Decoders of masks whose names have these ends.
    read_image : callable or None
        Returns the encoded picture in a file of the set's own format.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    class_names: tuple[str, ...] | None
    palette: NDArray[np.uint8] | None
    pairs: tuple[Pair, ...]
    read_mask: ReadMask | None
    read_others: Mapping[str, ReadMask] = field(default_factory=dict)
    read_image: Callable[[bytes], bytes] | None = None
    tile: int | None = None
    about: About = field(default_factory=About)

    @property
    def folders(self) -> tuple[str, ...]:
        """The forms that a source may have."""
        named = f"{{{','.join(self.splits)}}}" if len(self.splits) > 1 else "".join(self.splits)
        return tuple(pair.of(named).form for pair in self.pairs)

    def recognises(self, tree: Tree) -> bool:
        """Return whether a source is certainly this data set; see ``DatasetLayout.recognises``."""
        sure = [pair for pair in self.pairs if pair.sure]
        masks = {pair.of(split).masks for pair in sure for split in (*self.splits, "")}
        # Thousands of folders may be called like a split.
        roots = (root for root in self._roots(tree, sure) if any(tree.below(root + folder) for folder in masks))
        return any(self._found(tree.within(root), sure, True) for root in roots)

    def samples(
        self, files: Sequence[str], split: str | None, masks: str | None = None, inside: Inside | None = None
    ) -> list[Sample]:
        """Find the samples; see ``DatasetLayout.samples``. Names decide all here."""
        if masks is not None:
            raise UsageError(f"{self.name} says itself where its masks are; leave --masks out, or --dataset")
        if split is not None and split not in self.splits:
            known = f"its splits are {', '.join(self.splits)}" if self.splits else "it has no splits, leave --split out"
            raise UsageError(f"{self.name} has no split {split!r}; {known}")
        whole, inside = Tree(files), inside or Inside()
        root, found = self._find(whole)
        tree = whole.within(root)
        if not found:
            raise UsageError(f"{self.name}: expected {' or '.join(self.folders)}; found {describe(files)}")
        if split is not None and "" in found:
            raise UsageError(f"{self.name}: {found[''].images}/ in the source has no splits; leave --split out")
        if split is not None and split not in found:
            raise UsageError(f"{self.name}: the source has no split {split!r}, only {', '.join(found)}")
        wanted = found if split is None else {split: found[split]}
        listed = {name: (pair, self._list(tree, root, pair, name, inside)) for name, pair in wanted.items()}
        # Without their lists such splits are one set.
        kept = {name: pair for name, pair in listed.items() if pair[1] is not None or not pair[0].by_list}
        if split is not None and not kept:
            lists = " or ".join(found[split].lists)
            raise UsageError(f"{self.name}: the source has no list {lists} of the images in {split}; leave --split out")
        chosen = kept or {"": next(iter(listed.values()))}
        for name, (pair, names) in chosen.items():
            if names is None and pair.unlisted:
                inside.notes.append(f"{name or self.name}: all {len(pair.image_paths(tree)):,} images; {pair.unlisted}")
        prefixed = kept and split is None and "" not in kept
        return self._samples(tree, root, {f"{name}/" if prefixed else "": pair for name, pair in chosen.items()})

    def picture(self, data: bytes) -> bytes:
        """Return the encoded picture of a file; see ``DatasetLayout.picture``."""
        return data if self.read_image is None else self.read_image(data)

    def decode_mask(self, data: bytes, height: int, width: int, path: str = "") -> LabelMap:
        """Decode a mask; see ``DatasetLayout.decode_mask``."""
        read = next((other for end, other in self.read_others.items() if path.lower().endswith(end)), self.read_mask)
        return label_map(data, height, width) if read is None else LabelMap(read(data, height, width))

    def _roots(self, tree: Tree, pairs: Sequence[Pair]) -> list[str]:
        folders = {pair.of(split).images for pair in pairs for split in (*self.splits, "")}
        return sorted({root for folder in folders for root in tree.roots(folder)})

    def _find(self, tree: Tree) -> tuple[str, dict[str, Pair]]:
        """Return the folder in which the images are, and the pair of every split; the source itself comes first."""
        if found := self._found(tree, self.pairs, False):
            return "", found
        sure = [pair for pair in self.pairs if pair.sure]
        deeper = [(root, self._found(tree.within(root), sure, False)) for root in self._roots(tree, sure)]
        fitting = [(root, found) for root, found in deeper if found]
        if len(fitting) > 1:
            places = " and ".join(root for root, _ in fitting[:3])
            raise UsageError(f"{self.name} is in {places}; give one of these folders")
        return fitting[0] if fitting else ("", {})

    def _found(self, tree: Tree, pairs: Sequence[Pair], with_masks: bool) -> dict[str, Pair]:
        """Return the pair of every split that is there; that of no split, "", where none is."""
        found: dict[str, Pair] = {}
        for split in (*self.splits, ""):
            of = [(pair.of(split), pair.is_bare) for pair in pairs if pair.has_splits == bool(split)]
            first = next((pair for pair, bare in of if _fits(tree, pair, with_masks or bare)), None)
            if first is not None and (split or not found):
                found[split] = first
        return found

    def _list(self, tree: Tree, root: str, pair: Pair, split: str, inside: Inside) -> set[str] | None:
        """Return the names in a split's list; None if the set has no lists, or the source not this one."""
        for pattern in pair.lists:
            named = [path for path in tree.below(posixpath.dirname(pattern)) if fnmatchcase(path, pattern)]
            if len(named) == 1:
                (data,) = inside.read([root + named[0]])
                if data is None:
                    raise UsageError(f"{self.name}: the list {named[0]} cannot be read")
                words = (line.split() for line in data.decode("utf-8", "replace").splitlines())
                names = {line[0] for line in words if line}
                count = sum(posixpath.splitext(name)[0] in names for name, _ in pair.named_images(tree))
                of = "" if count == len(names) else f"{count:,} of "
                inside.notes.append(f"{split}: {of}the {len(names):,} images that {named[0]} names")
                return names
        return None

    def _samples(self, tree: Tree, root: str, pairs: Mapping[str, tuple[Pair, set[str] | None]]) -> list[Sample]:
        """Pair the images and masks of folders; each id starts with the key of its pair, the first one that has it."""
        names: list[str] = []
        paths: list[tuple[str, str | None]] = []
        taken: set[str] = set()
        for prefix, (pair, listed) in pairs.items():
            masks = pair.index(tree)
            below = [
                (name, path)
                for name, path in pair.named_images(tree)
                if path not in taken and (listed is None or posixpath.splitext(name)[0] in listed)
            ]
            matched = [find_mask(masks, name) for name, _ in below]
            others = tree.below(pair.masks)
            if below and listed is None and others and not any(matched):
                raise UsageError(
                    f"{self.name}: no mask in {pair.masks}/ is named like an image in {pair.images}/; "
                    f"{below[0][0]} wants the same name with {', '.join(pair.mask_ends or MASK_SUFFIXES)}, found "
                    f"{others[0]}"
                )
            taken |= {path for _, path in below}
            names += [prefix + name for name, _ in below]
            paths += [
                (root + path, None if mask is None else root + mask)
                for (_, path), mask in zip(below, matched, strict=True)
            ]
        if not names:
            raise UsageError(f"{self.name}: the lists of the source name none of its images")
        samples = [Sample(i, *pair) for i, pair in zip(assign_ids(names), paths, strict=True)]
        return sorted(samples, key=lambda sample: sample.image_id)


def _fits(tree: Tree, pair: Pair, with_masks: bool) -> bool:
    """Return whether there are images, and also masks where these are asked for."""
    return bool(pair.image_paths(tree)) and (not with_masks or bool(pair.index(tree)))
