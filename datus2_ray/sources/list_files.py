"""Listing files: which are images and which their ground truth, in parts."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from datus2_ray.config import RunConfig
from datus2_ray.errors import UsageError
from datus2_ray.sources import blocks
from datus2_ray.sources.file_parts import FileParts, Rows, piece_id
from datus2_ray.sources.files import Files
from datus2_ray.sources.ground_truth import (
    MASKS_READ,
    check_masks,
    inside_of,
    is_palette,
    read_file,
    read_palette,
)
from datus2_ray.sources.layouts import known
from datus2_ray.sources.layouts.layout import NO_MASKS, Inside, Palette
from datus2_ray.sources.layouts.samples import Sample, Samples
from datus2_ray.sources.listing import Listing
from datus2_ray.sources.look import (
    LABEL_MAP,
    NAMED,
    NO_TRUTH,
    UNUSED,
    describe_passed_over,
    find_other_files,
    find_pieces,
    suffix,
)
from datus2_ray.sources.paths import Paths
from datus2_ray.sources.place import ARCHIVE_SUFFIXES, Place
from datus2_ray.sources.shards import MAX_ROWS
from datus2_ray.store.run_folder import part_name

#: Bytes of files after which a part takes no further one, however few images it has: it is in memory as a whole.
PART_BYTES = 256 * 10**6

#: What to do with files that hold images, and are not read.
_REMEDIES = (
    (ARCHIVE_SUFFIXES, "unpack archives first"),
    ((".arrow", ".feather"), "write Arrow files as Parquet, as Dataset.to_parquet does"),
    ((".npy", ".npz", ".h5", ".hdf5", ".mat", ".tfrecord", ".lmdb"), "write arrays and records as PNG, or as Parquet"),
)

#: An image, the number of its piece of the file, and the size and time of its files.
_Stamped = tuple[Sample, int, list[tuple[int, int]]]


def list_files(config: RunConfig, place: Place, labelled: bool, part_bytes: int | None = None) -> Listing:
    """List files in parts of a number of images, or of bytes if `part_bytes` is given.

    Raises
    ------
    UsageError
        If they do not fit the data set or have no images, or if the masks looked at are none.
    """
    files = place.files
    passed_over = find_other_files(place.root, files.paths)
    # By their names they are no images to a layout either, and belong into its messages.
    candidates = np.ones(len(files), np.bool_)
    if passed_over:
        candidates = np.fromiter((passed_over.get(path, NAMED) == NAMED for path in files.paths), np.bool_, len(files))
    names = files.paths.where(candidates)
    pattern = None if config.ingest.masks == NO_MASKS else config.ingest.masks
    labelled = labelled and config.ingest.masks != NO_MASKS
    folder = config.dataset == known.FOLDER.name
    # What a pattern names is no image, whether there is ground truth or not. Other layouts know their masks by name.
    masks = pattern or (NO_MASKS if folder and not labelled else None)
    inside = inside_of(place.root, config.ingest.largest_map)
    layout = known.find(config.dataset)
    try:
        samples = Samples.of(layout.samples(names, config.split, masks, inside))
        palette, ground_truth = _look_at_masks(config, place.root, samples, names, labelled, inside)
    except UsageError as error:
        notes = [f"passed over {line}" for line in describe_passed_over(passed_over)]
        notes += [remedy for ends, remedy in _REMEDIES if any(path.lower().endswith(ends) for path in passed_over)]
        raise UsageError("; ".join([f"{config.source}: {error}", *notes])) from error
    used = _find(files, samples, inside, truth=labelled or not folder)
    kinds: set[str] = set()
    if config.split is None:
        # What a folder has beside images are label maps, a data set may have anything.
        reason = (LABEL_MAP if labelled else NO_TRUTH) if folder else UNUSED
        unused = files.paths.where(candidates & ~used)
        passed_over |= {path: reason for path in unused if path not in passed_over}
    else:
        # By their names they are no images, such as lists and drawn annotations, but they are read for other splits.
        kinds = {suffix(path) for path in files.paths.where(used)}
    is_used = used[files.paths.find(Paths.of(passed_over))]
    passed_over = {
        path: reason
        for (path, reason), taken in zip(passed_over.items(), is_used.tolist(), strict=True)
        if not taken and suffix(path) not in kinds and not (palette and is_palette(path))
    }
    samples = samples[: config.limit]
    pieces = find_pieces(place.root, samples.images, layout.tile)
    rows = Rows.of(samples.images, pieces, config.limit)
    samples = samples[: int(rows.read(len(rows) - 1, len(rows))[0][-1]) + 1]
    starts, sizes, content = _cut(config, _stamped(files, samples, rows, labelled), pieces, part_bytes)
    counts = np.diff([*starts, len(rows)]).tolist()
    parts = list(map(part_name, range(len(starts))))
    return Listing(
        parts=FileParts(samples, rows, pieces, np.array(starts, np.int64), labelled),
        counts=dict(zip(parts, counts, strict=True)),
        sizes=dict(zip(parts, sizes, strict=True)),
        content=content,
        dataset=config.dataset,
        labelled=labelled and any(samples.masks),
        columns=None,
        root=place.root,
        passed_over=passed_over,
        notes=(*place.notes, *describe_passed_over(passed_over)),
        palette=palette,
        ground_truth=ground_truth,
    )


def _find(files: Files, samples: Samples, inside: Inside, truth: bool) -> np.ndarray:
    """Return which files are images of samples, or their ground truth, or were read for it."""
    used = np.zeros(len(files) + 1, np.bool_)  # the last one is that of masks that are not there
    for paths in (samples.images, *([samples.masks] if truth else []), Paths.of(sorted(inside.used))):
        for start in range(0, len(paths), blocks.CHUNK):
            used[files.paths.find(paths[start : start + blocks.CHUNK])] = True
    return used[:-1]


def _cut(
    config: RunConfig, images: Iterator[_Stamped], pieces: Mapping[str, Sequence[str]], part_bytes: int | None
) -> tuple[list[int], list[int], str]:
    """Return the first row of every part, the bytes of its files, and a hash of all images and files."""
    content = hashlib.sha256()
    starts: list[int] = []
    sizes: list[int] = []
    before = ""
    for number, (sample, piece, stamps) in enumerate(images):
        # The form is that of all run folders: another one would begin them again.
        image_id, image, mask = sample.image_id, sample.image, sample.mask
        if piece >= 0:
            image_id = piece_id(image_id, pieces[image], piece)
        more = "" if piece < 0 else f", {piece}"
        text = f"(Sample(image_id={image_id!r}, image={image!r}, mask={mask!r}), {stamps!r}{more})"
        content.update(text.encode())
        taken = number - starts[-1] if starts else 0
        if not starts or _is_full(config, taken, sizes[-1], part_bytes, image == before):
            starts.append(number)
            sizes.append(0)
        before = image
        # A file that annotates many images is read once, for all of them.
        size = stamps[0][0] + len(sample.drawn) if sample.drawn else sum(size for size, _ in stamps)
        sizes[-1] += size // len(pieces.get(image, "1"))
    return starts, sizes, content.hexdigest()


def _stamped(files: Files, samples: Samples, rows: Rows, labelled: bool) -> Iterator[_Stamped]:
    """Yield what is hashed of every image."""
    for start in range(0, len(rows), blocks.CHUNK):
        here, numbers = rows.read(start, start + blocks.CHUNK)
        images, masks = samples.images.take(here), samples.masks.take(here)
        stamps = files.stamps(files.paths.find(images))
        truths = files.stamps(files.paths.find(masks)) if labelled else stamps
        columns = (samples.ids.at(here), images, masks, numbers.tolist(), stamps, truths)
        for at, image_id, image, mask, number, own, truth in zip(here.tolist(), *columns, strict=True):
            used = labelled and bool(mask)
            sample = Sample(image_id, image, mask if used else None, samples.drawn_at(at) if labelled else b"")
            yield sample, number, [own, truth] if used else [own]


def _is_full(config: RunConfig, count: int, size: int, part_bytes: int | None, same_file: bool) -> bool:
    """Return whether a part takes no further image; the pieces of a file stay together, as long as there are few."""
    if same_file and count < MAX_ROWS:
        return False
    return size >= (part_bytes or PART_BYTES) or (part_bytes is None and count >= config.ingest.images_per_part)


def _look_at_masks(
    config: RunConfig, root: str, samples: Samples, files: Paths, labelled: bool, inside: Inside
) -> tuple[Palette, tuple[str, ...]]:
    """Return the palette that a source has, and lines on its ground truth; UsageError if its masks are none."""
    notes: list[str] = []
    palette: Palette = inside.palette
    having = array("q", (at for at, mask in enumerate(samples.masks) if mask)) if labelled else array("q")
    if having:
        first = samples[having[0]]
        notes.append(
            f"ground truth of {len(having):,} of {len(samples):,} images, such as {first.mask} of {first.image}"
        )
        if palette:
            notes[0] += f"; classes: {', '.join(name for name, _ in palette)}"
        elif known.find(config.dataset).class_names is None:
            palette = read_palette(root, files)
            chosen = having[:: max(1, len(having) // MASKS_READ)][:MASKS_READ]
            read = [(path, partial(read_file, root, path)) for path in (samples.masks[at] for at in chosen)]
            notes[0] += f"; {check_masks(read, palette, config.ingest.ignore_id, config.ingest.largest_map)}"
    elif config.dataset == known.FOLDER.name and config.ingest.masks != NO_MASKS:
        some = list(samples.images[:: max(1, len(samples) // MASKS_READ)][:MASKS_READ])
        looks = inside.look_at(some) if inside.look_at else []
        if looks.count("map") * 2 > len(some):
            notes.append(
                f"{looks.count('map')} of {len(some)} images looked at have few values, as label maps have, such as "
                f"{some[looks.index('map')]}: if they are, give the folder of their images"
            )
    if config.dataset == known.FOLDER.name:
        notes += known.recognise(files)
    return palette, (*notes, *inside.notes)
