"""The batches of a self-supervised training: of images that are kept decoded if they fit, else streamed."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datus2_ray.stages.pretrain.read import read_lanes
from datus2_ray.stages.pretrain.training import Pretrain

#: Bytes of decoded images among which a worker shuffles what it streams.
SHUFFLE_BYTES = 2**28


@dataclass(frozen=True)
class Held:
    """Decoded images, uint8 [n, 3, S, S], and the rows of every lane, in the order of their hashes."""

    pixels: Tensor
    lanes: dict[int, NDArray[np.int64]]


def hold_images(plan: Pretrain, wanted: Container[int], device: torch.device, report_part: Callable[[], None]) -> Held:
    """Read the images of some lanes, once, and keep them on the device.

    ``report_part`` is called after every part, so that nobody takes a long reading for a standstill.
    """
    blocks: list[Tensor] = []
    keys: list[tuple[int, int]] = []
    for block in read_lanes(plan.images, plan.parts, plan.lanes, wanted, plan.config.image_size):
        keys += [(lane, number) for lane, number, _ in block]
        if block:
            blocks.append(torch.from_numpy(np.stack([image for _, _, image in block])).to(device))
        report_part()
    size = plan.config.image_size
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
    """Yield one batch per step without end, one image of each lane; every lane in a new order in every pass.

    A batch depends on its step alone, not on the step that was started from. Each wanted lane has at least one image.
    """
    orders: dict[int, tuple[int, NDArray[np.int64]]] = {}
    for step in count(first_step):
        chosen = []
        for lane in wanted:
            rows = held.lanes[lane]
            number, place = divmod(step, len(rows))
            if lane not in orders or orders[lane][0] != number:
                orders[lane] = (number, np.random.default_rng((plan.seed, lane, number)).permutation(rows))
            chosen.append(int(orders[lane][1][place]))
        yield held.pixels[torch.tensor(chosen, device=held.pixels.device)]


def streamed_batches(plan: Pretrain, wanted: range, first_step: int, device: torch.device) -> Iterator[Tensor]:
    """Yield one batch per step without end, pass after pass over the images of some lanes, shuffled within a buffer.

    The order depends on the step that is started from, so an interrupted training continues with other batches
    than it would have had.
    """
    size, batch = plan.config.image_size, len(wanted)
    capacity = max(2 * batch, SHUFFLE_BYTES // (3 * size**2))
    kept: list[NDArray[np.uint8]] = []
    for number in count():
        rng = np.random.default_rng((plan.seed, wanted.start, first_step, number))
        order = [plan.parts[i] for i in rng.permutation(len(plan.parts))]
        for block in read_lanes(plan.images, order, plan.lanes, wanted, size):
            for _, _, image in block:
                kept.append(image)
                if len(kept) >= capacity:
                    yield _draw(kept, batch, rng).to(device)
        while len(kept) >= batch:  # fewer wait for the next pass
            yield _draw(kept, batch, rng).to(device)


def _draw(kept: list[NDArray[np.uint8]], count: int, rng: np.random.Generator) -> Tensor:
    """Take random images out of a buffer."""
    drawn = sorted(rng.permutation(len(kept))[:count].tolist(), reverse=True)
    return torch.from_numpy(np.stack([kept.pop(row) for row in drawn]))
