"""Reading a part of a folder or data set: its files' bytes, each image decoded once to see that it is sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import pyarrow as pa

from datus2_ray.core.images import decode, tiff
from datus2_ray.core.images.rendering import Rendering
from datus2_ray.core.views import tiles
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.operators.read_images import with_faults
from datus2_ray.errors import ImageError, MissingFileError
from datus2_ray.sources.layouts import known
from datus2_ray.sources.layouts.ground_truth import check_size
from datus2_ray.sources.layouts.ids import check_id
from datus2_ray.stages.ingest.notes import write_notes
from datus2_ray.store import schemas, storage

#: Files read at a time: from an object store each is a round trip.
READ_THREADS = 8

#: A file's bytes, what was wrong with it, or None where there is no file.
Read = bytes | ImageError | None


@dataclass(frozen=True)
class ReadFiles:
    """CPU task: turn the list of files of a part into its rows; `dataset` is the layout that reads masks.

    Notes on the images are written below `folder`, that of the result.
    """

    source: str
    dataset: str
    heartbeat: Heartbeat
    rendering: Rendering
    folder: str

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part's files; every image is decoded once here, so that later steps meet only sound ones."""
        part = block.to_pylist()[0]
        rows: list[dict[str, Any]] = []
        faults: list[ImageError | None] = []
        with ThreadPoolExecutor(READ_THREADS) as threads:
            # The pieces of a file follow each other: it is read once.
            files = (threads.map(self._bytes, [path for path, _ in groupby(part[name])]) for name in ("image", "mask"))
            read = (_repeat(paths, part[name]) for paths, name in zip(files, ("image", "mask"), strict=True))
            named = zip(part["image_id"], part["image"], part["mask"], part["drawn"], part["piece"], *read, strict=True)
            for image_id, file, path, drawn, piece, image, mask in self.heartbeat.through(named):
                try:
                    rows.append({"file": file, **self._row(image_id, piece, image, drawn or mask, path)})
                    faults.append(None)
                except ImageError as fault:
                    rows.append({"image_id": image_id})
                    faults.append(fault)
        write_notes(self.folder, part["part"], rows)
        table = pa.Table.from_pylist(rows, schema=schemas.IMAGES)
        return with_faults(table.append_column("part", pa.array([part["part"]] * len(rows), pa.string())), faults)

    def _row(self, image_id: str, piece: int, image: Read, mask: Read, path: str) -> dict[str, Any]:
        check_id(image_id)
        layout = known.find(self.dataset)
        if piece >= 0:
            limit = self.rendering.max_megapixels
            mask = _piece(mask, piece, layout.tile, limit, image)
            image = _piece(image, piece, layout.tile, limit)
        if isinstance(image, ImageError):
            raise image
        picture = None if image is None else layout.picture(image)
        return {
            "image_id": image_id,
            "image": picture,
            **check_image(picture, mask, self.dataset, self.rendering, path),
        }

    def _bytes(self, path: str) -> Read:
        try:
            return storage.read_bytes(storage.join(self.source, path)) if path else None
        except MissingFileError as error:
            # Any other fault is the store's, of which the images are not to blame: it ends the stage.
            return ImageError("unreadable", str(error))


def _repeat(read: Iterator[Read], paths: Sequence[str]) -> Iterator[Read]:
    """Yield what was read of each path, as often as the path follows itself."""
    for (_, group), data in zip(groupby(paths), read, strict=True):
        for _ in group:
            yield data


def _piece(data: Read, number: int, tile: int | None, max_megapixels: int, like: Read = None) -> Read:
    """Return a page or window of a file as a file of its own; a window of a mask only where its image has that size.

    A mask that is no stack counts for every page.
    """
    if not isinstance(data, bytes):
        return data
    try:
        if tile is not None:
            if isinstance(like, bytes):
                check_size(tiles.size(data, max_megapixels), *tiles.size(like, max_megapixels))
            return tiles.cut(data, number, tile, max_megapixels)
    except ImageError as error:
        return error
    pages = _pages(data)
    if len(pages) < 2:
        return data
    if number >= len(pages):
        return ImageError("unreadable", f"the file has {len(pages)} pages, and not the {number + 1} of its listing")
    try:
        return tiff.extract(data, pages[number])
    except ValueError as error:
        return ImageError("unreadable", f"page {number + 1}: {error}")


@lru_cache(maxsize=2)
def _pages(data: bytes) -> list[tiff.Page]:
    return tiff.pages_of(data)


def check_image(data: bytes | None, mask: Read, dataset: str, rendering: Rendering, path: str = "") -> dict[str, Any]:
    """Decode an image and its ground truth once, and return its columns beside id and image, and its ``notes``.

    `path` is that of the ground truth, where it has one.

    Raises
    ------
    ImageError
        If the image cannot be used. A ground truth that cannot be used costs the image its score, nothing else.
    """
    decoded = decode.inspect(data or b"", rendering)
    height, width = decoded.values.shape[:2]
    crop, truth, fault = rendering.crop, None, None
    try:
        if isinstance(mask, ImageError):
            raise mask if mask.kind.startswith("mask_") else ImageError("mask_unreadable", f"mask: {mask.message}")
        if mask is not None:
            truth = known.find(dataset).decode_mask(mask, height, width, path).crop(crop).encode()
    except ImageError as error:
        fault = str(error)
    row = {"height": crop or height, "width": crop or width, "mask": truth, "mask_fault": fault, "notes": decoded.notes}
    if (measured := decoded.measure()) is not None:
        row |= dict(zip(schemas.RANGE, measured, strict=True))
    return row
