"""The training data of the refinement: which image goes where, and the endless, repeatable streams of batches.

Nothing here depends on the order in which Ray happens to finish tasks: an image's share is decided by a hash of its id,
the order of an epoch by a seed, and the stream keeps the order of the parts. Nor is torch imported, which would cost
every process that only decodes images half a gigabyte and some seconds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import pyarrow as pa

from datus2_ray.core.images import decode, labels
from datus2_ray.engine.training.read import read_parts
from datus2_ray.engine.training.shares import Split
from datus2_ray.engine.training_workers import PAIRS_MEMORY
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import storage

#: Bytes of decoded images among which a worker shuffles.
SHUFFLE_BYTES = 2**26

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ReadPairs:
    """CPU task: turns a block that names a part into that part's images and initial masks of one share.

    Parameters
    ----------
    images : ImagesTable
        The run's images.
    masks : str
        URI of ``masks/initial/``.
    split : Split
        Which image belongs where.
    share : int
        The wanted share.
    size : int
        Side of the square that both are resized to, in pixels: bicubic and nearest.
    """

    images: ImagesTable
    masks: str
    split: Split
    share: int
    size: int

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part; the columns are ``part``, ``image`` (uint8 RGB) and ``mask`` (uint8, or int32), as bytes."""
        part = block["part"][0].as_py()
        ids = storage.read_table(storage.join(self.masks, part), ["image_id"])["image_id"].to_pylist()
        wanted = [image_id for image_id in ids if self.split.share(image_id) == self.share]
        rows = self._pairs(part, wanted) if wanted else []
        columns = {"image": [image for image, _ in rows], "mask": [mask for _, mask in rows]}
        return pa.table({"part": [part] * len(rows), **columns}, schema=_PAIRS)

    def _pairs(self, part: str, wanted: Sequence[str]) -> list[tuple[bytes, bytes]]:
        encoded = _by_id(self.images.read(part, ["image_id", "image"]))
        labelled = _by_id(storage.read_table(storage.join(self.masks, part), ["image_id", "mask"]))
        return [self._pair(encoded[image_id], labelled[image_id]) for image_id in wanted]

    def _pair(self, image: bytes, mask: bytes) -> tuple[bytes, bytes]:
        pixels = decode.resize(decode.decode(image), self.size, self.size)
        target = labels.upsample_nearest(labels.decode_labels(mask), self.size, self.size)
        # torch computes little with uint16.
        return pixels.tobytes(), target.astype(np.uint8 if target.dtype == np.uint8 else np.int32).tobytes()


_PAIRS = pa.schema([("part", pa.string()), ("image", pa.binary()), ("mask", pa.binary())])


def _by_id(table: pa.Table) -> dict[str, bytes]:
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


def stream_pairs(parts: Sequence[str], read: ReadPairs) -> Iterator[Pair]:
    """Read the pairs of a share with Ray Data, in the order of the parts.

    Yields
    ------
    image : ndarray of uint8, shape [3, size, size]
    mask : ndarray of uint8 or int32, shape [size, size]
    """
    for block in read_parts(parts, read):
        yield from pairs_of(block, read.size)


def pairs_of(block: pa.Table, size: int) -> Iterator[Pair]:
    """Give the pairs of a block that :class:`ReadPairs` made, as :func:`stream_pairs` does."""
    for image, mask in zip(block["image"].to_pylist(), block["mask"].to_pylist(), strict=True):
        pixels = np.frombuffer(image, np.uint8).reshape(size, size, 3).transpose(2, 0, 1)
        labels = np.frombuffer(mask, np.uint8 if len(mask) == size * size else np.int32).reshape(size, size)
        yield pixels, labels


class Pairs:
    """The pairs of a share, pass after pass: a part that has been read is kept decoded while there is room.

    Parameters
    ----------
    read : ReadPairs
        How a part is read, and of which share.
    most_bytes : int
        Bytes of decoded pairs that may be kept.
    """

    def __init__(self, read: ReadPairs, most_bytes: int = PAIRS_MEMORY) -> None:
        self.read = read
        self._room = most_bytes
        self._kept: dict[str, list[Pair]] = {}

    def stream(self, parts: Sequence[str]) -> Iterator[Pair]:
        """Give what :func:`stream_pairs` gives, in the same order; only what is not kept is read."""
        read = self._read_in_order([part for part in parts if part not in self._kept])
        for part in parts:
            pairs = self._kept[part] if part in self._kept else next(read)
            size = sum(image.nbytes + mask.nbytes for image, mask in pairs)
            if part not in self._kept and size <= self._room:
                self._kept[part] = pairs
                self._room -= size
            yield from pairs

    def _read_in_order(self, parts: Sequence[str]) -> Iterator[list[Pair]]:
        """Read parts, and give the pairs of each as soon as those of a later one come, or none do."""
        following = iter(parts)
        current, pairs = next(following, None), list[Pair]()
        for block in read_parts(parts, self.read):
            for part, pair in zip(block["part"].to_pylist(), pairs_of(block, self.read.size), strict=True):
                while part != current:
                    yield pairs
                    current, pairs = next(following), []
                pairs.append(pair)
        while current is not None:
            yield pairs
            current, pairs = next(following, None), []


def training_batches(parts: Sequence[str], pairs: Pairs, batch_size: int, key: tuple[int, ...]) -> Generator[Pair]:
    """Give batches without end: pass after pass over a share, each in another order that depends on the key alone.

    A batch that a pass leaves incomplete is filled from the next, so that every worker has as many batches as it
    asks for, all full.

    Parameters
    ----------
    parts : sequence of str
        Names of the parts.
    pairs : Pairs
        What they hold of the share.
    batch_size : int
        Pairs a batch.
    key : tuple of int
        Seed, rank, epoch.

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
    """Shuffle a stream within a buffer of so many pairs: a full random order where all of them fit."""
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
    """Make a batch of pairs."""
    image, mask = zip(*pairs, strict=True)
    return np.stack(image), np.stack(mask)
