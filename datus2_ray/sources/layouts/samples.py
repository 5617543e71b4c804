"""The samples of a source: one for each image, with its id and its ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import pyarrow as pa

from datus2_ray.sources import blocks
from datus2_ray.sources.blocks import rebatch
from datus2_ray.sources.paths import Paths
from datus2_ray.sources.sorting import sort_rows

_SCHEMA = pa.schema([("id", pa.string()), ("image", pa.string()), ("mask", pa.string()), ("at", pa.int64())])


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a source, and its ground truth if there is one.

    Parameters
    ----------
    image_id : str
        Key of the image in every table, unique in the source: its path below the images folder, without suffix. It is
        never absolute and has no ``..``, backslash or control character, so that it can name a file in a folder.
    image, mask : str
        Paths relative to the root of the source; ``mask`` is None if the image has none.
    drawn : bytes
        What ``DatasetLayout.decode_mask`` takes in place of the bytes of ``mask``, where a file annotates many images;
        else empty.
    """

    image_id: str
    image: str
    mask: str | None
    # Not in the hash of a listing: the file that it was read from is.
    drawn: bytes = field(default=b"", repr=False)


class Samples(Sequence[Sample]):
    """The samples of a source, sorted by id, in columns; equal to any sequence of the same samples."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, ids: Paths, images: Paths, masks: Paths, drawn: Sequence[bytes] = ()) -> None:
        self._drawn = drawn if any(drawn) else []
        if not ids.is_sorted():
            rows = sort_rows(_rows(ids, images, masks), _SCHEMA)
            order = (at for batch in rows.read() for at in batch.column("at").to_pylist())
            self._drawn = [drawn[at] for at in order] if self._drawn else []
            ids, images, masks = (
                Paths(rows, name, paths.show) for name, paths in (("id", ids), ("image", images), ("mask", masks))
            )
        self.ids, self.images, self.masks = ids, images, masks

    @staticmethod
    def of(samples: Sequence[Sample]) -> Samples:
        """Return samples of any origin; those that are in this form already as they are."""
        if isinstance(samples, Samples):
            return samples
        ids, images = (Paths.of(getattr(sample, name) for sample in samples) for name in ("image_id", "image"))
        return Samples(ids, images, Paths.of(sample.mask for sample in samples), [sample.drawn for sample in samples])

    def drawn_at(self, at: int) -> bytes:
        """Return what is drawn in a sample."""
        return self._drawn[at] if self._drawn else b""

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> Samples: ...
    def __getitem__(self, at: int | slice) -> Sample | Samples:
        """Return a sample, or some of them."""
        if isinstance(at, slice):
            return Samples(self.ids[at], self.images[at], self.masks[at], self._drawn[at])
        return Sample(self.ids[at], self.images[at], self.masks[at] or None, self.drawn_at(at))

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples."""
        for at, (image_id, image, mask) in enumerate(zip(self.ids, self.images, self.masks, strict=True)):
            yield Sample(image_id, image, mask or None, self.drawn_at(at))

    def __eq__(self, other: object) -> bool:
        """Return whether a sequence has the same samples."""
        return isinstance(other, Sequence) and list(self) == list(other)


def _rows(*columns: Paths) -> Iterator[Any]:
    """Yield the rows of columns of texts of one length, and their numbers, as record batches."""
    columns_of = ((pa.record_batch([array], ["text"]) for array in paths.arrays()) for paths in columns)
    batches = (rebatch(of, blocks.CHUNK) for of in columns_of)
    start = 0
    for some in zip(*batches, strict=True):
        numbers = np.arange(start, start := start + len(some[0]))
        yield pa.record_batch([*(batch.column(0) for batch in some), pa.array(numbers)], schema=_SCHEMA)
