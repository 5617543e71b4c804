"""What a source has, before any image is read: its images in parts, and a hash of them."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

from datus2_ray.config import RunConfig
from datus2_ray.core.images.rendering import MAX_MEGAPIXELS
from datus2_ray.errors import UsageError
from datus2_ray.sources import layouts
from datus2_ray.sources.ground_truth import (
    check_masks,
    inside_of,
    is_palette,
    masks_in,
    noted_palette,
    read_file,
    read_palette,
)
from datus2_ray.sources.layouts.layout import NO_MASKS, Inside, Palette, Sample
from datus2_ray.sources.look import (
    BESIDE_SHARDS,
    LABEL_MAP,
    NAMED,
    NO_IMAGES,
    NO_TRUTH,
    UNUSED,
    describe_passed_over,
    find_other_files,
    find_pieces,
    suffix,
)
from datus2_ray.sources.place import Place, find_place
from datus2_ray.sources.shard_columns import ShardColumns
from datus2_ray.sources.shard_paths import PathReader
from datus2_ray.sources.shards import MAX_ROWS, Slice, cut_shards, find_shards, pictures_among
from datus2_ray.sources.splits import choose_split
from datus2_ray.store.run_folder import part_name
from datus2_ray.store.walk import FileEntry

#: Images in a sample of the parts, or the next number that whole parts allow.
SAMPLE = 128

#: Bytes of files after which a part takes no further one, however few images it has: it is in memory as a whole.
PART_BYTES = 256 * 10**6


@dataclass(frozen=True)
class Listing:
    """The images of a source in parts.

    Parameters
    ----------
    parts : dict of str to dict
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

    parts: dict[str, dict[str, Any]]
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


def list_source(config: RunConfig, labelled: bool = True, show: Callable[[int], None] = lambda more: None) -> Listing:
    """List a folder, a data set, single files or shards in parts, without the masks unless `labelled`.

    `show` is called again and again with the number of files since the call before.

    Raises
    ------
    UsageError
        If the source does not fit its data set or has no images, or if K is not given and cannot be found.
    StorageError
        If the source does not exist or one of its shards cannot be read.
    """
    place = find_place(config.source, config.out, show)
    shards = find_shards(place.root, place.files, config.ingest)
    listing = _list_shards(config, place, shards, labelled) if shards else _list_files(config, place, labelled)
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


def list_for_shards(config: RunConfig, show: Callable[[int], None] = lambda more: None) -> Listing:
    """List a folder or a data set in parts that each fill a shard; UsageError if it has shards already."""
    place = find_place(config.source, config.out, show)
    if find_shards(place.root, place.files, config.ingest):
        raise UsageError(f"{config.source} holds shards already; give it to `datus2 run`")
    return _list_files(config, place, labelled=True, part_bytes=config.ingest.shard_megabytes * 1_000_000)


def slice_of(payload: dict[str, Any]) -> Slice:
    """Return the slice of a part of shards."""
    kept = {name: payload[name] for name in Slice.__dataclass_fields__}
    return Slice(**{**kept, "columns": ShardColumns(**payload["columns"])})


def sample_parts(parts: Mapping[str, int]) -> dict[str, int]:
    """Sample parts (name → images) at even distances, with :data:`SAMPLE` images or a few more.

    Neighbours in the order of names are often alike, for instance the frames of one film.
    """
    names = sorted(parts)
    mean = sum(parts.values()) / len(names)
    count = min(len(names), math.ceil(SAMPLE / mean))
    return {name: parts[name] for name in (names[i * len(names) // count] for i in range(count))}


def _list_files(config: RunConfig, place: Place, labelled: bool, part_bytes: int | None = None) -> Listing:
    """List files in parts of a number of images, or of bytes if `part_bytes` is given."""
    entries = {entry.path: entry for entry in place.files}
    passed_over = find_other_files(place.root, list(entries))
    # By their names they are no images to a layout either, and belong into its messages.
    candidates = [path for path in entries if passed_over.get(path, NAMED) == NAMED]
    pattern = None if config.ingest.masks == NO_MASKS else config.ingest.masks
    labelled = labelled and config.ingest.masks != NO_MASKS
    folder = config.dataset == layouts.FOLDER.name
    # What a pattern names is no image, whether there is ground truth or not. Other layouts know their masks by name.
    masks = pattern or (NO_MASKS if folder and not labelled else None)
    inside = inside_of(place.root, _largest_map(config))
    layout = layouts.find(config.dataset)
    try:
        samples = layout.samples(candidates, config.split, masks, inside)
        palette, ground_truth = _look_at_masks(config, place.root, samples, candidates, labelled, inside)
    except UsageError as error:
        notes = [f"passed over {line}" for line in describe_passed_over(passed_over)]
        raise UsageError("; ".join([f"{config.source}: {error}", *notes])) from error
    taken_masks = labelled or not folder
    paths = (path for sample in samples for path in (sample.image, sample.mask if taken_masks else None))
    used = inside.used.union(path for path in paths if path)
    if config.split is None:
        # What a folder has beside images are label maps, a data set may have anything.
        reason = (LABEL_MAP if labelled else NO_TRUTH) if folder else UNUSED
        passed_over |= {path: reason for path in candidates if path not in used and path not in passed_over}
    # By their names they are no images, such as lists and drawn annotations, but they were read, or are other splits'.
    kinds = {suffix(path) for path in used} if config.split is not None else set()
    passed_over = {
        path: reason
        for path, reason in passed_over.items()
        if path not in used and suffix(path) not in kinds and not (palette and is_palette(path))
    }
    pieces = find_pieces(place.root, [sample.image for sample in samples[: config.limit]], layout.tile)
    content = hashlib.sha256()
    parts: dict[str, dict[str, Any]] = {}
    sizes: dict[str, int] = {}
    part, image = "", ""
    for sample, piece in islice(_pieces(samples, pieces), config.limit):
        taken = sample if labelled else replace(sample, mask=None, drawn=b"")
        stamps = [(entries[path].size, entries[path].modified_ns) for path in (taken.image, taken.mask) if path]
        content.update(repr((taken, stamps) if piece < 0 else (taken, stamps, piece)).encode())
        if not parts or _is_full(config, parts[part]["image_id"], sizes[part], part_bytes, taken.image == image):
            part = part_name(len(parts))
            columns = ("image_id", "image", "mask", "drawn", "piece")
            parts[part], sizes[part] = {column: [] for column in columns}, 0
        image, mask = taken.image, "" if taken.drawn else taken.mask or ""
        file_bytes = sum(entries[path].size for path in (image, mask) if path) + len(taken.drawn)
        sizes[part] += file_bytes // len(pieces.get(image, "1"))
        row = {"image_id": taken.image_id, "image": image, "mask": mask, "drawn": taken.drawn, "piece": piece}
        for column, value in row.items():
            parts[part][column].append(value)
    return Listing(
        parts=parts,
        counts={part: len(paths["image_id"]) for part, paths in parts.items()},
        sizes=sizes,
        content=content.hexdigest(),
        dataset=config.dataset,
        labelled=any(any(paths["mask"]) or any(paths["drawn"]) for paths in parts.values()),
        columns=None,
        root=place.root,
        passed_over=passed_over,
        notes=(*place.notes, *describe_passed_over(passed_over)),
        palette=palette,
        ground_truth=ground_truth,
    )


def _pieces(samples: Sequence[Sample], pieces: Mapping[str, Sequence[str]]) -> Iterator[tuple[Sample, int]]:
    """Yield every sample with -1, or once for each of its pieces, whose id names it."""
    for sample in samples:
        if sample.image not in pieces:
            yield sample, -1
        for number, name in enumerate(pieces.get(sample.image, ())):
            yield replace(sample, image_id=f"{sample.image_id}/{name}"), number


def _is_full(config: RunConfig, ids: Sequence[str], size: int, part_bytes: int | None, same_file: bool) -> bool:
    """Return whether a part takes no further image; the pieces of a file stay together, as long as there are few."""
    if same_file and len(ids) < MAX_ROWS:
        return False
    return size >= (part_bytes or PART_BYTES) or (part_bytes is None and len(ids) >= config.ingest.images_per_part)


def _look_at_masks(
    config: RunConfig, root: str, samples: Sequence[Sample], files: Sequence[str], labelled: bool, inside: Inside
) -> tuple[Palette, tuple[str, ...]]:
    """Return the palette that a source has, and lines on its ground truth; UsageError if its masks are none."""
    notes: list[str] = []
    palette: Palette = inside.palette
    masks = [(sample.mask, sample.image) for sample in samples if sample.mask is not None]
    if labelled and masks:
        mask, image = masks[0]
        notes.append(f"ground truth of {len(masks):,} of {len(samples):,} images, such as {mask} of {image}")
        if palette:
            notes[0] += f"; classes: {', '.join(name for name, _ in palette)}"
        elif layouts.find(config.dataset).class_names is None:
            palette = read_palette(root, files)
            read = [(path, partial(read_file, root, path)) for path, _ in masks]
            notes[0] += f"; {check_masks(read, palette, config.ingest.ignore_id, _largest_map(config))}"
    if config.dataset == layouts.FOLDER.name:
        notes += layouts.recognise(files)
    return palette, (*notes, *inside.notes)


def _largest_map(config: RunConfig) -> int:
    """Return the megapixels up to which masks are looked at: ingest refuses none that is as large as its image."""
    return max(MAX_MEGAPIXELS, config.ingest.max_megapixels)


def _list_shards(config: RunConfig, place: Place, shards: list[FileEntry], labelled: bool) -> Listing:
    if config.ingest.masks not in (None, NO_MASKS):
        raise UsageError(f"{config.source} has shards: --mask-column NAME names their ground truth, not --masks")
    paths = [entry.path for entry in shards]
    if config.split is not None:
        paths = choose_split(place.root, paths, config.split)
    labelled = labelled and config.ingest.masks != NO_MASKS
    slices = cut_shards(place.root, paths, config.ingest, config.limit, labelled)
    if not slices:
        raise UsageError(f"{config.source}: its {len(paths)} shards have no rows")
    columns = next((cut.columns for cut in slices if cut.columns.mask), slices[0].columns)
    dataset = config.dataset
    if columns.dataset not in (None, dataset):
        if dataset != layouts.FOLDER.name:
            raise UsageError(f"{config.source} was made with --dataset {columns.dataset}, not {dataset}; leave it out")
        dataset = layouts.find(str(columns.dataset)).name
    slices_per_shard = Counter(rows.shard for rows in slices)
    passed_over = dict.fromkeys(pictures_among(place.files), BESIDE_SHARDS)
    if config.limit is None:
        passed_over |= {path: NO_IMAGES for path in paths if path not in slices_per_shard}
    palette: Palette = ()
    ground_truth: tuple[str, ...] = ()
    if columns.mask is not None and layouts.find(dataset).class_names is None:
        paths_of = PathReader(place.root, config.ingest.outside_paths)
        masks = masks_in(place.root, [cut for cut in slices if cut.columns.mask], paths_of)
        if columns.dataset is not None:
            palette = noted_palette(place.root, next(cut.shard for cut in slices if cut.columns.mask))
        if masks:
            checked = check_masks(masks, palette, config.ingest.ignore_id, _largest_map(config))
            ground_truth = (f"ground truth in {columns.mask}; {checked}",)
    entries = {entry.path: entry for entry in shards}
    stamps = [(path, entries[path].size, entries[path].modified_ns) for path in paths]
    content = repr([(stamps, config.ingest.outside_paths, slices)])
    return Listing(
        parts={part_name(i): asdict(rows) for i, rows in enumerate(slices)},
        counts={part_name(i): rows.stop - rows.start for i, rows in enumerate(slices)},
        sizes={part_name(i): entries[rows.shard].size // slices_per_shard[rows.shard] for i, rows in enumerate(slices)},
        content=hashlib.sha256(content.encode()).hexdigest(),
        dataset=dataset,
        labelled=columns.mask is not None,
        columns=columns,
        root=place.root,
        passed_over=passed_over,
        notes=(*place.notes, *describe_passed_over(passed_over)),
        palette=palette,
        ground_truth=ground_truth,
    )
