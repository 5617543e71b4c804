"""Fit the probe to each half of the images and score it on the other one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from datus2_ray.core.images.classes import draw_classes
from datus2_ray.core.images.labels import Labels
from datus2_ray.core.refine.em import fit
from datus2_ray.core.refine.prediction import predict_labels
from datus2_ray.core.refine.token_groups import GROUPS, Group
from datus2_ray.core.refine.token_layer import TokenLayer, TokenLayerSpec
from datus2_ray.core.score.counting import confusion_matrix
from datus2_ray.core.score.probe import RECIPE, labelled_group, patch_classes
from datus2_ray.engine.machines import Device
from datus2_ray.engine.training.shares import Split, hash_id
from datus2_ray.engine.training.worker import prepare_torch, step_reporter
from datus2_ray.errors import DatusError
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays

#: The groups of the images of each half.
HALVES = (range(GROUPS // 2), range(GROUPS // 2, GROUPS))


@dataclass(frozen=True)
class Plan:
    """What decides the probe, and how it is computed.

    Parameters
    ----------
    images, tokens : str
        URIs of the tables with the ground truth and with the tokens.
    split : Split
        Deals the images out into groups, by a hash of the id.
    below : int
        Images with a smaller hash are used.
    codes, by_colour : tuple of int, bool
        Ids of the classes in the ground truth, or their colours.
    threads : int
        CPU threads.
    """

    images: str
    tokens: str
    parts: tuple[str, ...]
    split: Split
    below: int
    dim: int
    codes: tuple[int, ...]
    by_colour: bool
    seed: int
    threads: int
    device: Device

    @property
    def classes(self) -> int:
        """Number of classes of the ground truth."""
        return len(self.codes)


@dataclass(frozen=True)
class _Image:
    """An image with ground truth; ``tokens`` are float16, shape (height · width, dim), of patches in raster order."""

    image_id: str
    truth: Labels
    tokens: np.ndarray
    height: int
    width: int


def fit_probe(config: dict[str, Any]) -> dict[str, Any]:
    """Fit two layers, and score every image by the layer of the half that it is not in.

    `config` holds the :class:`Plan` and a watcher, which is sent every step.

    Returns
    -------
    dict
        ``confusion``: int64, shape (classes, classes + 1); ``images``: number of images that have ground truth.
    """
    plan: Plan = config["plan"]
    device = torch.device(plan.device)
    prepare_torch(device, 1, repeatable=True)
    on_step = step_reporter(config["watcher"], 0)
    confusion, images = np.zeros((plan.classes, plan.classes + 1), np.int64), 0
    for number, (learned, scored) in enumerate((HALVES, HALVES[::-1])):
        groups = _read_groups(plan, learned, device)
        if not any(len(group.labels) for group in groups.values()):
            raise DatusError(f"probe: no image of one half has a class among the {plan.classes}; give more images")
        layer = _fit(plan, groups, partial(_add_step, on_step, number * RECIPE.steps))
        del groups
        for image in _read(plan, scored):
            confusion += _score(plan, layer, image)
            images += 1
    return {"confusion": confusion.tolist(), "images": images}


def _add_step(on_step: Callable[[int], None], before: int, step: int) -> None:
    on_step(before + step)


def _fit(plan: Plan, groups: dict[int, Group], on_step: Callable[[int], None]) -> TokenLayer:
    spec = TokenLayerSpec(plan.dim, plan.classes, {})
    return fit(groups, spec, plan.seed, RECIPE, threads=plan.threads, on_step=on_step).layer.cpu()


def _score(plan: Plan, layer: TokenLayer, image: _Image) -> np.ndarray:
    predicted = predict_labels(layer.of_patches(image.tokens, image.height, image.width), *image.truth.shape)
    return confusion_matrix(image.truth, predicted, plan.classes, plan.classes)


def _read_groups(plan: Plan, numbers: Collection[int], device: torch.device) -> dict[int, Group]:
    held: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {number: [] for number in numbers}
    for image in _read(plan, numbers):
        classes = patch_classes(image.truth, image.height, image.width, plan.classes)
        held[plan.split.share(image.image_id)].append((image.tokens, classes))
    groups = {}
    for number, images in held.items():
        tokens = np.concatenate([np.empty((0, plan.dim), np.float16), *(tokens for tokens, _ in images)])
        classes = np.concatenate([np.empty(0, np.int64), *(classes for _, classes in images)])
        groups[number] = labelled_group(tokens, classes, device)
    return groups


def _read(plan: Plan, numbers: Collection[int]) -> Iterator[_Image]:
    """Read the images of some groups that have ground truth, in the order of the parts and their rows."""
    for part in plan.parts:
        truth = parquet.read_table(storage.join(plan.images, part), ["image_id", "mask"])
        masks = dict(zip(truth["image_id"].to_pylist(), truth["mask"].to_pylist(), strict=True))
        columns = ["image_id", "grid_height", "grid_width", "tokens"]
        table = parquet.read_table(storage.join(plan.tokens, part), columns)
        tokens = list_arrays(table["tokens"])
        for row, entry in enumerate(table.drop_columns(["tokens"]).to_pylist()):
            image_id = entry["image_id"]
            chosen = hash_id(plan.split.seed, image_id) < plan.below and plan.split.share(image_id) in numbers
            if chosen and masks.get(image_id) is not None:
                yield _Image(
                    image_id,
                    draw_classes(masks[image_id], plan.codes, plan.by_colour),
                    np.asarray(tokens[row]),
                    entry["grid_height"],
                    entry["grid_width"],
                )
