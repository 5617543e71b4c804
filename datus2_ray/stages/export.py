"""Export: masks as palette PNG files that any viewer shows in colour, one beside the other as the images were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from datus2_ray import storage
from datus2_ray.context import RunContext
from datus2_ray.core.masks import NOISE_8, decode_labels, encode_palette_png, palette
from datus2_ray.progress import Progress
from datus2_ray.run_folder import Commit, fingerprint
from datus2_ray.stages.once import run_once
from datus2_ray.stages.parts import map_parts, stream_parts

VERSION = 1


def export_png(context: RunContext, clusters: int, masks: Mapping[str, Commit]) -> None:
    """Write every mask of the run as a PNG file below ``png/NAME``.

    Parameters
    ----------
    context : RunContext
        The run.
    clusters : int
        K: up to 254 the files carry a palette; above, they are the 16-bit PNG of the table.
    masks : mapping of str to Commit
        Name (``initial``, ``refined``) and commit of each set of masks.
    """
    inputs = [commit.fingerprint for commit in masks.values()]
    stamp = fingerprint("export", VERSION, {"masks": list(masks), "clusters": clusters}, inputs)

    def work(progress: Progress) -> dict[str, int]:
        progress.total = sum(commit.rows_out for commit in masks.values())
        for name, commit in masks.items():
            writer = WritePng(context.folder.path("masks", name), context.folder.path("png", name), clusters)
            items = [{"part": part} for part in commit.parts]
            for row in stream_parts(items, lambda source, _, writer=writer: map_parts(source, writer)):  # type: ignore[misc]
                progress.advance(row["files"])
        return {}

    run_once(context, "export", "png", stamp, "files", work)


@dataclass(frozen=True)
class WritePng:
    """CPU task: writes the masks of one part as files.

    Parameters
    ----------
    masks, folder : str
        URIs of the masks' table and of the folder for the files.
    clusters : int
        K.
    """

    masks: str
    folder: str
    clusters: int

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write one part's files; an image id may hold slashes and then makes folders, but never leaves the folder."""
        table = storage.read_table(storage.join(self.masks, block["part"][0].as_py()), ["image_id", "mask"])
        for row in table.to_pylist():
            data = row["mask"]
            if self.clusters < NOISE_8:
                data = encode_palette_png(np.asarray(decode_labels(data), dtype=np.uint8), palette(self.clusters))
            storage.write_bytes(storage.join(self.folder, f"{row['image_id']}.png"), data)
        return pa.table({"files": [len(table)]})
