"""What a source has, before any image is read: its images in parts, and a hash of them."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from datus2_ray.config import RunConfig
from datus2_ray.errors import UsageError
from datus2_ray.sources import layouts
from datus2_ray.sources.ground_truth import (
    MASKS_READ,
    Palette,
    check_masks,
    looks_into,
    name_layout,
    read_file,
    read_palette,
)
from datus2_ray.sources.layouts.layout import NO_MASKS, Sample, image_files
from datus2_ray.sources.shards import ShardColumns, Slice, cut_shards, find_columns, find_shards, read_slice
from datus2_ray.store import storage
from datus2_ray.store.run_folder import part_name
from datus2_ray.store.storage import FileEntry

#: Slices of shards of which some masks are read before a run.
SLICES_READ = 4

#: Images in a sample of the parts, or the next number that whole parts allow.
SAMPLE = 128


@dataclass(frozen=True)
class Listing:
    """The images of a source in parts.

    Parameters
    ----------
    parts : dict of str to dict
        What reading a part takes: lists ``image_id``, ``image``, ``mask`` of paths, or the fields of a :class:`Slice`.
    counts, sizes : dict of str to int
        Images in each part, and the bytes of their files.
    content : str
        Hash of the paths, sizes and times of the files.
    dataset : str
        Layout that defines the classes of the masks.
    labelled : bool
        Whether there are masks.
    columns : ShardColumns or None
        Columns of the shards; None if the source has files.
    palette : tuple of (str, int)
        Names and colours of the classes, where the source has a file of them.
    ground_truth : tuple of str
        Lines on what was taken for ground truth, which classes are in it, and what was left out.
    """

    parts: dict[str, dict[str, Any]]
    counts: dict[str, int]
    sizes: dict[str, int]
    content: str
    dataset: str
    labelled: bool
    columns: ShardColumns | None
    palette: Palette = ()
    ground_truth: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(self.counts.values())


def list_source(config: RunConfig, labelled: bool = True) -> Listing:
    """List a folder, a data set or shards in parts, without the masks unless `labelled`.

    Raises
    ------
    UsageError
        If the source does not fit its data set or has no images, or if K is not given and cannot be found.
    StorageError
        If the source does not exist or one of its shards cannot be read.
    """
    files = storage.list_files(config.source)
    shards = find_shards(config.source, files, config.ingest)
    listing = _list_shards(config, shards, labelled) if shards else _list_files(config, files, labelled)
    if labelled:
        check_counted(config, listing.dataset, listing.labelled)
    return listing


def is_counted(dataset: str, labelled: bool) -> bool:
    """Return whether the layout or the masks determine the number of classes."""
    return labelled or layouts.find(dataset).class_names is not None


def check_counted(config: RunConfig, dataset: str, labelled: bool) -> None:
    """Raise a UsageError if K is not given, there are no classes to count, and it is not chosen on a sample."""
    if config.clusters is None and not is_counted(dataset, labelled) and config.discover.descriptor != "tokens":
        raise UsageError(
            f"{config.source} has no classes to count: give --clusters K, for example 10, or --preset best, which "
            "finds a K of its own"
        )


def list_for_shards(config: RunConfig) -> Listing:
    """List a folder or a data set in parts that each fill a shard; UsageError if it has shards already."""
    files = storage.list_files(config.source)
    if find_shards(config.source, files, config.ingest):
        raise UsageError(f"{config.source} holds shards already; give it to `datus2 run`")
    return _list_files(config, files, labelled=True, part_bytes=config.ingest.shard_megabytes * 1_000_000)


def slice_of(payload: dict[str, Any]) -> Slice:
    """Return the slice of a part of shards."""
    return Slice(**{name: payload[name] for name in Slice.__dataclass_fields__})


def sample_parts(parts: Mapping[str, int]) -> dict[str, int]:
    """Sample parts (name → images) at even distances, with :data:`SAMPLE` images or a few more.

    Neighbours in the order of names are often alike, for instance the frames of one film.
    """
    names = sorted(parts)
    mean = sum(parts.values()) / len(names)
    count = min(len(names), math.ceil(SAMPLE / mean))
    return {name: parts[name] for name in (names[i * len(names) // count] for i in range(count))}


def _list_files(
    config: RunConfig, files: Sequence[FileEntry], labelled: bool, part_bytes: int | None = None
) -> Listing:
    """List files in parts of a number of images, or of bytes if `part_bytes` is given."""
    entries = {entry.path: entry for entry in files}
    masks = config.ingest.masks or (None if labelled else NO_MASKS)
    look_at = looks_into(config.source)
    try:
        samples = layouts.find(config.dataset).samples(list(entries), config.split, masks, look_at)
        palette, notes = _look_at_masks(config, samples, list(entries), labelled)
        samples = samples[: config.limit]
    except UsageError as error:
        raise UsageError(f"{config.source}: {error}") from error
    if not labelled:
        samples = [replace(sample, mask=None) for sample in samples]
    content = hashlib.sha256()
    parts: dict[str, dict[str, Any]] = {}
    sizes: dict[str, int] = {}
    part = ""
    for number, sample in enumerate(samples):
        used = [entries[path] for path in (sample.image, sample.mask) if path is not None]
        content.update(repr((sample, [(entry.size, entry.modified_ns) for entry in used])).encode())
        full = number % config.ingest.images_per_part == 0 if part_bytes is None else sizes.get(part, 0) >= part_bytes
        if full or not parts:
            part = part_name(len(parts))
            parts[part], sizes[part] = {"image_id": [], "image": [], "mask": []}, 0
        sizes[part] += sum(entry.size for entry in used)
        for column, value in (("image_id", sample.image_id), ("image", sample.image), ("mask", sample.mask or "")):
            parts[part][column].append(value)
    return Listing(
        parts=parts,
        counts={part: len(paths["image_id"]) for part, paths in parts.items()},
        sizes=sizes,
        content=content.hexdigest(),
        dataset=config.dataset,
        labelled=any(sample.mask is not None for sample in samples),
        columns=None,
        palette=palette,
        ground_truth=notes,
    )


def _look_at_masks(
    config: RunConfig, samples: Sequence[Sample], files: Sequence[str], labelled: bool
) -> tuple[Palette, tuple[str, ...]]:
    """Return the palette that a source has, and lines on its ground truth; UsageError if its masks are none."""
    notes: list[str] = []
    palette: Palette = ()
    masks = [(sample.mask, sample.image) for sample in samples if sample.mask is not None]
    if labelled and masks:
        mask, image = masks[0]
        notes.append(f"ground truth of {len(masks):,} of {len(samples):,} images, such as {mask} of {image}")
        if layouts.find(config.dataset).class_names is None:
            palette = read_palette(config.source, files)
            read = [(path, partial(read_file, config.source, path)) for path, _ in masks]
            notes[0] += f"; {check_masks(read, palette, config.ingest.ignore_id)}"
    if config.dataset == layouts.FOLDER.name:
        used = {path for sample in samples for path in (sample.image, sample.mask)}
        left = [path for path in image_files(files) if path not in used]
        if left:
            notes.append(
                f"{len(left):,} label maps are left out, such as {left[0]}; --masks PATTERN names the ground truth"
            )
        hint = name_layout(files, layouts.DATASETS)
        notes += [hint] if hint else []
    return palette, tuple(notes)


def _list_shards(config: RunConfig, shards: list[FileEntry], labelled: bool) -> Listing:
    if config.split is not None:
        raise UsageError(f"{config.source} has shards, which have no splits; leave --split out, or give a subfolder")
    paths = [entry.path for entry in shards]
    if config.ingest.masks not in (None, NO_MASKS):
        raise UsageError(f"{config.source} has shards: --mask-column NAME names their ground truth, not --masks")
    columns = find_columns(config.source, paths[0], config.ingest)
    if not labelled or config.ingest.masks == NO_MASKS:
        columns = replace(columns, mask=None)
    dataset = config.dataset
    if columns.dataset not in (None, dataset):
        if dataset != layouts.FOLDER.name:
            raise UsageError(f"{config.source} was made with --dataset {columns.dataset}, not {dataset}; leave it out")
        dataset = layouts.find(str(columns.dataset)).name
    slices = cut_shards(config.source, paths, columns, config.limit)
    if not slices:
        raise UsageError(f"{config.source}: its {len(paths)} shards have no rows")
    sizes = {entry.path: entry.size for entry in shards}
    slices_per_shard = Counter(rows.shard for rows in slices)
    notes: tuple[str, ...] = ()
    if columns.mask is not None and layouts.find(dataset).class_names is None:
        read = [
            (f"{cut.shard}, row {cut.first + row}", value) for cut, row, value in _some_masks(config, slices, columns)
        ]
        if read:
            notes = (f"ground truth in {columns.mask}; {check_masks(read, (), config.ingest.ignore_id)}",)
    content = repr([(columns, [(entry.path, entry.size, entry.modified_ns) for entry in shards], slices)])
    return Listing(
        parts={part_name(i): asdict(rows) for i, rows in enumerate(slices)},
        counts={part_name(i): rows.stop - rows.start for i, rows in enumerate(slices)},
        sizes={part_name(i): sizes[rows.shard] // slices_per_shard[rows.shard] for i, rows in enumerate(slices)},
        content=hashlib.sha256(content.encode()).hexdigest(),
        dataset=dataset,
        labelled=columns.mask is not None,
        columns=columns,
        ground_truth=notes,
    )


def _some_masks(
    config: RunConfig, slices: Sequence[Slice], columns: ShardColumns
) -> list[tuple[Slice, int, Callable[[], bytes | None]]]:
    """Return the first masks of some slices, and a function for each that returns it."""
    count = min(SLICES_READ, len(slices))
    chosen = [slices[number * len(slices) // count] for number in range(count)]
    found: list[tuple[Slice, int, Callable[[], bytes | None]]] = []
    for cut in chosen:
        masks = read_slice(config.source, cut, [str(columns.mask)])[str(columns.mask)]
        some = [(row, mask) for row, mask in enumerate(masks, cut.start) if mask is not None]
        found += [(cut, row, partial(bytes, mask)) for row, mask in some[: MASKS_READ // count]]
    return found
