"""The training data of the refinement: repeatable streams of images, masks and batches.

Nothing here depends on the order in which Ray happens to finish tasks: an image's share is decided by a hash of its id,
the order of an epoch by a seed, and the stream keeps the order of the parts. torch is not imported but where masks come
from a layer on tokens: it would cost every process that only decodes images half a gigabyte and some seconds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.images import labels
from datus2_ray.core.images.resize import resize
from datus2_ray.engine.training.read import read_parts
from datus2_ray.engine.training.shares import Split
from datus2_ray.engine.training_workers import PAIRS_MEMORY
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays

#: Bytes of decoded images among which a worker shuffles.
SHUFFLE_BYTES = 2**26

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class LayerMasks:
    """The masks of EM, computed from the tokens that lie in the table with the URI `tokens`; `layer` is its file."""

    tokens: str
    layer: bytes

    def read(self, part: str, wanted: Sequence[str], size: int) -> dict[str, np.ndarray]:
        """Return masks, uint8 or uint16 [size, size], of some images of a part."""
        from datus2_ray.core.refine.prediction import predict_labels
        from datus2_ray.core.refine.token_layer import from_bytes

        layer = from_bytes(self.layer)
        columns = ["image_id", "grid_height", "grid_width", "tokens"]
        table = parquet.read_table(storage.join(self.tokens, part), columns)
        table = table.filter(pc.is_in(table["image_id"], value_set=pa.array(wanted, pa.string())))
        rows = table.drop_columns(["tokens"]).to_pylist()
        masks = {}
        for row, tokens in zip(rows, list_arrays(table["tokens"]), strict=True):
            logits = layer.of_patches(np.asarray(tokens), row["grid_height"], row["grid_width"])
            masks[row["image_id"]] = predict_labels(logits, size, size)
        return masks


@dataclass(frozen=True)
class ReadPairs:
    """CPU task: turns a block that names a part into that part's images and masks of one share.

    Images are resized to squares of ``size`` pixels per side, bicubic. The masks are those of ``layer``, drawn at that
    size, or the initial ones in the table with the URI ``masks``, resized to the nearest.
    """

    images: ImagesTable
    masks: str
    split: Split
    share: int
    size: int
    layer: LayerMasks | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part to one row: lists of images (uint8 RGB) and masks (uint8 or int32), as bytes."""
        part = block["part"][0].as_py()
        labelled = parquet.read_table(storage.join(self.masks, part), ["image_id"])["image_id"].to_pylist()
        wanted = [image_id for image_id in labelled if self.split.share(image_id) == self.share]
        rows: list[tuple[bytes, bytes]] = []
        if wanted:
            images = _by_id(self.images.read(part, ["image_id", "image"]))
            masks = self._initial(part, wanted) if self.layer is None else self.layer.read(part, wanted, self.size)
            rows = [self._pair(images[image_id], masks[image_id]) for image_id in wanted]
        return pa.table({"image": [[image for image, _ in rows]], "mask": [[mask for _, mask in rows]]}, _PAIRS)

    def _initial(self, part: str, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        masks = _by_id(parquet.read_table(storage.join(self.masks, part), ["image_id", "mask"]))
        size = self.size
        return {i: labels.upsample_nearest(labels.decode_labels(masks[i]), size, size) for i in wanted}

    def _pair(self, image: bytes, target: np.ndarray) -> tuple[bytes, bytes]:
        pixels = resize(self.images.decode(image), self.size, self.size)
        # torch computes little with uint16.
        return pixels.tobytes(), target.astype(np.uint8 if target.dtype == np.uint8 else np.int32).tobytes()


_PAIRS = pa.schema([("image", pa.list_(pa.binary())), ("mask", pa.list_(pa.binary()))])


def _by_id(table: pa.Table) -> dict[str, bytes]:
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


def read_pairs(parts: Sequence[str], read: ReadPairs) -> Iterator[list[Pair]]:
    """Read the pairs of a share with Ray Data, one list per part, in the order of the parts.

    Yields
    ------
    list of pairs
        Image uint8 [3, size, size], and mask uint8 or int32 [size, size].
    """
    for block in read_parts(parts, read):
        yield from pairs_of(block, read.size)


def pairs_of(block: pa.Table, size: int) -> Iterator[list[Pair]]:
    """Yield the pairs of every row from :class:`ReadPairs`."""
    for images, masks in zip(block["image"].to_pylist(), block["mask"].to_pylist(), strict=True):
        yield [
            (
                np.frombuffer(image, np.uint8).reshape(size, size, 3).transpose(2, 0, 1),
                np.frombuffer(mask, np.uint8 if len(mask) == size * size else np.int32).reshape(size, size),
            )
            for image, mask in zip(images, masks, strict=True)
        ]


class Pairs:
    """The pairs of a share, pass after pass: up to ``max_bytes`` of decoded pairs are kept, whole parts of them."""

    def __init__(self, read: ReadPairs, max_bytes: int = PAIRS_MEMORY) -> None:
        self.read = read
        self._free = max_bytes
        self._kept: dict[str, list[Pair]] = {}

    def stream(self, parts: Sequence[str]) -> Iterator[Pair]:
        """Yield the pairs of parts, in their order; only what is not kept is read."""
        missing = [part for part in parts if part not in self._kept]
        read = read_pairs(missing, self.read) if missing else iter(())
        for part in parts:
            pairs = self._kept[part] if part in self._kept else next(read)
            size = sum(image.nbytes + mask.nbytes for image, mask in pairs)
            if part not in self._kept and size <= self._free:
                self._kept[part] = pairs
                self._free -= size
            yield from pairs


def training_batches(parts: Sequence[str], pairs: Pairs, batch_size: int, key: tuple[int, ...]) -> Generator[Pair]:
    """Yield batches without end: pass after pass over a share, each in another order that depends on the key alone.

    A batch that a pass leaves incomplete is filled from the next, so that every worker has as many batches as it
    asks for, all full. The key is seed, rank and epoch.

    Yields
    ------
    images : ndarray of uint8, shape [batch_size, 3, size, size]
    masks : ndarray of uint8 or int32, shape [batch_size, size, size]
    """
    batch: list[Pair] = []
    for number in count():
        rng = np.random.default_rng([*key, number])
        order = [parts[i] for i in rng.permutation(len(parts))]
        buffer = max(batch_size, SHUFFLE_BYTES // (4 * pairs.read.size**2))
        for pair in shuffled(pairs.stream(order), buffer, rng):
            batch.append(pair)
            if len(batch) == batch_size:
                yield stack(batch)
                batch = []


def shuffled(pairs: Iterator[Pair], buffer: int, rng: np.random.Generator) -> Iterator[Pair]:
    """Shuffle a stream within a buffer of so many pairs: a full random order if all of them fit."""
    kept: list[Pair] = []
    for pair in pairs:
        kept.append(pair)
        if len(kept) > buffer:
            i = int(rng.integers(len(kept)))
            kept[i], kept[-1] = kept[-1], kept[i]
            yield kept.pop()
    for i in rng.permutation(len(kept)):
        yield kept[i]


def stack(pairs: Sequence[Pair]) -> Pair:
    """Stack pairs to a batch."""
    image, mask = zip(*pairs, strict=True)
    return np.stack(image), np.stack(mask)
