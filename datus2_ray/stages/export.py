"""Export: masks as palette PNG files that any viewer shows in colour, one beside the other as the images were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray.data

from datus2_ray.core.images.labels import NOISE_8, decode_labels, encode_palette_png, palette
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.parts import map_parts, run_stage
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit, fingerprint

VERSION = 2


def export_png(context: RunContext, clusters: int, masks: Mapping[str, Commit]) -> None:
    """Write every mask of the run as a PNG file below ``png/NAME``.

    A part's table in ``png/`` is written after the files that it names, so that it means that all of them are there.

    Parameters
    ----------
    context : RunContext
        The run.
    clusters : int
        K: up to 254 the files carry a palette; above, they are the 16-bit PNG of the table.
    masks : mapping of str to Commit
        Name (``initial``, ``refined``) and commit of each set of masks; all are in the same parts, and the first has
        every image of the others.
    """
    inputs = [commit.fingerprint for commit in masks.values()]
    stamp = fingerprint("export", VERSION, {"masks": list(masks), "clusters": clusters}, inputs)

    def build(parts: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        tables = {name: context.folder.path("masks", name) for name in masks}
        return map_parts(parts, WritePng(tables, context.folder.path("png"), clusters, heartbeat))

    run_stage(context, "export", "png", stamp, next(iter(masks.values())).parts, build)


@dataclass(frozen=True)
class WritePng:
    """CPU task: writes the masks of one part as files.

    Parameters
    ----------
    masks : dict of str to str
        Name and URI of every set of masks.
    folder : str
        URI of the folder for the files.
    clusters : int
        K.
    heartbeat : Heartbeat
        Told as the files are written.
    """

    masks: dict[str, str]
    folder: str
    clusters: int
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write one part's files; an image id may hold slashes and then makes folders, but never leaves the folder."""
        part = block["part"][0].as_py()
        files: dict[str, list[str]] = {}
        for name, uri in self.masks.items():
            of_set = storage.read_table(storage.join(uri, part), ["image_id", "mask"])
            for row in self.heartbeat.through(of_set.to_pylist()):
                file = storage.join(name, f"{row['image_id']}.png")
                storage.write_bytes(storage.join(self.folder, file), self._encode(row["mask"]))
                files.setdefault(row["image_id"], []).append(file)
        table = pa.table({"image_id": list(files), "files": list(files.values())}, schema=schemas.PNG_FILES)
        return table.append_column("part", pa.array([part] * len(table), pa.string()))

    def _encode(self, mask: bytes) -> bytes:
        if self.clusters >= NOISE_8:
            return mask
        return encode_palette_png(np.asarray(decode_labels(mask), dtype=np.uint8), palette(self.clusters))
