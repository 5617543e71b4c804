"""Folders whose ground truth is drawn: JSON files of polygons or run lengths, of one image or of all of them."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.label_map import LabelMap
from datus2_ray.core.images.palette import palette
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports.annotations import NoAnnotationsError, check_classes, match
from datus2_ray.exports.from_coco import DrawCoco, Drawn, split_areas
from datus2_ray.sources.layouts.choose import select
from datus2_ray.sources.layouts.folder import plain_ids
from datus2_ray.sources.layouts.layout import NO_MASKS, About, Inside, describe, image_files
from datus2_ray.sources.layouts.pairing import pair
from datus2_ray.sources.layouts.samples import Sample
from datus2_ray.sources.layouts.tree import Tree
from datus2_ray.sources.paths import Paths

#: Files that are read before they are parsed: some have the image in them, too.
READ_AT_ONCE = 32

#: Names of the class of pixels where nothing is drawn, and of what is not scored (LabelMe's own).
BACKGROUND, IGNORED = ("background", "_background_"), "__ignore__"

#: Names of classes, and what is drawn in every image, by the number of a name.
Parsed = tuple[tuple[str, ...], dict[str, Drawn]]


@dataclass(frozen=True, eq=False)
class AnnotatedFolder:
    """A :class:`~datus2_ray.sources.layouts.layout.DatasetLayout` of images and JSON files of what is in them.

    Class 0 is the background, where nothing is drawn; the others have the order in which the files name them.

    Parameters
    ----------
    parse : callable
        Parses the bytes of a file, which the message of a UsageError names as its second argument.
    is_named : callable
        Returns whether the files of a tree are certainly of this kind, by their names.
    beside : bool
        Whether a file is of the image that is named like it, whatever it calls its image.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    about: About
    parse: Callable[[bytes, str], Parsed]
    is_named: Callable[[Tree], bool]
    beside: bool = False
    splits: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    palette: NDArray[np.uint8] | None = None
    tile: int | None = None

    def recognises(self, tree: Tree) -> bool:
        """Return whether a source is certainly this data set; see ``DatasetLayout.recognises``."""
        return self.is_named(tree)

    def samples(
        self, files: Sequence[str], split: str | None, masks: str | None = None, inside: Inside | None = None
    ) -> list[Sample]:
        """Find the samples; see ``DatasetLayout.samples``. `masks` chooses among the JSON files."""
        if split is not None:
            raise UsageError(f"{self.name} has no split {split!r}; it has no splits, leave --split out")
        inside = inside or Inside()
        named = [path for path in Tree(files).files if path.lower().endswith(".json")]
        pictures = Paths.of(image_files(files))
        images = pictures.where(pair(pictures, NO_MASKS, inside.look_at).images)
        if not named or not images:
            raise UsageError(f"{self.name}: expected {' or '.join(self.folders)}; found {describe(files)}")
        ids = dict(zip(plain_ids(images), images, strict=True))
        chosen = named if masks is None else list(Paths.of(named).at(select(Paths.of(named), masks)))
        drawn, sources = self._read(chosen, images, masks is not None, inside)
        matched, unknown = match(drawn, ids)
        if not matched:
            raise UsageError(f"{self.name}: {len(chosen):,} JSON files name none of the images, such as {images[0]}")
        if unknown:
            inside.notes.append(
                f"{len(unknown):,} of {len(drawn):,} annotated images are not in the source, such as {unknown[0]} of "
                f"{sources[unknown[0]]}"
            )
        samples = []
        for image_id, path in ids.items():
            name = matched.get(image_id)
            samples.append(Sample(image_id, path, sources[name], drawn[name]) if name else Sample(image_id, path, None))
        return sorted(samples, key=lambda sample: sample.image_id)

    def picture(self, data: bytes) -> bytes:
        """Return the encoded picture of a file, which is the file."""
        return data

    def decode_mask(self, data: bytes, height: int, width: int, path: str = "") -> LabelMap:
        """Draw what ``samples`` found in an image; see ``DatasetLayout.decode_mask``."""
        try:
            count, _, regions = data.partition(b"\n")
            return LabelMap(DrawCoco(int(count), outside=0)(regions, height, width))
        except ValueError as error:
            raise ImageError("mask_format", f"mask: no annotations of an image ({error})") from error

    def _read(
        self, paths: Sequence[str], images: Sequence[str], all_of_them: bool, inside: Inside
    ) -> tuple[dict[str, bytes], dict[str, str]]:
        """Return what is drawn in every image, and the file that says so, by its name for the image.

        What is drawn has the number of all classes before it: it decides what is void in the masks.
        """
        numbers: dict[str, int | None] = {**dict.fromkeys(BACKGROUND, 0), IGNORED: None}
        names = [BACKGROUND[0]]
        drawn: dict[str, bytes] = {}
        sources: dict[str, str] = {}
        others = []
        bare: dict[str, int] = {}
        stems = {posixpath.splitext(path)[0] for path in images}
        for path, data in _read_each(paths, inside):
            try:
                if data is None:
                    raise NoAnnotationsError(f"{path} cannot be read")
                classes, parsed = self.parse(data, path)
                found, count = split_areas(parsed)
                if count and all(number is None for regions in found.values() for number, _ in regions):
                    raise NoAnnotationsError(f"{path} has {count:,} annotations, none of them with an area")
            except NoAnnotationsError:
                if all_of_them:
                    raise
                others.append(path)
                continue
            if count:
                bare[path] = count
            for name in classes:
                if name.casefold() not in numbers:
                    numbers[name.casefold()] = len(names)
                    names.append(name)
            for file, regions in found.items():
                name = self._name_of(file, path, stems)
                if name in sources:
                    raise UsageError(f"{sources[name]} and {path} both annotate {name}: choose with --masks {path}")
                renumbered = [
                    (None if number is None else numbers[classes[number].casefold()], region)
                    for number, region in regions
                ]
                drawn[name], sources[name] = json.dumps(renumbered).encode(), path
        if not drawn:
            raise UsageError(f"{self.name}: none of {len(paths):,} JSON files has annotations, such as {paths[0]}")
        check_classes(names, self.name)
        if bare:
            inside.notes.append(
                f"{sum(bare.values()):,} annotations without area, such as boxes, are passed over, for example in "
                f"{next(iter(bare))}"
            )
        inside.used.difference_update(others)
        inside.palette = tuple(zip(names, [0, *_codes(len(names) - 1)], strict=True))
        return {name: b"%d\n%b" % (len(names), regions) for name, regions in drawn.items()}, sources

    def _name_of(self, file: str, path: str, stems: set[str]) -> str:
        """Return the path of the image that a JSON file calls `file`: below its own folder, if there is one."""
        file = file.replace("\\", "/")
        if self.beside and (stem := posixpath.splitext(path)[0]) in stems:
            return stem + posixpath.splitext(file)[1]  # of which of two files that differ in their suffix
        below = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
        return below if posixpath.splitext(below)[0] in stems else posixpath.normpath(file)


def _read_each(paths: Sequence[str], inside: Inside) -> Iterator[tuple[str, bytes | None]]:
    for first in range(0, len(paths), READ_AT_ONCE):
        some = paths[first : first + READ_AT_ONCE]
        yield from zip(some, inside.read(some), strict=True)


def _codes(count: int) -> list[int]:
    return [red << 16 | green << 8 | blue for red, green, blue in palette(count).tolist()]
