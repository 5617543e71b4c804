from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.config import RunConfig, load
from datus2_ray.config.catalogue import all_settings
from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.config.load import read_config
from datus2_ray.config.presets import preset_names
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import storage

FLAGS = {"source": "in", "out": "out"}

#: Every setting with a few named values, and its values.
CHOICES = [
    (f"{stage}.{name}", value)
    for stage in all_settings()
    if stage
    for name, field in RunConfig.model_fields[stage].annotation.model_fields.items()  # type: ignore[union-attr]
    for value in ("true", "false") * (field.annotation is bool) + get_args(field.annotation)
    if isinstance(value, str)
]


def test_later_settings_win(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("seed: 1\nclusters: 9\ndiscover: {tau: 2, resolution: 2.0}\n")
    config = load(
        {**FLAGS, "clusters": 3}, preset="fast", config_file=str(file), assignments=("discover.tau=7", "seed=5")
    )
    assert (config.preset, config.discover.louvain_orders) == ("fast", 4)  # from the preset
    assert config.discover.graph == "binary"  # from the preset that it extends
    assert config.discover.resolution == 2.0  # from the file
    assert (config.discover.tau, config.seed) == (7, 5)  # from --set
    assert config.clusters == 3  # from a flag


def test_without_a_preset_settings_are_the_defaults() -> None:
    config = load({"source": "/in", "out": "/out"})
    assert config == RunConfig(source="/in", out="/out")
    assert config.preset == "best"


@pytest.mark.parametrize("preset", ["best", "fast", "paper"])
def test_one_switched_setting_works_or_its_error_names_every_other_one_to_switch(preset: str) -> None:
    refused = []
    for key, value in CHOICES:
        try:
            load(FLAGS, preset=preset, assignments=(f"{key}={value}",))
        except UsageError as error:
            named = re.findall(r"\w+\.\w+=[\w.:+-]+", str(error))
            remedies = [remedy for remedy in named if not remedy.startswith(f"{key}=")]
            load(FLAGS, preset=preset, assignments=(f"{key}={value}", *remedies))
            refused.append((key, value))
    assert ("discover.descriptor", "cnn") in refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"assignments": ("discover.tua=3",)}, "unknown setting discover.tua; did you mean discover.tau"),
        ({"assignments": ("discovr.tau=3",)}, "unknown setting discovr; did you mean discover?"),
        ({"assignments": ("place=3",)}, "unknown setting place; did you mean discover.place"),
        ({"assignments": ("xyz.q=3",)}, "unknown setting xyz; `datus2 settings` lists all"),
        ({"assignments": ("discover.tau",)}, "not of the form stage.key=value"),
        ({"assignments": ("discover.tau=-1",)}, "setting discover.tau = -1: input should be greater than"),
        ({"assignments": ("discover.feature=keys",)}, "setting discover.feature = 'keys'"),
        ({"assignments": ("discover=3",)}, "setting discover = 3"),
        ({"assignments": ("discover.place=.inf",)}, "setting discover.place = inf"),
        ({"assignments": ("discover.grid=null",)}, "set discover.grid=28 or discover.input_size=224"),
        (
            {"assignments": ("discover.grid=40",), "preset": "paper"},
            "grid = 40 and input_size = 224 both say how large an image is seen: set discover.input_size=null",
        ),
        ({"assignments": ("discover.descriptor=tokens+cls",)}, "set discover.noise=kept or discover.descriptor=tokens"),
        ({"assignments": ("discover.louvain=networkx", "discover.louvain_orders=2")}, "set discover.louvain_orders=1"),
        ({"assignments": ("preset=paper",)}, "a preset is chosen by --preset"),
        ({"assignments": ("discover.tau=[",)}, "the value is not YAML"),
        ({"preset": "papre"}, "unknown preset 'papre'; there are best, fast, paper"),
        ({"preset": "demo"}, "use --preset best"),
        ({"assignments": ("refine.rounds=2",)}, "refine.rounds was removed"),
        ({"assignments": ("discover.louvain=scikit-network",)}, "use compiled, which finds the same partition"),
        ({"assignments": ("discover.dtype=null",)}, "use auto"),
        (
            {"assignments": ("discover.resolution=auto",)},
            "discover.resolution=auto was removed: no choice without labels was better than a fixed one; give a number",
        ),
        ({"assignments": ("discover.resolution=0",)}, "setting discover.resolution = 0: input should be greater than"),
        (
            {"assignments": ("discover.unit=patches",), "preset": "paper"},
            "unit = patches needs descriptor = tokens, not cls, as no crop is cut of a patch: set discover.unit=",
        ),
        ({"config_file": "/nowhere.yaml"}, "cannot read /nowhere.yaml"),
    ],
)
def test_wrong_settings_are_named_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the message is what counts, the class differs
        load(FLAGS, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"- 1\n", "must hold settings"), (b"\xff\xfe\x00", "is not YAML"), (b"preset: fast", "is chosen by --preset")],
)
def test_a_file_that_holds_no_settings(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "list.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load(FLAGS, config_file=str(file))


def test_paths_are_relative_to_the_working_directory_and_absolute_once_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(b"")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "settings.yaml").write_text("refine: {network: deeplabv3, encoder_start: w.pth}")
    flags = {**FLAGS, "backbone": "w.pth::vit_tiny_patch16_224"}
    config = load(flags, config_file="far/settings.yaml", assignments=("discover.cnn=w.pth",))
    assert (config.source, config.out) == (f"{tmp_path}/in", f"{tmp_path}/out")
    assert config.backbone == f"{tmp_path}/w.pth::vit_tiny_patch16_224"
    assert config.refine.encoder_start == config.discover.cnn == f"{tmp_path}/w.pth"
    assert load({**FLAGS, "backbone": "vit_tiny_patch16_224"}).backbone == "vit_tiny_patch16_224"


def test_settings_of_a_run_are_read_back_and_those_of_another_version_refused_in_one_line(tmp_path: Path) -> None:
    file, config = str(tmp_path / "config.json"), load(FLAGS)
    settings = config.model_dump(mode="json")
    storage.write_json(file, settings)
    assert read_config(file) == config
    storage.write_json(file, {**settings, "refine": {**settings["refine"], "rounds": 1}, "new": 3})
    with pytest.raises(
        StorageError, match=r"config.json was written by another version .*refine.rounds was removed"
    ) as e:
        read_config(file)
    assert "\n" not in str(e.value)


@given(st.integers(4, 64), st.sampled_from([8, 14, 16]))
def test_the_size_follows_from_the_grid_and_the_patch_or_is_given_in_pixels(grid: int, patch: int) -> None:
    def sizes(preset: str, *assignments: str) -> DiscoverConfig:
        found = load(FLAGS, preset=preset, assignments=assignments)
        assert RunConfig.model_validate(found.model_dump()) == found
        return found.discover

    assert [sizes("best").side(side) for side in (8, 14, 16)] == [224, 392, 448]
    assert [sizes("paper").side(side) for side in (8, 14, 16)] == [224, 224, 224]
    assert sizes("best", f"discover.grid={grid}").side(patch) == grid * patch
    assert sizes("paper", f"discover.grid={grid}", "discover.input_size=null").side(patch) == grid * patch
    for preset in ("best", "fast", "paper"):
        assert sizes(preset, f"discover.input_size={32 * grid}").side(patch) == 32 * grid


@given(st.integers(1, 64), st.integers(1, 64))
def test_what_changes_speed_only_stays_out_of_the_identity(batch: int, actors: int) -> None:
    settings = (f"discover.batch_size={batch}", f"discover.actors={actors}", f"cluster.workers={actors}")
    config = load(FLAGS, assignments=settings)
    assert config.discover.identity() == load(FLAGS).discover.identity()
    assert config.cluster.identity() == load(FLAGS).cluster.identity()
    assert load(FLAGS, assignments=("discover.tau=6",)).discover.identity() != config.discover.identity()


def test_what_changes_the_prediction_only_does_not_train_again() -> None:
    mirrored, plain = (load(FLAGS, assignments=(f"refine.mirror={value}",)).refine for value in ("true", "false"))
    assert mirrored.identity() == plain.identity()
    assert (mirrored.identity("predict"), plain.identity("predict")) == ({"mirror": True}, {"mirror": False})


def test_every_preset_loads() -> None:
    for preset in preset_names():
        assert load(FLAGS, preset=preset).preset == preset


def test_flags_of_a_stage_reach_it_and_win_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("ingest: {image_column: a, id_column: b}")
    flags = {"source": "in", "out": "out", "image_column": "jpg", "mask_column": None, "no_refine": True}
    config = load(flags, config_file=str(file))
    assert (config.ingest.image_column, config.ingest.id_column, config.ingest.mask_column) == ("jpg", "b", None)
    assert not config.refine.enabled
