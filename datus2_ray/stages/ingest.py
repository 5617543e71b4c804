"""Ingest: a folder or data set → ``images/``, in parts of the sorted ids; what cannot be used goes to quarantine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import ray.data

from datus2_ray import datasets, schemas, storage
from datus2_ray.context import RunContext
from datus2_ray.core import images, masks
from datus2_ray.datasets import Sample
from datus2_ray.errors import DatusError, ImageError, StorageError, UsageError
from datus2_ray.run_folder import Commit, fingerprint, part_name
from datus2_ray.stages.heartbeat import Heartbeat
from datus2_ray.stages.parts import map_parts, run_stage
from datus2_ray.stages.read import with_faults

VERSION = 1


def ingest(context: RunContext, labelled: bool = True) -> Commit:
    """Read every image of the source once, check it, and cut the set into parts.

    Parameters
    ----------
    context : RunContext
        The run.
    labelled : bool
        Whether masks that lie beside the images are taken for ground truth; else they are not looked at.

    Returns
    -------
    Commit
        Of ``images/``.

    Raises
    ------
    DatusError
        No image of the source can be used.
    UsageError
        The source does not have the layout of its data set, or holds no images at all.
    """
    config = context.config
    layout = datasets.find(config.dataset)
    files = {entry.path: entry for entry in storage.list_files(config.source)}
    try:
        samples = layout.samples(list(files), config.split)[: config.limit]
    except UsageError as error:
        raise UsageError(f"{config.source}: {error}") from error
    if not labelled:
        samples = [replace(sample, mask=None) for sample in samples]
    unlabelled = layout.class_names is None and all(sample.mask is None for sample in samples)
    if labelled and config.clusters is None and unlabelled:
        raise UsageError(f"{config.source} has no classes to count, so K must be given: --clusters K, for example 10")
    content = hashlib.sha256()
    for sample in samples:
        entries = [files[path] for path in (sample.image, sample.mask) if path is not None]
        content.update(repr((sample, [(entry.size, entry.modified_ns) for entry in entries])).encode())
    identity = {**config.ingest.identity(), "dataset": config.dataset, "source": config.source}
    stamp = fingerprint("ingest", VERSION, identity, [content.hexdigest()])
    step = config.ingest.images_per_part
    slices = {part_name(i // step): samples[i : i + step] for i in range(0, len(samples), step)}

    def build(parts: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        return map_parts(parts, ReadSource(config.source, config.dataset))

    counts = {part: len(chosen) for part, chosen in slices.items()}
    facts = {"labelled": sum(sample.mask is not None for sample in samples)}
    commit = run_stage(context, "ingest", "images", stamp, counts, build, lambda part: _payload(slices[part]), facts)
    if commit.rows_out == 0:
        first = storage.read_table(context.folder.path("quarantine", "ingest.parquet")).slice(0, 1).to_pylist()[0]
        raise DatusError(f"no image of {config.source} can be used; {first['image_id']}: {first['message']}")
    return commit


def _payload(samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "image_id": [sample.image_id for sample in samples],
        "image": [sample.image for sample in samples],
        "mask": [sample.mask or "" for sample in samples],
    }


@dataclass(frozen=True)
class ReadSource:
    """CPU task: turns a part's list of files into its rows of ``images/``.

    Parameters
    ----------
    source : str
        URI of the source.
    dataset : str
        Name of its layout, which knows how a mask is read.
    """

    source: str
    dataset: str

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part's files; every image is decoded once here, so that later steps meet only sound ones."""
        part = block.to_pylist()[0]
        rows: list[dict[str, Any]] = []
        faults: list[ImageError | None] = []
        for image_id, image, mask in zip(part["image_id"], part["image"], part["mask"], strict=True):
            try:
                rows.append(self._read(image_id, image, mask))
                faults.append(None)
            except ImageError as fault:
                rows.append({"image_id": image_id})
                faults.append(fault)
        table = pa.Table.from_pylist(rows, schema=schemas.IMAGES)
        return with_faults(table.append_column("part", pa.array([part["part"]] * len(rows), pa.string())), faults)

    def _read(self, image_id: str, image: str, mask: str) -> dict[str, Any]:
        data = self._bytes(image)
        height, width = images.decode(data).shape[:2]
        truth = None
        if mask:
            labels = datasets.find(self.dataset).decode_mask(self._bytes(mask), height, width)
            truth = masks.encode_labels(labels)
        return {"image_id": image_id, "image": data, "height": height, "width": width, "mask": truth}

    def _bytes(self, path: str) -> bytes:
        try:
            return storage.read_bytes(storage.join(self.source, path))
        except StorageError as error:
            raise ImageError("unreadable", str(error)) from error
