"""Some images of a run after every step."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.images.classes import draw_classes
from datus2_ray.core.images.labels import Labels, decode_labels, upsample_nearest
from datus2_ray.report.colours import Colours, paint_labels
from datus2_ray.report.facts import FinishedRun
from datus2_ray.report.pictures import PICTURE_SIDE, Picture, drawing, fit, photo, show_segments
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered

SAMPLES = 12


@dataclass(frozen=True)
class Sample:
    """An image and its pictures, from the image itself to the ground truth."""

    image_id: str
    pictures: list[Picture]


@dataclass(frozen=True)
class MaskColours:
    """Colours of the masks of a run; None for those that it does not have."""

    initial: Colours
    refined: Colours | None
    truth: Colours | None


@dataclass(frozen=True)
class OtherRun:
    """A run over the same images whose masks are shown too, under `name`."""

    name: str
    run: FinishedRun
    colours: MaskColours


def choose_rows(parts: dict[str, int], count: int) -> dict[str, list[int]]:
    """Return rows per part (name → rows of its table), at most `count` at even distances in the order of the ids."""
    total = sum(parts.values())
    count = min(count, total)
    wanted = [(2 * i + 1) * total // (2 * count) for i in range(count)]
    chosen: dict[str, list[int]] = defaultdict(list)
    start = 0
    for part in sorted(parts):
        chosen[part] += [row - start for row in wanted if start <= row < start + parts[part]]
        start += parts[part]
    return {part: rows for part, rows in chosen.items() if rows}


def draw_samples(run: FinishedRun, colours: MaskColours, other: OtherRun | None = None) -> list[Sample]:
    """Draw images of a run after every step, with the masks of another run where one is given."""
    samples = []
    table = ImagesTable.of(run.ingested)
    for part, rows in choose_rows(run.labelled.parts, SAMPLES).items():
        initial = parquet.read_table(run.labelled.path(part), ["image_id"]).take(rows)
        ids = initial["image_id"].to_pylist()
        images = rows_by_id(table.read(part, ["image_id", "image", "mask"]), ids)
        segments = read_patch_maps(run.discovered, part, ids)
        sets = [(f"{other.name}: ", _read_masks(other.run, other.colours, part, ids))] if other else []
        sets += [("", _read_masks(run, colours, part, ids))]
        for image_id in ids:
            pixels = fit(table.decode(images[image_id]["image"]), PICTURE_SIDE)
            pictures = [photo(pixels, "image", f"Image {image_id}")]
            if run.config.discover.unit == "segments":  # a picture of every patch would show a grid
                shown = show_segments(pixels, segments[image_id])
                pictures.append(photo(shown, "segments", f"Segments of {image_id}"))
            for name, masks in sets:
                pictures += [
                    _draw(decode_labels(by_id[image_id]), pixels, of_mask, f"{name}{step} mask", image_id)
                    for step, by_id, of_mask in masks
                    if image_id in by_id
                ]
            mask = images[image_id]["mask"]
            if colours.truth is not None and mask is not None and run.surveyed is not None:
                labels = draw_classes(mask, run.surveyed.facts.codes, run.surveyed.facts.by_colour)
                pictures.append(_draw(labels, pixels, colours.truth, "ground truth", image_id, "void"))
            samples.append(Sample(image_id, pictures))
    return samples


def _draw(
    labels: Labels, pixels: np.ndarray, colours: Colours, caption: str, image_id: str, rest: Any = "noise"
) -> Picture:
    labels = upsample_nearest(labels, *pixels.shape[:2])
    alt = f"{caption[0].upper()}{caption[1:]} of {image_id}"
    return drawing(paint_labels(labels, colours, rest), caption, alt)


def _read_masks(
    run: FinishedRun, colours: MaskColours, part: str, ids: list[str]
) -> list[tuple[str, dict[str, bytes], Colours]]:
    """Return for initial and refined masks: the step's name, the masks by id, and their colours."""
    sets = (("initial", run.labelled, colours.initial), ("refined", run.predicted, colours.refined))
    return [
        (step, {i: row["mask"] for i, row in rows_by_id(_read_columns(commit, part, ["mask"]), ids).items()}, of_masks)
        for step, commit, of_masks in sets
        if commit is not None and of_masks is not None
    ]


def read_patch_maps(discovered: Commit[Discovered], part: str, ids: list[str]) -> dict[str, np.ndarray]:
    """Read the segment of every patch, int16 [h, w], of some images of a part."""
    table = _read_columns(discovered, part, ["grid_height", "grid_width", "patch_map"])
    return {
        image_id: np.array(row["patch_map"], dtype=np.int16).reshape(row["grid_height"], row["grid_width"])
        for image_id, row in rows_by_id(table, ids).items()
    }


def rows_by_id(table: pa.Table, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of some images of a table."""
    chosen = table.filter(pc.is_in(table["image_id"], value_set=pa.array(ids, pa.string())))
    return {row["image_id"]: row for row in chosen.to_pylist()}


def _read_columns(commit: Commit[Any], part: str, columns: list[str]) -> pa.Table:
    return parquet.read_table(commit.path(part), ["image_id", *columns])
