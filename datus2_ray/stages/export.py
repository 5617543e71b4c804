"""Export: masks as palette PNG files that any viewer shows in colour, in folders like those of the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.labels import NOISE_8, decode_labels, encode_palette_png
from datus2_ray.core.images.palette import palette
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.store import schemas, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Exported, Facts, Labelled, Named, Predicted, TaughtMasks


def _sets(run: Run) -> dict[str, Commit[Any]]:
    """Return the sets of masks of the run; the first has every image of the others."""
    sets: dict[str, type[Facts]] = {"initial": Labelled, "refined": Predicted, "named": Named, "taught": TaughtMasks}
    return {name: commit for name, facts in sets.items() if (commit := run.find(facts)) is not None}


def _colours(run: Run, commit: Commit[Any]) -> list[tuple[int, ...]]:
    """Return the colours of the labels of a set of masks, RGB: of classes, those that a person chose."""
    if isinstance(commit.facts, Named | TaughtMasks):
        return [tuple(bytes.fromhex(named.colour[1:])) for named in commit.facts.classes]
    return [tuple(colour) for colour in palette(run.required_k).tolist()]


@dataclass(frozen=True)
class WritePng:
    """CPU task: write the masks of one part as files.

    `masks` are the URIs of the sets of masks by name, `colours` those of their labels.
    """

    masks: dict[str, str]
    folder: str
    colours: dict[str, list[tuple[int, ...]]]
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write one part's files; an image id may hold slashes and then makes folders, but never leaves the folder."""
        part = block["part"][0].as_py()
        files: dict[str, list[str]] = {}
        for name, uri in self.masks.items():
            of_set = storage.read_table(storage.join(uri, part), ["image_id", "mask"])
            for row in self.heartbeat.through(of_set.to_pylist()):
                file = storage.join(name, f"{row['image_id']}.png")
                storage.write_bytes(storage.join(self.folder, file), self._encode(row["mask"], self.colours[name]))
                files.setdefault(row["image_id"], []).append(file)
        table = pa.table({"image_id": list(files), "files": list(files.values())}, schema=schemas.PNG_FILES)
        return table.append_column("part", pa.array([part] * len(table), pa.string()))

    def _encode(self, mask: bytes, colours: list[tuple[int, ...]]) -> bytes:
        if len(colours) >= NOISE_8:
            return mask
        return encode_palette_png(np.asarray(decode_labels(mask), np.uint8), np.array(colours, np.uint8).reshape(-1, 3))


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    tables = {name: commit.uri for name, commit in _sets(run).items()}
    colours = {name: _colours(run, commit) for name, commit in _sets(run).items()}
    return [Operator(WritePng(tables, placement.uri, colours, heartbeat))]


def _facts(run: Run, placement: Placement) -> Exported:
    """Write what the ids of classes are, a line each, beside the folders, and return the sets."""
    for commit in _sets(run).values():
        if isinstance(commit.facts, Named | TaughtMasks):
            titles = [named.name for named in commit.facts.classes]
            storage.write_bytes(placement.path("labels.txt"), "".join(f"{title}\n" for title in titles).encode())
    return Exported(tuple(_sets(run)))


def _decides(run: Run, device: Device) -> dict[str, Any]:
    return {"k": run.required_k}


EXPORT = Stage(
    facts=Exported,
    title="Write the masks as PNG files",
    writes={
        "initial/, refined/, named/, taught/": "a PNG file per mask",
        "labels.txt": "names of classes by their id, of `datus2 predict` with names",
        "part-*.parquet": "per image: paths of its files",
    },
    version=3,
    may_read=(Labelled, Predicted, Named, TaughtMasks),
    decides=_decides,
    left_out=lambda prospect: None if prospect.config.save_png else "not asked for (--save-png)",
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(
        operators=_operators,
        facts=_facts,
        # A part's row is written after the files that it names.
        parts=lambda run: next(iter(_sets(run).values())).parts,
    ),
)
