"""What a source's files tell of its ground truth before anything is computed: a bounded number of them is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from datus2_ray.core.images.classes import find_classes
from datus2_ray.core.images.label_map import read_label_map
from datus2_ray.core.images.look import Look, look
from datus2_ray.errors import DamagedFileError, ImageError, MissingFileError, StorageError, UsageError
from datus2_ray.sources.layouts.layout import Inside, Palette
from datus2_ray.sources.shard_columns import PALETTE_KEY
from datus2_ray.sources.shard_paths import PathReader
from datus2_ray.sources.shards import Slice, read_slice
from datus2_ray.sources.text import decode_text
from datus2_ray.store import parquet, storage

#: Files read at a time: from an object store each is a round trip.
READ_THREADS = 16

#: Masks that are read before a run, at even distances.
MASKS_READ = 16

#: Slices of shards of which some masks are read before a run.
SLICES_READ = 4

#: Files that name the colours of masks: CVAT's, CamVid's, and those of Kaggle's copies of data sets.
PALETTE_FILES = ("labelmap.txt", "label_colors.txt", "class_dict.csv", "class_dict_seg.csv", "classes.csv")

_PALETTE = TypeAdapter(tuple[tuple[str, Annotated[int, Field(ge=0, le=0xFFFFFF)]], ...])

#: The name of a mask, and a function that reads it; None where it cannot be read.
NamedMask = tuple[str, Callable[[], bytes | None]]

_NAME_FIRST = re.compile(r"\s*(?P<name>[^#,:;\t]+?)\s*[:,;\t ]\s*(\d{1,3})[,; \t]+(\d{1,3})[,; \t]+(\d{1,3})\b")
_COLOUR_FIRST = re.compile(r"\s*(\d{1,3})[,; \t]+(\d{1,3})[,; \t]+(\d{1,3})[,; \t]+(?P<name>[^,;\t]+?)\s*$")


def inside_of(source: str, max_megapixels: int) -> Inside:
    """Return what layouts may ask of a source: to look into images up to a size, and to read other files."""

    def look_at(paths: Sequence[str]) -> list[Look | None]:
        return [None if data is None else _look(data, max_megapixels) for data in _read(source, paths)]

    return Inside(look_at, partial(_read, source))


def is_palette(path: str) -> bool:
    """Return whether a file has a name for files of palettes."""
    return path.rpartition("/")[2].lower() in PALETTE_FILES


def read_palette(source: str, paths: Iterable[str]) -> Palette:
    """Return the names and colours of a file that the source has for this; empty if it has none."""
    found = [path for path in paths if is_palette(path)]
    for path in sorted(found, key=lambda path: (path.count("/"), PALETTE_FILES.index(path.rpartition("/")[2].lower()))):
        data = _read(source, [path])[0] or b""
        try:
            text = decode_text(data)
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
        if len(entries := parse_palette(text)) > 1:
            return entries
    return ()


def noted_palette(source: str, shard: str) -> Palette:
    """Return the palette of the source that a shard was made of, which its metadata have; empty if it had none.

    Raises
    ------
    StorageError
        If it is damaged.
    """
    noted = (parquet.read_schema(storage.join(source, shard)).metadata or {}).get(PALETTE_KEY, b"[]")
    try:
        return _PALETTE.validate_json(noted)
    except ValidationError as error:
        raise StorageError(f"{source}: the shard {shard} is damaged: its palette has no names and colours") from error


def parse_palette(text: str) -> Palette:
    """Read the lines of a palette's file, ``name:R,G,B``, ``name,R,G,B`` or ``R G B name``; others are passed over."""
    entries: dict[int, str] = {}
    for line in text.splitlines():
        match = _COLOUR_FIRST.match(line) or _NAME_FIRST.match(line)
        if match is not None:
            rgb = [int(part) for part in match.groups() if part and part != match["name"]][:3]
            if len(rgb) == 3 and max(rgb) <= 255:
                entries.setdefault(rgb[0] << 16 | rgb[1] << 8 | rgb[2], match["name"])
    return tuple((name, colour) for colour, name in entries.items())


def check_masks(masks: Sequence[NamedMask], palette: Palette, ignored: Sequence[str], max_megapixels: int) -> str:
    """Read some masks, up to a size, and return a line on the classes in them.

    Raises
    ------
    UsageError
        If they have soft edges, or none of them is a label map.
    """
    counts, faults = [], []
    with ThreadPoolExecutor(READ_THREADS) as threads:
        read = list(threads.map(lambda mask: mask[1](), masks))
    for (name, _), data in zip(masks, read, strict=True):
        try:
            if data is not None:
                counts.append(read_label_map(data, max_megapixels).count())
        except ImageError as fault:
            faults.append((name, fault))
    if not counts:
        formats = [named for named in faults if named[1].kind == "mask_format"]
        if formats:
            name, first = formats[0]
            raise UsageError(
                f"{name}: {first.message.removeprefix('mask: ')}; mend the masks, or give --masks none to run without "
                "ground truth"
            )
        return "none of the masks looked at can be read"
    _refuse_instances(counts)
    found = find_classes(np.concatenate(counts), palette, ignored)
    return f"in {len(counts)} of them {found.describe()}"


def masks_in(source: str, slices: Sequence[Slice], paths: PathReader) -> list[NamedMask]:
    """Return the first masks of some slices of shards, which have their bytes or name their files."""
    count = min(SLICES_READ, len(slices))
    found: list[NamedMask] = []
    for cut in (slices[number * len(slices) // count] for number in range(count)):
        names = (cut.columns.mask, cut.columns.mask_path)
        try:
            columns = read_slice(source, cut, [name for name in names if name])
        except DamagedFileError:  # its rows are refused where all are read
            continue
        masks, files = (columns[name] if name else [None] * (cut.stop - cut.start) for name in names)
        some: list[NamedMask] = []
        for row, (mask, file) in enumerate(zip(masks, files, strict=True), cut.first + cut.start):
            if isinstance(mask, bytes):
                some.append((f"{cut.shard}, row {row}", partial(bytes, mask)))
            elif file:
                some.append((f"{cut.shard}, row {row}", partial(_read_path, paths, cut.shard, file)))
        found += some[: MASKS_READ // count]
    return found


def _read_path(paths: PathReader, shard: str, path: str) -> bytes | None:
    try:
        return paths.read(shard, path)
    except ImageError:
        return None


def _refuse_instances(counts: Sequence[NDArray[np.int64]]) -> None:
    """Raise a UsageError if most values occur in one mask only, as those of instances do that a whole set numbers."""
    values, maps = np.unique(np.concatenate(counts)[:, :2], axis=0, return_counts=True)
    if len(counts) >= 4 and len(values) > 4 * len(counts) and (maps == 1).mean() > 0.8:
        raise UsageError(
            f"{len(counts)} masks have {len(values)} ids or colours, most of them in one mask only: instances, not "
            "classes; give --masks PATTERN for class maps, or --masks none to run without ground truth"
        )


def read_file(source: str, path: str) -> bytes | None:
    """Return the bytes of a file of a source; None where it cannot be read."""
    try:
        return storage.read_bytes(storage.join(source, path))
    except MissingFileError:
        return None


def _read(source: str, paths: Sequence[str]) -> list[bytes | None]:
    with ThreadPoolExecutor(READ_THREADS) as threads:
        return list(threads.map(partial(read_file, source), paths))


def _look(data: bytes, max_megapixels: int) -> Look | None:
    try:
        return look(data, max_megapixels)
    except ImageError:
        return None
