"""The images of a self-supervised training: read by Ray Data, kept decoded where they fit, else streamed."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import pyarrow as pa
import ray.data
import torch
from numpy.typing import NDArray
from torch import Tensor

from datus2_ray import storage
from datus2_ray.core import images
from datus2_ray.resources import Cluster
from datus2_ray.stages.pretrain_plan import Pretrain
from datus2_ray.stages.shares import Split, hash_id

#: Lane, hash, and pixels of shape [3, S, S].
_Row = tuple[int, int, NDArray[np.uint8]]

#: Bytes of decoded images among which a worker shuffles what it streams.
SHUFFLE_BYTES = 2**28

_ROWS = pa.schema([("lane", pa.int32()), ("hash", pa.uint64()), ("image", pa.binary())])


@dataclass(frozen=True)
class ReadLanes:
    """CPU task: turns a block that names a part into that part's decoded images of some lanes.

    Parameters
    ----------
    images : str
        URI of ``images/``.
    lanes : Split
        Which image is in which lane.
    wanted : container of int
        The wanted lanes.
    size : int
        Side of the square that they are resized to, in pixels: bicubic.
    """

    images: str
    lanes: Split
    wanted: Container[int]
    size: int

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        uri = storage.join(self.images, block["part"][0].as_py())
        ids = storage.read_table(uri, ["image_id"])["image_id"].to_pylist()
        lanes = [self.lanes.share(image_id) for image_id in ids]
        rows = []
        if any(lane in self.wanted for lane in lanes):
            encoded = storage.read_table(uri, ["image"])["image"]
            for image_id, lane, image in zip(ids, lanes, encoded, strict=True):
                if lane in self.wanted:
                    pixels = images.resize(images.decode(image.as_py()), self.size, self.size)
                    rows.append({"lane": lane, "hash": hash_id(self.lanes.seed, image_id), "image": pixels.tobytes()})
        return pa.Table.from_pylist(rows, _ROWS)


@dataclass(frozen=True)
class Held:
    """Decoded images.

    Parameters
    ----------
    pixels : Tensor
        uint8, shape [n, 3, S, S].
    lanes : dict of int to ndarray of int
        The rows of every lane, in the order of their hashes.
    """

    pixels: Tensor
    lanes: dict[int, NDArray[np.int64]]


def hold_images(plan: Pretrain, wanted: Container[int], device: torch.device, tell: Callable[[], None]) -> Held:
    """Read the images of some lanes, once, and keep them on the device.

    Parameters
    ----------
    plan : Pretrain
        The training.
    wanted : container of int
        The lanes.
    device : torch.device
        Where they are kept.
    tell : callable
        Called after every part, so that nobody takes a long reading for a standstill.
    """
    blocks: list[Tensor] = []
    keys: list[tuple[int, int]] = []
    for block in _blocks(plan, list(plan.parts), wanted):
        keys += [(lane, number) for lane, number, _ in block]
        if block:
            blocks.append(torch.from_numpy(np.stack([image for _, _, image in block])).to(device))
        tell()
    size = plan.recipe.image_size
    pixels = torch.empty((len(keys), 3, size, size), dtype=torch.uint8, device=device)
    first = len(keys)
    while blocks:  # each is let go as soon as it is copied: untouched pages of `pixels` take no memory yet
        last = blocks.pop()
        pixels[first - len(last) : first] = last
        first -= len(last)
    lanes: dict[int, list[int]] = {}
    for row in sorted(range(len(keys)), key=lambda row: keys[row]):
        lanes.setdefault(keys[row][0], []).append(row)
    return Held(pixels, {lane: np.array(rows) for lane, rows in lanes.items()})


def held_batches(plan: Pretrain, held: Held, wanted: range, first_step: int) -> Iterator[Tensor]:
    """Give a batch a step without end, one image of each lane; every lane in a new order in every pass.

    Parameters
    ----------
    plan : Pretrain
        The training.
    held : Held
        The images of the wanted lanes, each of which has at least one.
    wanted : range
        This worker's lanes.
    first_step : int
        The step of the first batch: whatever was before it makes no difference.
    """
    orders: dict[int, tuple[int, NDArray[np.int64]]] = {}
    for step in count(first_step):
        chosen = []
        for lane in wanted:
            rows = held.lanes[lane]
            number, place = divmod(step, len(rows))
            if lane not in orders or orders[lane][0] != number:
                orders[lane] = (number, np.random.default_rng((plan.recipe.seed, lane, number)).permutation(rows))
            chosen.append(int(orders[lane][1][place]))
        yield held.pixels[torch.tensor(chosen, device=held.pixels.device)]


def streamed_batches(plan: Pretrain, wanted: range, first_step: int, device: torch.device) -> Iterator[Tensor]:
    """Give a batch a step without end, pass after pass over the images of some lanes, shuffled within a buffer.

    The order depends on the step that is started from, so a training that was interrupted goes on with other batches
    than it would have had.
    """
    size, batch = plan.recipe.image_size, len(wanted)
    capacity = max(2 * batch, SHUFFLE_BYTES // (3 * size**2))
    kept: list[NDArray[np.uint8]] = []
    for number in count():
        rng = np.random.default_rng((plan.recipe.seed, wanted.start, first_step, number))
        order = [plan.parts[i] for i in rng.permutation(len(plan.parts))]
        for block in _blocks(plan, order, wanted):
            for _, _, image in block:
                kept.append(image)
                if len(kept) >= capacity:
                    yield _draw(kept, batch, rng).to(device)
        while len(kept) >= batch:  # fewer wait for the next pass
            yield _draw(kept, batch, rng).to(device)


def _draw(kept: list[NDArray[np.uint8]], count: int, rng: np.random.Generator) -> Tensor:
    """Take some images out of a buffer, by chance."""
    drawn = sorted(rng.permutation(len(kept))[:count].tolist(), reverse=True)
    return torch.from_numpy(np.stack([kept.pop(row) for row in drawn]))


def _blocks(
    plan: Pretrain, parts: list[str], wanted: Container[int]
) -> Iterator[list[tuple[int, int, NDArray[np.uint8]]]]:
    """Read parts in their order: lane, hash and pixels [3, S, S] of every wanted image."""
    size = plan.recipe.image_size
    dataset = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
    dataset.context.execution_options.preserve_order = True
    dataset.context.execution_no_progress_timeout_s = -1  # the driver watches the steps instead
    read = ReadLanes(plan.images, plan.lanes, wanted, size)
    cpus = min(1.0, Cluster.now().cpus / 2)  # the workers take the other half at most
    blocks = dataset.map_batches(read, batch_size=None, batch_format="pyarrow", num_cpus=cpus)
    block: pa.Table
    for block in blocks.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2):
        images = (np.frombuffer(image.as_py(), np.uint8).reshape(size, size, 3) for image in block["image"])
        keys = zip(block["lane"].to_pylist(), block["hash"].to_pylist(), strict=True)
        yield [(*key, image.transpose(2, 0, 1)) for key, image in zip(keys, images, strict=True)]
