"""What the report shows of a run in pictures: some images in every step, and the typical segments of every cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.images.decode import decode
from datus2_ray.core.images.labels import decode_labels, upsample_nearest
from datus2_ray.report.colours import Colours, paint_labels
from datus2_ray.report.pictures import PICTURE_SIDE, Picture, crop_segment, drawing, fit, photo, show_segments
from datus2_ray.report.typical import TypicalSegment
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import storage
from datus2_ray.store.facts import Discovered, Facts, Ingested, Labelled, Predicted
from datus2_ray.store.run_folder import RunFolder

SAMPLES = 12


@dataclass(frozen=True)
class Sample:
    """An image and its pictures, from the image itself to the ground truth."""

    image_id: str
    pictures: list[Picture]


@dataclass(frozen=True)
class MaskColours:
    """The colours of the masks that a run has: None for those that it has not."""

    initial: Colours
    refined: Colours | None
    truth: Colours | None


@dataclass(frozen=True)
class OtherRun:
    """Another run over the same images, whose masks are shown beside those of the report's own.

    Parameters
    ----------
    name : str
        What its masks are called: its preset.
    folder : RunFolder
        Its folder, with the same table of images.
    colours : MaskColours
        Which masks it has, and their colours.
    """

    name: str
    folder: RunFolder
    colours: MaskColours


def choose_rows(parts: dict[str, int], count: int) -> dict[str, list[int]]:
    """Choose images that are evenly spread over the sorted ids: nobody picked the good ones.

    Parameters
    ----------
    parts : dict of str to int
        Names of a table's parts and their rows.
    count : int
        How many rows to choose, at most.

    Returns
    -------
    dict of str to list of int
        Rows of every part of which some are chosen.
    """
    total = sum(parts.values())
    count = min(count, total)
    wanted = [(2 * i + 1) * total // (2 * count) for i in range(count)]
    chosen: dict[str, list[int]] = defaultdict(list)
    start = 0
    for part in sorted(parts):
        chosen[part] += [row - start for row in wanted if start <= row < start + parts[part]]
        start += parts[part]
    return {part: rows for part, rows in chosen.items() if rows}


def draw_samples(folder: RunFolder, colours: MaskColours, other: OtherRun | None = None) -> list[Sample]:
    """Draw images of a run in every step.

    Parameters
    ----------
    folder : RunFolder
        The run.
    colours : MaskColours
        Which masks it has, and their colours.
    other : OtherRun, optional
        A run whose masks of the same images are shown too.
    """
    samples = []
    table = ImagesTable.of(folder.require(Ingested))
    labelled = folder.require(Labelled)
    for part, rows in choose_rows(labelled.parts, SAMPLES).items():
        initial = storage.read_table(labelled.path(part), ["image_id"]).take(rows)
        ids = initial["image_id"].to_pylist()
        images = _by_id(table.read(part, ["image_id", "image", "mask"]), ids)
        segments = _patch_maps(folder, part, ids)
        own = _masks_of(folder, colours, part, ids)
        others = _masks_of(other.folder, other.colours, part, ids) if other else {}
        for image_id in ids:
            pixels = fit(decode(images[image_id]["image"]), PICTURE_SIDE)
            pictures = [
                photo(pixels, "image", f"Image {image_id}"),
                photo(show_segments(pixels, segments[image_id]), "segments", f"Segments of {image_id}"),
            ]
            for name, found in ((f"{other.name}: " if other else "", others), ("", own)):
                for step, (masks, drawn_in) in found.items():
                    if image_id in masks:
                        mask = masks[image_id]["mask"]
                        pictures.append(_draw_mask(mask, pixels, drawn_in, f"{name}{step} mask", image_id))
            if colours.truth is not None and images[image_id]["mask"] is not None:
                truth = _draw_mask(images[image_id]["mask"], pixels, colours.truth, "ground truth", image_id, "void")
                pictures.append(truth)
            samples.append(Sample(image_id, pictures))
    return samples


def draw_crops(folder: RunFolder, segments: Iterable[TypicalSegment]) -> dict[TypicalSegment, Picture]:
    """Draw segments, each cut out of its image; every part is read once, and one at a time.

    Parameters
    ----------
    folder : RunFolder
        The run.
    segments : iterable of TypicalSegment
        Which ones.
    """
    by_part: dict[str, dict[str, list[TypicalSegment]]] = defaultdict(lambda: defaultdict(list))
    for segment in segments:
        by_part[segment.part][segment.image_id].append(segment)
    crops: dict[TypicalSegment, Picture] = {}
    table = ImagesTable.of(folder.require(Ingested))
    for part, by_image in sorted(by_part.items()):
        images = _by_id(table.read(part, ["image_id", "image"]), list(by_image))
        maps = _patch_maps(folder, part, list(by_image))
        for image_id, wanted in by_image.items():
            pixels = decode(images[image_id]["image"])
            for segment in wanted:
                crop = crop_segment(pixels, maps[image_id], segment.segment)
                alt = f"Segment {segment.segment} of {image_id}, {segment.distance:.3g} from the centroid"
                crops[segment] = photo(crop, f"{segment.distance:.2g}", alt)
    return crops


def _draw_mask(
    data: bytes, pixels: np.ndarray, colours: Colours, caption: str, image_id: str, rest: Any = "noise"
) -> Picture:
    labels = upsample_nearest(decode_labels(data), *pixels.shape[:2])
    alt = f"{caption[0].upper()}{caption[1:]} of {image_id}"
    return drawing(paint_labels(labels, colours, rest), caption, alt)


def _masks_of(
    folder: RunFolder, colours: MaskColours, part: str, ids: list[str]
) -> dict[str, tuple[dict[str, dict[str, Any]], Colours]]:
    """Read some images' masks of a part: initial, and refined where there are such, with the colours for each."""
    sets = {"initial": (Labelled, colours.initial), "refined": (Predicted, colours.refined)}
    return {
        step: (_rows_of(folder, facts, part, ids, ["mask"]), drawn_in)
        for step, (facts, drawn_in) in sets.items()
        if drawn_in is not None
    }


def _rows_of(
    folder: RunFolder, facts: type[Facts], part: str, ids: list[str], columns: list[str]
) -> dict[str, dict[str, Any]]:
    """Read some images' rows of a part of a stage's table."""
    return _by_id(storage.read_table(folder.require(facts).path(part), ["image_id", *columns]), ids)


def _by_id(table: pa.Table, ids: list[str]) -> dict[str, dict[str, Any]]:
    chosen = table.filter(pc.is_in(table["image_id"], value_set=pa.array(ids, pa.string())))
    return {row["image_id"]: row for row in chosen.to_pylist()}


def _patch_maps(folder: RunFolder, part: str, ids: list[str]) -> dict[str, np.ndarray]:
    rows = _rows_of(folder, Discovered, part, ids, ["grid_height", "grid_width", "patch_map"])
    return {
        image_id: np.array(row["patch_map"], dtype=np.int16).reshape(row["grid_height"], row["grid_width"])
        for image_id, row in rows.items()
    }
