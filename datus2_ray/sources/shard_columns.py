"""The columns of a shard: which hold images, ids and masks, by their names and types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from datus2_ray.config.ingest import IngestConfig
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.roles import folder_role, is_lesser
from datus2_ray.sources.pixel_lists import DEPTHS, is_bytes, is_pixels, list_depth
from datus2_ray.store import schemas

#: Metadata of a shard written by ``datus2 ingest``: the layout that defines the classes, whether there are masks, and
#: as JSON the names and colours of their classes, if a file of the source had any.
DATASET_KEY, LABELLED_KEY, PALETTE_KEY = b"datus2_ray.dataset", b"datus2_ray.labelled", b"datus2_ray.palette"


@dataclass(frozen=True)
class ShardColumns:
    """Columns of encoded images, ids and encoded masks; a dot leads into a struct.

    ``path`` and ``mask_path`` are columns beside those of bytes, which name a file where there are no bytes. Without a
    column of ids an image is named by its shard and row. ``dataset`` is set in shards of ``datus2 ingest``, which have
    heights and widths, decodable images, and class ids as masks; ``ranges`` says whether they have the ranges of deep
    images, too.
    """

    image: str
    image_id: str | None
    mask: str | None
    dataset: str | None
    path: str | None = None
    mask_path: str | None = None
    ranges: bool = False


def find_columns(source: str, shard: str, schema: pa.Schema, config: IngestConfig) -> ShardColumns:
    """Return the configured columns, or else those that fit in a shard.

    The default is ``image`` or the only column of encoded bytes, ``image_id``, and ``mask`` or the only one that is
    called so, such as ``annotation``. A configured mask that is not there is None: some splits have none.

    Raises
    ------
    UsageError
        If a configured column is missing or has another type, or the image column is ambiguous.
    """
    kinds = kinds_of(schema)
    encoded = encoded_among(kinds)
    # What is named may be lists of numbers under any name.
    listed = [name for name, kind in kinds.items() if is_pixels(kind) and name not in encoded]

    def named(column: str, option: str, allowed: Sequence[str]) -> str:
        for name in (column, f"{column}.bytes"):
            if name in allowed:
                return name
        raise UsageError(f"{source}: {option} {column} is none of {', '.join(allowed) or 'its columns'}; see {shard}")

    texts = [name for name, kind in kinds.items() if _is_text(kind)]
    numbers = [name for name, kind in kinds.items() if pa.types.is_integer(kind)]
    mask_candidates = encoded + listed if config.mask_column else encoded
    mask = next((name for name in _names(config.mask_column or "mask") if name in mask_candidates), None)
    # A column that is called a label map is never taken for images where there are others.
    called = [name for name in encoded if folder_role(name.partition(".")[0]).word]
    certain = [name for name in called if not is_lesser(name)]
    if mask is None and config.mask_column is None and len(certain) == 1 and len(encoded) > 1:
        mask = certain[0]
    if config.image_column:
        image = named(config.image_column, "--image-column", encoded + listed)
    else:
        others = [name for name in encoded if name != mask]
        candidates = [name for name in others if name not in called] or others
        image = next((name for name in _names("image") if name in candidates), "")
        if not image and len(candidates) != 1:
            _refuse_values(source, kinds, candidates)
            if not candidates:
                has = ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "nothing"
                raise UsageError(
                    f"{source}: no column of {shard} has the bytes of images, only {has}; write these as a column"
                )
            raise UsageError(
                f"{source}: which column has the images? give --image-column NAME, one of {', '.join(candidates)}"
            )
        image = image or candidates[0]
    if config.id_column:
        image_id: str | None = named(config.id_column, "--id-column", texts + numbers)
    else:
        image_id = "image_id" if "image_id" in texts else None
    noted = (schema.metadata or {}).get(DATASET_KEY)
    if noted and (schema.metadata or {}).get(LABELLED_KEY) == b"no":
        mask = None
    path, mask_path = (_beside(column, texts) for column in (image, mask))
    ranges = noted is not None and schemas.RANGE[0] in schema.names
    return ShardColumns(image, image_id, mask, noted.decode() if noted else None, path, mask_path, ranges)


def _refuse_values(source: str, kinds: Mapping[str, pa.DataType], candidates: Sequence[str]) -> None:
    """Raise a UsageError that names a column of pixel values that are not read, if there is nothing else."""
    values = next(
        (name for name, kind in kinds.items() if list_depth(kind)[0] in DEPTHS and _names_pixels(name, kind)), None
    )
    if values is not None and not candidates:
        raise UsageError(
            f"{source}: {values} has pixels of type {list_depth(kinds[values])[1]}, and of lists of pixels only whole "
            "numbers are read; write images as PNG or JPEG, as a column of bytes"
        )


def _names(column: str) -> tuple[str, str]:
    return column, f"{column}.bytes"


def _beside(column: str | None, texts: Sequence[str]) -> str | None:
    """Return the column of paths in the struct that a column of bytes is in."""
    path = f"{(column or '').removesuffix('.bytes')}.path"
    return path if (column or "").endswith(".bytes") and path in texts else None


def kinds_of(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return the types of a schema's columns and of those within structs; of a dictionary, that of its values."""
    return {name: kind for field in schema for name, kind in _leaves(field.name, field.type)}


def encoded_among(kinds: Mapping[str, pa.DataType]) -> list[str]:
    """Return the columns that may hold encoded images; a struct without any bytes has only its paths."""
    return [
        name
        for name, kind in kinds.items()
        if is_bytes(kind)
        or (is_pixels(kind) and _names_pixels(name, kind))
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
        or (pa.types.is_null(kind) and _beside(name, [path for path in kinds if _is_text(kinds[path])]))
    ]


def _names_pixels(column: str, kind: pa.DataType) -> bool:
    """Return whether a column's name says that lists in it are pixels, and not corners of boxes or polygons."""
    role, last = folder_role(column.rpartition(".")[2]), column.lower().rpartition(".")[2]
    # COCO's polygons are lists of lists, too.
    polygons = list_depth(kind)[0] == min(DEPTHS) and last.startswith("segmentation")
    return role.image or (not polygons and bool(re.search("pixel|mask|seg|annot", last)))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _leaves(name: str, kind: pa.DataType) -> list[tuple[str, pa.DataType]]:
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return [(name, kind.value_type if pa.types.is_dictionary(kind) else kind)]
