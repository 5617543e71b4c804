"""Masks as files: what the table holds, under the ids of the images whatever they are, whole also after a crash."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from datus2_ray.core.images.labels import decode_labels, encode_labels
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.errors import ImageError
from datus2_ray.sources.layouts.layout import assign_ids, check_id
from datus2_ray.stages.export import EXPORT
from datus2_ray.store import schemas, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Exported, Facts, Labelled, Predicted
from datus2_ray.store.run_folder import COMMIT, part_name, written_parts

K = 5

#: Of every part; one folder of images is deeper than the other.
IMAGES = ("a", "b/c")

SETS: tuple[Facts, ...] = (Labelled(), Predicted())


def write_masks(run: Run, facts: Facts, seed: int, k: int = K, parts: int = 3, ids: tuple[str, ...] = IMAGES) -> Run:
    """Write a set of masks as label or predict would, with noise, and return the run that has it."""
    rng, noise = np.random.default_rng(seed), 255 if k < 255 else 65535
    uri = run.folder.result(facts.stage, f"{facts.stage} {seed}")
    for number in range(parts):
        maps = [rng.choice([*range(k), noise], (6, 8)).astype(np.min_scalar_type(noise)) for _ in ids]
        named = [f"{number}{i}" for i in ids] if ids is IMAGES else ids
        rows = [{"image_id": i, "mask": encode_labels(x)} for i, x in zip(named, maps, strict=True)]
        storage.write_table(storage.join(uri, part_name(number)), pa.Table.from_pylist(rows, schema=schemas.MASKS))
    counts = {part_name(number): len(ids) for number in range(parts)}
    rows_in = sum(counts.values())
    return run.with_commit(Commit(uri, f"{facts.stage} {seed}", rows_in, rows_in, 0, counts, facts))


def with_masks(run: Run, k: int = K) -> Run:
    for seed, facts in enumerate(SETS):
        run = write_masks(run, facts, seed, k)
    return run


def export(run: Run) -> Commit[Exported]:
    return execute_stage(run, EXPORT).commit(Exported)


def files_of(commit: Commit[Exported]) -> dict[str, bytes]:
    folder = Path(commit.uri)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def times_of(commit: Commit[Exported]) -> dict[str, int]:
    return {file: Path(commit.path(file)).stat().st_mtime_ns for file in files_of(commit)}


def rows_of(commit: Commit[Exported]) -> list[dict[str, object]]:
    tables = [storage.read_table(commit.path(part)) for part in sorted(commit.parts)]
    assert all(table.schema.equals(schemas.PNG_FILES) for table in tables)
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture
def run(open_here: Callable[..., Run], tmp_path: Path) -> Run:
    return open_here(tmp_path / "in", clusters=K, save_png=True)


@pytest.mark.parametrize(("k", "mode"), [(K, "P"), (300, "I;16")])
def test_files_show_the_masks_of_the_table(open_here: Callable[..., Run], tmp_path: Path, k: int, mode: str) -> None:
    run = with_masks(open_here(tmp_path / "in", clusters=k, save_png=True), k)
    exported = export(run)
    assert exported.facts.sets == ("initial", "refined")
    for name, masks in (("initial", run.commit(Labelled)), ("refined", run.commit(Predicted))):
        for part in masks.parts:
            for row in storage.read_table(masks.path(part)).to_pylist():
                image = Image.open(exported.path(name, f"{row['image_id']}.png"))
                assert image.mode == mode
                np.testing.assert_array_equal(np.asarray(image), decode_labels(row["mask"]))
                if mode == "P":
                    colours = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
                    assert len(colours) == len(np.unique(np.asarray(image)))


def test_the_tables_name_every_file(run: Run) -> None:
    exported = export(with_masks(run))
    rows = rows_of(exported)
    assert rows[1] == {"image_id": "0b/c", "files": ["initial/0b/c.png", "refined/0b/c.png"]}
    named = {file for row in rows for file in row["files"]}  # type: ignore[attr-defined]
    assert {file for file in files_of(exported) if file.endswith(".png")} == named


def test_nothing_is_exported_that_nobody_asked_for(open_here: Callable[..., Run], tmp_path: Path) -> None:
    _, left_out = execute(write_masks(open_here(tmp_path / "in", clusters=K), Labelled(), 0), (EXPORT,))
    assert left_out == {"export": "not asked for (--save-png)"}


def test_an_interrupted_export_goes_on_and_gives_the_same_files(run: Run) -> None:
    run = with_masks(run)
    exported = export(run)
    undisturbed, times = files_of(exported), times_of(exported)

    assert export(run) == exported
    assert times_of(exported) == times

    # Killed after the first file of a part.
    again = {COMMIT, part_name(1), *(file for file in undisturbed if file.split("/")[-1].startswith("1"))}
    again |= {file for file in undisturbed if file.endswith("1b/c.png")}
    for file in again - {"initial/1a.png"}:
        Path(exported.path(file)).unlink()
    assert export(run) == exported
    assert files_of(exported) == undisturbed
    assert {file for file, when in times_of(exported).items() if when != times[file]} == again


def test_a_part_counts_only_when_all_its_files_are_there(open_here: Callable[..., Run], tmp_path: Path) -> None:
    run, undisturbed = (
        with_masks(open_here(tmp_path / "in", clusters=K, save_png=True, name=name)) for name in ("run", "undisturbed")
    )
    uri = run.commit(Predicted).path(part_name(1))
    sound = storage.read_table(uri)
    storage.write_table(uri, sound.set_column(1, "mask", pa.array([sound["mask"][0].as_py(), b"no picture"])))
    with pytest.raises(ImageError):
        export(run)
    assert run.folder.find(Exported) is None
    (begun,) = Path(run.folder.path("export")).iterdir()
    assert written_parts(str(begun)) == {part_name(0)}

    storage.write_table(uri, sound)
    assert files_of(export(run)) == files_of(export(undisturbed))


def test_no_file_of_other_masks_or_another_palette_passes_for_one_of_these(run: Run) -> None:
    both = export(with_masks(run))
    fewer = export(write_masks(run, Labelled(), seed=7, parts=1))
    assert fewer.uri != both.uri
    pictures = {file for file in files_of(fewer) if file.endswith(".png")}
    assert pictures == {f"initial/0{i}.png" for i in IMAGES}
    # Only the number of clusters, and with it the palette, is another.
    more = run.configured(run.config.model_copy(update={"clusters": K + 1}), run.listing)
    other = export(write_masks(more, Labelled(), seed=7, parts=1))
    assert {file for file in files_of(other) if file.endswith(".png")} == pictures
    assert files_of(other)["initial/0a.png"] != files_of(fewer)["initial/0a.png"]


#: Names of files as people give them: of any script, up to the 255 bytes that file systems allow, in folders.
parts_of_names = st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1)
names = st.lists(parts_of_names | parts_of_names.map(lambda name: name * 20), min_size=1, max_size=2).map("/".join)
longest = st.sampled_from(("á" * 125, "á" * 124 + "à", "ｎ" * 83, "x" * 251))


def is_sound(image_id: str) -> bool:
    try:
        check_id(image_id)
    except ImageError:
        return False
    return True


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(names | longest, min_size=1))
def test_an_id_of_any_script_and_length_that_ingest_takes_names_a_file_of_its_own(run: Run, names: set[str]) -> None:
    ids = tuple(image_id for image_id in sorted(set(assign_ids(sorted(names)))) if is_sound(image_id))
    assume(ids)
    exported = export(write_masks(run, Labelled(), seed=zlib.crc32(repr(ids).encode()), parts=1, ids=ids))
    assert rows_of(exported) == [{"image_id": i, "files": [f"initial/{i}.png"]} for i in ids]
    inside = Path(exported.path("initial")).resolve()
    files = {Path(exported.path("initial", f"{image_id}.png")).resolve() for image_id in ids}
    assert {file for file in inside.rglob("*") if file.is_file()} == files
