from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datus2_ray.engine.context import RunContext
from PIL import Image

from datus2_ray.core.images.labels import decode_labels, encode_labels
from datus2_ray.errors import DatusError
from datus2_ray.stages.export import export_png
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit, part_name

CLUSTERS = 5

#: Of every part; one folder of images is deeper than the other.
IMAGES = ("a", "b/c")


def write_masks(context: RunContext, name: str, seed: int, clusters: int = CLUSTERS, parts: int = 3) -> Commit:
    """Write a set of masks as label or predict would: 2 images a part, with noise."""
    rng, noise = np.random.default_rng(seed), 255 if clusters < 255 else 65535
    folder = f"masks/{name}"
    context.folder.begin(folder, f"{name} {seed}")
    for number in range(parts):
        maps = [rng.choice([*range(clusters), noise], (6, 8)).astype(np.min_scalar_type(noise)) for _ in IMAGES]
        rows = [{"image_id": f"{number}{i}", "mask": encode_labels(x)} for i, x in zip(IMAGES, maps, strict=True)]
        uri = context.folder.path(folder, part_name(number))
        storage.write_table(uri, pa.Table.from_pylist(rows, schema=schemas.MASKS))
    counts = {part_name(number): len(IMAGES) for number in range(parts)}
    commit = Commit(f"{name} {seed}", 2 * parts, 2 * parts, 0, counts, {})
    context.folder.finish(folder, commit)
    return commit


def files_of(context: RunContext) -> dict[str, bytes]:
    folder = Path(context.folder.path("png"))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def times_of(context: RunContext) -> dict[str, int]:
    folder = Path(context.folder.path("png"))
    return {file: (folder / file).stat().st_mtime_ns for file in files_of(context)}


@pytest.fixture
def context(open_run: Callable[..., RunContext], tmp_path: Path) -> RunContext:
    return open_run(tmp_path / "in")


@pytest.mark.parametrize(("clusters", "mode"), [(CLUSTERS, "P"), (300, "I;16")])
def test_files_show_the_masks_of_the_table(context: RunContext, clusters: int, mode: str) -> None:
    masks = {name: write_masks(context, name, seed, clusters) for seed, name in enumerate(("initial", "refined"))}
    export_png(context, clusters, masks)
    for name, commit in masks.items():
        for part in commit.parts:
            for row in storage.read_table(context.folder.path("masks", name, part)).to_pylist():
                image = Image.open(context.folder.path("png", name, f"{row['image_id']}.png"))
                assert image.mode == mode
                np.testing.assert_array_equal(np.asarray(image), decode_labels(row["mask"]))
                if mode == "P":
                    colours = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
                    assert len(colours) == len(np.unique(np.asarray(image)))


def test_the_tables_name_every_file(context: RunContext) -> None:
    masks = {name: write_masks(context, name, seed) for seed, name in enumerate(("initial", "refined"))}
    export_png(context, CLUSTERS, masks)
    tables = [storage.read_table(context.folder.path("png", part)) for part in masks["initial"].parts]
    assert all(table.schema.equals(schemas.PNG_FILES) for table in tables)
    rows = [row for table in tables for row in table.to_pylist()]
    assert rows[1] == {"image_id": "0b/c", "files": ["initial/0b/c.png", "refined/0b/c.png"]}
    named = {file for row in rows for file in row["files"]}
    assert {file for file in files_of(context) if file.endswith(".png")} == named


def test_an_interrupted_export_goes_on_and_gives_the_same_files(context: RunContext) -> None:
    masks = {name: write_masks(context, name, seed) for seed, name in enumerate(("initial", "refined"))}
    export_png(context, CLUSTERS, masks)
    undisturbed, times = files_of(context), times_of(context)

    export_png(context, CLUSTERS, masks)
    assert times_of(context) == times

    # Killed after the first file of a part.
    again = {"_COMMIT.json", part_name(1), *(file for file in undisturbed if file.split("/")[-1].startswith("1"))}
    again |= {file for file in undisturbed if file.endswith("1b/c.png")}
    for file in again - {"initial/1a.png"}:
        Path(context.folder.path("png", file)).unlink()
    export_png(context, CLUSTERS, masks)
    assert files_of(context) == undisturbed
    assert {file for file, when in times_of(context).items() if when != times[file]} == again


def test_a_part_counts_only_when_all_its_files_are_there(context: RunContext) -> None:
    masks = {name: write_masks(context, name, seed) for seed, name in enumerate(("initial", "refined"))}
    uri = context.folder.path("masks/refined", part_name(1))
    sound = storage.read_table(uri)
    storage.write_table(uri, sound.set_column(1, "mask", pa.array([sound["mask"][0].as_py(), b"no picture"])))
    with pytest.raises(DatusError):
        export_png(context, CLUSTERS, masks)
    assert part_name(1) not in context.folder.written_parts("png")
    assert context.folder.commit_of("png") is None

    storage.write_table(uri, sound)
    export_png(context, CLUSTERS, masks)
    resumed = files_of(context)
    context.folder.discard("png")
    export_png(context, CLUSTERS, masks)
    assert resumed == files_of(context)


def test_files_of_other_masks_do_not_stay(context: RunContext) -> None:
    both = {name: write_masks(context, name, seed) for seed, name in enumerate(("initial", "refined"))}
    export_png(context, CLUSTERS, both)
    beside = Path(context.folder.path("notes.txt"))
    beside.write_text("a user's own")

    # The export was killed, and then there are other masks, of fewer images: no old file passes for one of theirs.
    for file in ("_COMMIT.json", part_name(1)):
        Path(context.folder.path("png", file)).unlink()
    fewer = {"initial": write_masks(context, "initial", seed=7, parts=1)}
    export_png(context, CLUSTERS, fewer)
    expected = {f"initial/0{i}.png" for i in IMAGES} | {part_name(0), "_BEGUN.json", "_COMMIT.json"}
    assert set(files_of(context)) == expected
    assert beside.read_text() == "a user's own"

    # Only the number of clusters, and with it the palette, is another.
    before = files_of(context)
    export_png(context, CLUSTERS + 1, fewer)
    assert set(files_of(context)) == expected
    assert files_of(context)["initial/0a.png"] != before["initial/0a.png"]
