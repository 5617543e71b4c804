"""What patch vectors are worth without a label: k-means on the patches of labelled sets, backbones and simpler means.

    python benchmarks/backbone.py DATA [--backbone FILE_OR_NAME ...] [--limit N] [--seeds S] [--json FILE]

DATA holds `suim/train_val` and `camvid/val`. Every row of the table is one kind of vector per patch of 8 x 8 pixels of
the image at 224 x 224: its colour; colour and position; colour, gradient and position; the tokens of an untrained
ViT; those of the packaged one, and of any other that is named. `texture, x, y` is what `pretrain.patch_objective:
texture` teaches among other things, scaled as it is there. All others are brought to mean 0 and deviation 1 over the
set's patches, a coordinate at a time (`cluster.scaling: standardised`); tokens are shown as they are, too. All are
clustered by spherical k-means, colours and places by Euclidean k-means as well, on the same 100,000 patches at most.
A pixel takes the cluster of the patch that covers it. One to one: K = classes, Hungarian matching. Many to one: K =
27, every cluster its most frequent class. Mean and deviation over seeds.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, Backbone, load_backbone
from datus2_ray.core.cluster.assignment import Metric, assign
from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.rows import LocalRows
from datus2_ray.core.cluster.scaling import fit_scaling
from datus2_ray.core.images.decode import decode
from datus2_ray.core.images.resize import resize
from datus2_ray.core.pretrain.model import build_start
from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.core.pretrain.texture import TextureTarget
from datus2_ray.core.score.confusion import score
from datus2_ray.sources.layouts import known

SIZE = 224
GRID = SIZE // 8
MANY = 27
FITTED = 100_000

SETS = {"SUIM, 8 classes": ("suim", "suim", "train_val"), "SUIM, 6 classes": ("suim6", "suim", "train_val"),
        "CamVid, 11 classes": ("camvid", "camvid", "val")}  # fmt: skip

HAND = ("RGB", "RGB, x, y", "RGB, gradient, x, y")
TEXTURE = "texture, x, y"
UNTRAINED = "the same, untrained"
RAW = ", as they are"
COSINES = ", by cosines"

Vectors = NDArray[np.float32]


def read_images(data: Path, dataset: str, folder: str, split: str, limit: int | None) -> tuple[list[Path], list[Path]]:
    """Return the paths of a set's images and masks."""
    root = data / folder
    files = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    samples = [sample for sample in known.find(dataset).samples(files, split) if sample.mask is not None]
    chosen = samples[:: max(1, len(samples) // limit)][:limit] if limit else samples
    return [root / sample.image for sample in chosen], [root / str(sample.mask) for sample in chosen]


def pixel_counts(dataset: str, images: list[Path], masks: list[Path], grid: int) -> NDArray[np.int64]:
    """Count, for every patch of every image, the pixels of each class under it: shape (images * grid², classes)."""
    layout = known.find(dataset)
    classes = len(layout.class_names or ())
    counts = []
    for image, mask in zip(images, masks, strict=True):
        height, width = decode(image.read_bytes()).shape[:2]
        truth = layout.decode_mask(mask.read_bytes(), height, width).astype(np.int64)
        rows = (2 * np.arange(height) + 1) * grid // (2 * height)
        columns = (2 * np.arange(width) + 1) * grid // (2 * width)
        patch = rows[:, None] * grid + columns
        cells = (patch * (classes + 1) + np.minimum(truth, classes)).ravel()
        counts.append(np.bincount(cells, minlength=grid * grid * (classes + 1)).reshape(-1, classes + 1)[:, :classes])
    return np.concatenate(counts)


def batches(images: list[Path], size: int, count: int = 8) -> Iterator[NDArray[np.uint8]]:
    """Decode and resize."""
    for start in range(0, len(images), count):
        yield np.stack([resize(decode(path.read_bytes()), size, size) for path in images[start : start + count]])


def load(name: str, device: str) -> Backbone:
    """Load a backbone; or the packaged one as it was before its training."""
    if name != UNTRAINED:
        return load_backbone(name, input_size=SIZE, device=device)
    backbone = load_backbone(DEFAULT_BACKBONE, input_size=SIZE, device=device)
    torch.manual_seed(0)
    backbone.model = build_start(Recipe(depth=backbone.depth), None).vit.eval().to(device)
    return backbone


def token_vectors(backbone: Backbone, images: list[Path]) -> dict[str, Vectors]:
    """Return the patch tokens of a backbone's last block, standardised and as they are."""
    last = Tap("token", backbone.depth - 1)
    found = [backbone.extract(torch.from_numpy(pixels), [last])[last].half().cpu() for pixels in batches(images, SIZE)]
    tokens: Vectors = torch.cat(found).flatten(0, 1).float().numpy()
    return {"": standardised(tokens), RAW: tokens}


def texture_vectors(images: list[Path]) -> Vectors:
    """Return what patches are taught by their texture, standardised over all these images, as it is in training."""
    target = TextureTarget(8)
    for counting in (True, False):  # the first pass finds the scale
        target.train(counting)
        found = [target(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255) for pixels in batches(images, SIZE)]
    vectors: Vectors = torch.cat(found).flatten(0, 1).numpy()
    return vectors


def hand_vectors(images: list[Path], kind: str) -> Vectors:
    """Return mean colours, on request with the place and the strength of the gradient, standardised."""
    patches = []
    for pixels in batches(images, SIZE):
        colour = _mean(pixels / 255.0)
        parts = [colour]
        if "gradient" in kind:
            grey = pixels.mean(-1) / 255.0
            strength = np.hypot(*np.gradient(grey, axis=(1, 2)))[..., None]
            parts.append(np.log(_mean(strength) + 1e-3))
        if "x, y" in kind:
            place = (np.arange(GRID) + 0.5) / GRID
            both = np.stack(np.meshgrid(place, place), axis=-1).reshape(1, -1, 2)
            parts.append(np.broadcast_to(both, (len(pixels), GRID * GRID, 2)))
        patches.append(np.concatenate(parts, axis=-1).reshape(len(pixels) * GRID * GRID, -1))
    return standardised(np.concatenate(patches).astype(np.float32))


def standardised(vectors: Vectors) -> Vectors:
    """Bring every coordinate to mean 0 and deviation 1."""
    rows = LocalRows([vectors])
    scaled: Vectors = fit_scaling(rows, "standardised").transform(vectors)
    return scaled


def _mean(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    count, _, _, channels = pixels.shape
    means: NDArray[np.float64] = pixels.reshape(count, GRID, 8, GRID, 8, channels).mean((2, 4))
    return means.reshape(count, GRID * GRID, channels)


def scores(vectors: Vectors, counts: NDArray[np.int64], clusters: int, metric: Metric, seed: int) -> dict[str, object]:
    """Cluster and score."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:FITTED])
    result = kmeans(LocalRows([vectors[rows]]), clusters, metric=metric, seed=seed, max_iterations=50)
    labels, _ = assign(vectors, result.centroids, metric)
    confusion = np.zeros((counts.shape[1], clusters + 1), np.int64)
    for cluster in range(clusters):
        confusion[:, cluster] = counts[labels == cluster].sum(0)
    return score(confusion)


def measure(vectors: Vectors, counts: NDArray[np.int64], metric: Metric, seeds: int) -> dict[str, list[float]]:
    """Return mIoU and pixel accuracy of both matchings, one value per seed, in percent."""
    values: dict[str, list[float]] = {}
    for seed in range(seeds):
        for name, clusters in (("one_to_one", counts.shape[1]), ("many_to_one", MANY)):
            found = scores(vectors, counts, clusters, metric, seed)[name]
            for figure in ("miou", "pixel_accuracy"):
                values.setdefault(f"{name} {figure}", []).append(100 * found[figure])  # type: ignore[index]
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", action="append", default=[])
    parser.add_argument("--only", action="store_true", help="Leave out the rows that need no named backbone.")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = arguments.device
    named = arguments.backbone if arguments.only else [UNTRAINED, DEFAULT_BACKBONE, *arguments.backbone]
    simple = [] if arguments.only else [*HAND, TEXTURE]
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    # Both countings of SUIM's classes share their images, so vectors are computed once per folder.
    for folder, split in dict.fromkeys((folder, split) for _, folder, split in SETS.values()):
        sets = {title: dataset for title, (dataset, of, _) in SETS.items() if of == folder}
        images, masks = read_images(arguments.data, next(iter(sets.values())), folder, split, arguments.limit)
        counts = {title: pixel_counts(dataset, images, masks, GRID) for title, dataset in sets.items()}
        for name in [*simple, *named]:
            if name == TEXTURE:
                kinds = {"": texture_vectors(images)}
            elif name in HAND:
                kinds = dict.fromkeys(("", COSINES), hand_vectors(images, name))
            else:
                kinds = token_vectors(load(name, device), images)
            for kind, vectors in kinds.items():
                metric: Metric = "euclidean" if name in HAND and kind != COSINES else "spherical"
                for title in sets:
                    values = measure(vectors, counts[title], metric, arguments.seeds)
                    results.setdefault(title, {})[name + kind] = values
                    print(title, name + kind, {key: round(float(np.mean(value)), 1) for key, value in values.items()})
    for title, rows in results.items():
        show(title, rows)
    print(f"{arguments.seeds} seeds, {platform.processor() or platform.machine()}, {device}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


def show(title: str, rows: dict[str, dict[str, list[float]]]) -> None:
    """Print a set's table."""
    table = Table("vectors", "1:1 mIoU", "1:1 accuracy", f"n:1 K = {MANY} mIoU", "n:1 accuracy", title=title)
    for name, values in rows.items():
        table.add_row(name, *(f"{np.mean(found):.1f} ± {np.std(found):.1f}" for found in values.values()))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
