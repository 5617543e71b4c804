"""Export: masks as files of a format that other tools read; the formats themselves are in ``exports/``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.config.export import ExportConfig
from datus2_ray.core.images.labels import Labels, decode_labels, upsample_nearest
from datus2_ray.core.images.palette import palette
from datus2_ray.core.images.regions import void_of, without_small
from datus2_ray.core.names.masks import label_table
from datus2_ray.core.names.names import NamedClass
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.read_images import with_faults
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.errors import ImageError, StorageError, UsageError
from datus2_ray.exports import FORMATS
from datus2_ray.exports.format import Format, LabelledImage, Written, sniff_suffix, split_of
from datus2_ray.sources.file_parts import file_name
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Exported, Facts, Ingested, Labelled, Named, Predicted, TaughtMasks

#: Sets of masks, the best last.
SETS: dict[str, type[Facts]] = {"initial": Labelled, "refined": Predicted, "named": Named, "taught": TaughtMasks}


@dataclass(frozen=True)
class ExportPart:
    """CPU task: write the files of a part into `folder`.

    `masks` is the URI of the set of masks, `numbers` what every label in them becomes; labels beyond are no class.
    """

    images: ImagesTable
    masks: str
    folder: str
    target: Format
    numbers: Labels
    settings: ExportConfig
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write one part's files; an image id may hold slashes and then makes folders, but never leaves the folder."""
        part = block["part"][0].as_py()
        columns = ["image_id", "mask", *(["confidence"] if self.settings.min_confidence else [])]
        table = parquet.read_table(storage.join(self.masks, part), columns)
        images = self._images(part, table)
        rows: list[dict[str, Any]] = []
        faults: list[ImageError | None] = []
        encoded = self.target.encode_part(part.removesuffix(".parquet"), self.heartbeat.through(images))
        for image_id, outcome in zip(table["image_id"].to_pylist(), encoded, strict=True):
            fault = outcome if isinstance(outcome, ImageError) else None
            written = outcome if isinstance(outcome, Written) else Written({})
            for file, data in written.files.items():
                storage.write_bytes(storage.join(self.folder, file), data)
            split = split_of(image_id, self.settings.splits)
            rows.append(
                {"image_id": image_id, "split": split, "files": list(written.files), "record": list(written.record)}
            )
            faults.append(fault)
        exported = pa.Table.from_pylist(rows, schema=schemas.EXPORTED)
        return with_faults(exported.append_column("part", pa.array([part] * len(rows), pa.string())), faults)

    def _images(self, part: str, masks: pa.Table) -> Iterator[LabelledImage]:
        has_files = self.images.source is None
        encoded = ["image"] if self.target.takes_images or not has_files else []
        images = self.images.read(part, ["image_id", *(["file"] if has_files else []), *encoded])
        if has_files and "file" not in images.column_names:
            raise StorageError(
                f"{self.images.folder} was written by an earlier version, which kept no names of files; run the same "
                "`datus2 run` again"
            )
        images = images.take(pc.index_in(masks["image_id"], value_set=images["image_id"].combine_chunks()))
        for row, mask in zip(images.to_pylist(), masks.drop_columns(["image_id"]).to_pylist(), strict=True):
            image_id, image = row["image_id"], row.get("image")
            yield LabelledImage(
                image_id,
                split_of(image_id, self.settings.splits),
                file_name(image_id, row["file"]) if has_files else f"{image_id}{sniff_suffix(image)}",
                self._labels(mask["mask"], mask.get("confidence")),
                image if self.target.takes_images else None,
            )

    def _labels(self, mask: bytes, confidence: bytes | None) -> Labels:
        found = decode_labels(mask)
        labels: Labels = self.numbers[np.minimum(found, len(self.numbers) - 1)]
        if confidence is not None:
            certain = upsample_nearest(decode_labels(confidence), *labels.shape)
            labels[certain < 255 * self.settings.min_confidence] = void_of(labels)
        return without_small(labels, self.settings.min_area) if self.settings.min_area else labels


def _masks(run: Run) -> tuple[str, Commit[Any]]:
    """Return the set of masks that is exported, and its name."""
    commits = {name: commit for name, facts in SETS.items() if (commit := run.find(facts)) is not None}
    wanted = run.config.export.masks or list(commits)[-1]
    if wanted not in commits:
        raise UsageError(f"{run.folder.uri} has no {wanted} masks; it has {', '.join(commits)}")
    if run.config.export.min_confidence and wanted != "taught":
        raise UsageError("only masks that were taught have a confidence: `datus2 name RUN --teach` makes them")
    return wanted, commits[wanted]


def _classes(run: Run) -> tuple[NamedClass, ...]:
    """Return the class of every label of the masks: those that a person named, or one for each cluster."""
    facts = _masks(run)[1].facts
    if isinstance(facts, Named | TaughtMasks):
        return facts.classes
    colours = palette(run.required_k).tolist()
    return tuple(NamedClass(f"cluster {number}", f"#{bytes(rgb).hex()}") for number, rgb in enumerate(colours))


def _target(run: Run) -> Format:
    """Return the format, with the classes that are written."""
    settings = run.config.export
    classes = tuple(named for named in _classes(run) if not named.ignore)
    target = FORMATS[str(settings.format)](classes, tuple(settings.splits), settings.instances, settings.image_url)
    target.check()
    return target


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    settings, (_, masks) = run.config.export, _masks(run)
    images, folder = ImagesTable.of(run.commit(Ingested)), placement.path(str(settings.format))
    target = _target(run)
    written = label_table(target.classes)
    numbers = np.full(len(_classes(run)) + 1, written[-1])
    numbers[:-1][[not named.ignore for named in _classes(run)]] = written[:-1]
    return [Operator(ExportPart(images, masks.uri, folder, target, numbers, settings, heartbeat))]


def _facts(run: Run, placement: Placement) -> Exported:
    """Write the files of the whole set, from the records of its images, one part at a time."""
    (masks, commit), name = _masks(run), str(run.config.export.format)

    def records(split: str) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        for part in sorted(commit.parts):
            table = parquet.read_table(placement.path(part), ["image_id", "split", "record"])
            for row in table.filter(pc.equal(table["split"], split)).to_pylist():
                yield row["image_id"], tuple(row["record"])

    files = []
    for file, pieces in _target(run).merge(records):
        storage.write_pieces(placement.path(name, file), pieces)
        files.append(file)
    return Exported(name, masks, tuple(files))


def _decides(run: Run, device: Device) -> dict[str, Any]:
    masks = {"masks": _masks(run)[0], "classes": [asdict(named) for named in _classes(run)]}
    return {**run.config.export.identity(), **masks}


EXPORT = Stage(
    facts=Exported,
    title="Write the masks in a format of other tools",
    writes={
        "png/, coco/, …": "the files of the format",
        "part-*.parquet": "per image: its split, its files, and its part of the files of the whole set",
    },
    version=5,
    reads=(Ingested,),
    reads_either=(Labelled, Predicted, Named, TaughtMasks),
    decides=_decides,
    left_out=lambda prospect: None if prospect.config.export.format else "not asked for (export.format)",
    uses=lambda prospect: [part_tasks(prospect)],
    adds=True,
    work=PerPart(
        operators=_operators,
        facts=_facts,
        # A part's row is written after the files that it names.
        parts=lambda run: _masks(run)[1].parts,
    ),
)
