"""Reading a part of a folder or data set: its files' bytes, each image decoded once to see that it is sound."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datus2_ray.core.images import decode, labels
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.operators.read_images import with_faults
from datus2_ray.errors import ImageError, MissingFileError
from datus2_ray.sources import layouts
from datus2_ray.sources.layouts.layout import check_id
from datus2_ray.store import schemas, storage

#: Files read at a time: from an object store each is a round trip.
READ_THREADS = 8

#: A file's bytes, what was wrong with it, or None where there is no file.
Read = bytes | ImageError | None


@dataclass(frozen=True)
class ReadFiles:
    """CPU task: turn the list of files of a part into its rows; `dataset` is the layout that reads masks."""

    source: str
    dataset: str
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part's files; every image is decoded once here, so that later steps meet only sound ones."""
        part = block.to_pylist()[0]
        rows: list[dict[str, Any]] = []
        faults: list[ImageError | None] = []
        with ThreadPoolExecutor(READ_THREADS) as threads:
            read = (threads.map(self._bytes, part[name]) for name in ("image", "mask"))
            named = zip(part["image_id"], part["image"], *read, strict=True)
            for image_id, file, image, mask in self.heartbeat.through(named):
                try:
                    rows.append({"file": file, **self._row(image_id, image, mask)})
                    faults.append(None)
                except ImageError as fault:
                    rows.append({"image_id": image_id})
                    faults.append(fault)
        table = pa.Table.from_pylist(rows, schema=schemas.IMAGES)
        return with_faults(table.append_column("part", pa.array([part["part"]] * len(rows), pa.string())), faults)

    def _row(self, image_id: str, image: Read, mask: Read) -> dict[str, Any]:
        check_id(image_id)
        if isinstance(image, ImageError):
            raise image
        if isinstance(mask, ImageError):
            raise mask
        return {"image_id": image_id, "image": image, **check_image(image, mask, self.dataset)}

    def _bytes(self, path: str) -> Read:
        try:
            return storage.read_bytes(storage.join(self.source, path)) if path else None
        except MissingFileError as error:
            # Any other fault is the store's, of which the images are not to blame: it ends the stage.
            return ImageError("unreadable", str(error))


def check_image(data: bytes | None, mask: bytes | None, dataset: str) -> dict[str, Any]:
    """Decode an image and its ground truth once, and return ``height``, ``width`` and ``mask``.

    Raises
    ------
    ImageError
        If one of them cannot be used.
    """
    height, width = decode.decode(data or b"").shape[:2]
    truth = None
    if mask is not None:
        truth = labels.encode_labels(layouts.find(dataset).decode_mask(mask, height, width))
    return {"height": height, "width": width, "mask": truth}
