"""Masks that were drawn or corrected in another program: back as names of a run, and as ground truth for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from datus2_ray.commands.name import name
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.corrections import DrawnImage, correct, count_drawn
from datus2_ray.core.score.counting import confusion_matrix
from datus2_ray.core.score.names import score_names
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports.annotations import Annotations, match
from datus2_ray.exports.format import encode_mask
from datus2_ray.exports.from_coco import read_coco
from datus2_ray.exports.from_cvat import read_cvat
from datus2_ray.sources.file_parts import file_name
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Discovered, Ingested, Labelled, Named, Predicted
from datus2_ray.store.names import append_change, open_names, read_names
from datus2_ray.store.run_folder import DIGITS, RunFolder

#: What reads the file of each program.
READERS = {"coco": read_coco, "cvat": read_cvat}

#: Folder of what was imported, in the run folder: a folder for each file, by its content.
FOLDER = "imported"


@dataclass(frozen=True)
class Imported:
    """What an import brought.

    Parameters
    ----------
    images : int
        Images of the run that the file has.
    unknown : tuple of str
        Names of images that the run does not have.
    clusters, segments : int
        Fine clusters, and single segments, whose class changed.
    scores : dict
        Scores of the masks as they were before, against what was drawn.
    uri : str
        Folder of the drawn masks and of these scores.
    without_area : int
        Annotations of the file that were passed over, such as boxes.
    """

    images: int
    unknown: tuple[str, ...]
    clusters: int
    segments: int
    scores: dict[str, Any]
    uri: str
    without_area: int


def import_annotations(run: str, file: str, kind: Literal["coco", "cvat"]) -> Imported:
    """Take the masks of a file as names of a finished run's clusters and segments, and score its masks by them.

    The names change in one change, which can be undone. The run's own masks stay as they are.

    Parameters
    ----------
    run : str
        Folder of the finished run.
    file : str
        COCO file, or zip file of CVAT's "Segmentation mask 1.1"; a local path or s3:// URI.

    Raises
    ------
    StorageError
        If `run` is no finished run, or the file cannot be read.
    UsageError
        If the file is none of its kind, has no image of the run, or something drawn does not fit its image; nothing is
        changed then.
    """
    folder = RunFolder.of_finished(run)
    data = storage.read_bytes(file)
    annotations = READERS[kind](data, file)
    files = dict(_files(folder))
    matched, unknown = match(annotations.images, files)
    if not matched:
        raise UsageError(f"{file} has no image of {folder.uri}: it has {unknown[0] if unknown else 'no images'}")
    uri = folder.path(FOLDER, hashlib.sha256(data).hexdigest()[:DIGITS])
    names = read_names(folder)
    if not names.is_empty:
        name(folder.uri)
    drawn, scores = _draw(folder, annotations, matched, uri)
    storage.write_bytes(f"{uri}/labels.txt", "".join(f"{named.name}\n" for named in annotations.classes).encode())
    storage.write_json(f"{uri}/scores.json", scores)
    before, number = open_names(folder)
    before.check_clustering(folder.require(Clustered).fingerprint)
    change = Change.between(before, correct(before, annotations.classes, drawn))
    if not change.is_empty:
        append_change(folder, change, number)
    segments = sum(map(len, change.segments.values()))
    without = annotations.without_area
    return Imported(len(matched), tuple(unknown), len(change.clusters), segments, scores, uri, without)


def _files(folder: RunFolder) -> Iterator[tuple[str, str]]:
    """Yield the id of every image of a run, and the name that exports have for its file; of shards the id for both."""
    ingested = folder.require(Ingested)
    for part in sorted(ingested.parts):
        table = parquet.read_table(ingested.path(part), ["image_id", "file"])
        ids = table["image_id"].to_pylist()
        files = map(file_name, ids, table["file"].to_pylist()) if "file" in table.column_names else ids
        yield from zip(ids, files, strict=True)


def _draw(
    folder: RunFolder, annotations: Annotations, matched: dict[str, str], uri: str
) -> tuple[list[DrawnImage], dict[str, Any]]:
    """Draw the masks of all images, write them, and count them in segments and against the masks of the run."""
    # Masks of classes stay in the folder when all names are taken back.
    written = None if read_names(folder).is_empty else folder.find(Named)
    masks: Commit[Any] = written or folder.find(Predicted) or folder.require(Labelled)
    summary = storage.read_json(folder.path("summary.json"))
    named = isinstance(masks.facts, Named)
    titles = [c.name for c in masks.facts.classes] if named else [f"cluster {i}" for i in range(summary["clusters"])]
    classes, drawn = len(annotations.classes), []
    confusion = np.zeros((classes, len(titles) + 1), np.int64)
    for image_id, row in _rows(folder, masks, matched):
        try:
            mask = annotations.draw(annotations.images[matched[image_id]], row["height"], row["width"])
        except ImageError as fault:
            raise UsageError(f"{matched[image_id]}: {fault.message}; nothing was imported") from fault
        patch_map = np.reshape(row["patch_map"], (row["grid_height"], -1))
        drawn.append(count_drawn(image_id, mask, patch_map, row["segment_fine"], classes))
        confusion += confusion_matrix(mask, decode_labels(row["mask"]), classes, len(titles))
        storage.write_bytes(storage.join(uri, "masks", f"{image_id}.png"), encode_mask(mask, annotations.classes))
    scored = score_names({"masks": confusion}, [c.name for c in annotations.classes], titles)["masks"]
    return drawn, {"images": len(drawn), "set": masks.facts.stage, **scored}


def _rows(folder: RunFolder, masks: Commit[Any], wanted: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the columns that are needed of every image that is wanted, one part at a time."""
    discovered, labelled = folder.require(Discovered), folder.require(Labelled)
    grid = ["image_id", "height", "width", "grid_height", "patch_map"]
    for part in sorted(labelled.parts):
        rows: dict[str, dict[str, Any]] = {}
        for commit, columns in (
            (masks, ["image_id", "mask"]),
            (labelled, ["image_id", "segment_fine"]),
            (discovered, grid),
        ):
            table = parquet.read_table(commit.path(part), columns)
            arrays = {name: list_arrays(table[name]) for name in columns if name in ("segment_fine", "patch_map")}
            values = {name: arrays.get(name) or table[name].to_pylist() for name in columns}
            for number, image_id in enumerate(values["image_id"]):
                if image_id in wanted:
                    rows.setdefault(image_id, {}).update({name: values[name][number] for name in columns})
        yield from ((image_id, row) for image_id, row in rows.items() if "segment_fine" in row and "mask" in row)
