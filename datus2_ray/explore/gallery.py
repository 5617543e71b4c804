"""Images and segments of a run as pictures, read a part at a time with a bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.images.labels import decode_labels
from datus2_ray.explore import pictures
from datus2_ray.explore.cache import Cache
from datus2_ray.explore.tables import Tables
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Ingested, Predicted, TaughtMasks
from datus2_ray.store.run_folder import RunFolder

#: Bytes of tables as they were read, and of pictures, that are kept.
TABLE_BYTES, PICTURE_BYTES = 192 * 2**20, 96 * 2**20

#: Images that are decoded at a time: one of 100 megapixels takes 300 MB.
AT_A_TIME = 2

#: Longest side of a label map, in pixels.
MAP_SIDE = 1024


@dataclass(frozen=True)
class Sources:
    """Where the images, segments and refined masks of a run lie; ``masks`` is None where there are none."""

    images: ImagesTable
    segments: Commit[Discovered]
    masks: Commit[Predicted] | None

    @staticmethod
    def of(run: RunFolder) -> Sources:
        """Return the sources of a finished run."""
        return Sources(ImagesTable.of(run.require(Ingested)), run.require(Discovered), run.find(Predicted))


class Gallery:
    """Draws images and segments by their numbers; nothing that a client sends becomes a path."""

    def __init__(self, tables: Tables, sources: Sources) -> None:
        self._tables, self._sources = tables, sources
        self._read: Cache[pa.Table] = Cache(TABLE_BYTES, lambda table: table.nbytes)
        self._drawn: Cache[bytes] = Cache(PICTURE_BYTES, len)
        self._turns = threading.BoundedSemaphore(AT_A_TIME)

    def photo(self, image: int, side: int) -> bytes:
        """Return an image as JPEG of at most `side` pixels."""
        return self._drawn.get(("photo", image, side), lambda: self._draw_photo(image, side))

    def crop(self, image: int, segment: int, side: int) -> bytes:
        """Return a segment as a square JPEG of `side` pixels."""
        return self._drawn.get(("crop", image, segment, side), lambda: self._draw_crop(image, segment, side))

    def label_map(self, image: int) -> bytes:
        """Return the segments and the refined mask of an image as :func:`~pictures.label_map` has them."""
        return self._drawn.get(("map", image), lambda: self._draw_map(image, self._sources.masks))

    def taught_map(self, image: int, taught: Commit[TaughtMasks]) -> bytes:
        """Return the segments and the taught classes of an image in the same form."""
        return self._drawn.get(("taught", taught.fingerprint, image), lambda: self._draw_map(image, taught))

    def _draw_photo(self, image: int, side: int) -> bytes:
        encoded = self._encoded(image)
        with self._turns:
            return pictures.photo(encoded, side)

    def _draw_crop(self, image: int, segment: int, side: int) -> bytes:
        encoded, patch_map = self._encoded(image), self._patch_map(image)
        with self._turns:
            return pictures.crop(encoded, patch_map, segment, side)

    def _draw_map(self, image: int, masks: Commit[Any] | None) -> bytes:
        row = self._row(image, masks.uri, ["mask"]) if masks else {}
        mask = decode_labels(row["mask"]) if row.get("mask") else None
        return pictures.label_map(self._patch_map(image), mask, MAP_SIDE)

    def _encoded(self, image: int) -> pictures.Encoded:
        table, columns = self._sources.images, ["image_id", "image", "height", "width"]
        row = self._row_of(image, "images", lambda part: table.read(part, columns))
        return pictures.Encoded(row["image"], row["height"], row["width"], table.decode)

    def _patch_map(self, image: int) -> np.ndarray:
        row = self._row(image, self._sources.segments.uri, ["grid_height", "grid_width", "patch_map"])
        return np.array(row["patch_map"], dtype=np.int16).reshape(row["grid_height"], row["grid_width"])

    def _row(self, image: int, uri: str, columns: list[str]) -> dict[str, Any]:
        return self._row_of(
            image, uri, lambda part: parquet.read_table(storage.join(uri, part), ["image_id", *columns])
        )

    def _row_of(self, image: int, what: str, read: Callable[[str], pa.Table]) -> dict[str, Any]:
        """Return the row of an image in a table, empty if it has none."""
        part = self._tables.parts[self._tables.image_part[image]]
        table = self._read.get((what, part), lambda: read(part))
        rows = table.filter(pc.equal(table["image_id"], self._tables.image_ids[image])).to_pylist()
        return rows[0] if rows else {}
