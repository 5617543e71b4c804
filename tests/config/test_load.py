from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.cli.settings_page import settings_page
from datus2_ray.config.load import RunConfig, load, preset_names
from datus2_ray.config.stages import StageConfig
from datus2_ray.errors import UsageError

FLAGS = {"source": "in", "out": "out"}


def test_later_settings_win(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("seed: 1\nclusters: 9\ndiscover: {tau: 2, resolution: 2.0}\n")
    config = load(
        {**FLAGS, "clusters": 3}, preset="demo", config_file=str(file), assignments=("discover.tau=7", "seed=5")
    )
    assert (config.preset, config.refine.steps) == ("demo", 100)  # from the preset
    assert config.discover.resolution == 2.0  # from the file
    assert (config.discover.tau, config.seed) == (7, 5)  # from --set
    assert config.clusters == 3  # from a flag


def test_demo_is_best_with_a_short_refinement() -> None:
    best, demo = (load(FLAGS, preset=preset).model_dump() for preset in ("best", "demo"))
    assert demo.pop("preset") == "demo"
    assert best.pop("preset") == "best"
    assert demo["refine"]["steps"] == 100
    assert demo == {**best, "refine": {**best["refine"], "steps": 100}}


def test_paper_is_the_default_and_says_what_the_method_says() -> None:
    config = load(FLAGS)
    discover = config.discover
    assert (discover.feature, discover.block, discover.tau, discover.resolution) == ("key", -1, 5, 1.0)
    # compiled, in one order: scikit-network's partition to the last bit (tests/core/test_louvain.py).
    assert (discover.louvain, discover.louvain_orders) == ("compiled", 1)
    assert (discover.descriptor, discover.input_size) == ("cls", 224)
    assert (discover.graph, discover.noise) == ("binary", "kept")
    assert (discover.blocks, discover.keep_aspect, discover.mirror) == (1, False, False)
    assert load(FLAGS, assignments=("discover.louvain=networkx",)).discover.louvain == "networkx"
    with pytest.raises(UsageError, match="louvain_orders = 2 needs louvain = compiled"):
        load(FLAGS, assignments=("discover.louvain=networkx", "discover.louvain_orders=2"))
    assert (config.cluster.algorithm, config.cluster.start) == ("lloyd", "k-means++")
    assert config.refine.steps <= 400


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"assignments": ("discover.tua=3",)}, "unknown setting discover.tua; there are input_size,"),
        ({"assignments": ("discovr.tau=3",)}, "unknown setting discovr; there are source, out,"),
        ({"assignments": ("discover.tau",)}, "not of the form stage.key=value"),
        ({"assignments": ("discover.tau=-1",)}, "setting discover.tau = -1: input should be greater than"),
        ({"assignments": ("discover.feature=keys",)}, "setting discover.feature = 'keys'"),
        ({"assignments": ("discover=3",)}, "setting discover = 3"),
        ({"assignments": ("discover.noise=given",)}, "noise = given needs descriptor = tokens, not cls"),
        ({"assignments": ("discover.place=0.1",)}, "threshold, place and colour are of graph = neighbours"),
        ({"assignments": ("discover.place=.inf",)}, "setting discover.place = inf"),
        ({"assignments": ("discover.tile=224",)}, "tile = 224 must be below input_size = 224"),
        ({"assignments": ("discover.noise=given", "discover.descriptor=tokens+cls")}, "not tokens+cls: crops show"),
        ({"assignments": ("discover.resolution=auto", "discover.descriptor=tokens+cls")}, "not tokens+cls; or give"),
        ({"assignments": ("preset=demo",)}, "a preset is chosen by --preset"),
        ({"assignments": ("discover.tau=[",)}, "the value is not YAML"),
        ({"preset": "papre"}, "unknown preset 'papre'; there are best, demo, fast, paper"),
        ({"config_file": "/nowhere.yaml"}, "cannot read /nowhere.yaml"),
    ],
)
def test_wrong_settings_are_named_in_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the message is what counts, the class differs
        load(FLAGS, **settings)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"- 1\n", "must hold settings"), (b"\xff\xfe\x00", "is not YAML"), (b"preset: demo", "is chosen by --preset")],
)
def test_a_file_that_holds_no_settings(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "list.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load(FLAGS, config_file=str(file))


def test_files_of_weights_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(b"")
    config = load({**FLAGS, "backbone": "w.pth::vit_tiny_patch16_224"}, assignments=("refine.encoder_start=w.pth",))
    assert config.backbone == f"{tmp_path}/w.pth::vit_tiny_patch16_224"
    assert config.refine.encoder_start == f"{tmp_path}/w.pth"
    assert load({**FLAGS, "backbone": "vit_tiny_patch16_224"}).backbone == "vit_tiny_patch16_224"


@given(st.integers(1, 64), st.integers(1, 64))
def test_what_changes_speed_only_stays_out_of_the_identity(batch: int, actors: int) -> None:
    settings = (f"discover.batch_size={batch}", f"discover.actors={actors}", f"cluster.workers={actors}")
    config = load(FLAGS, assignments=settings)
    assert config.discover.identity() == load(FLAGS).discover.identity()
    assert config.cluster.identity() == load(FLAGS).cluster.identity()
    assert load(FLAGS, assignments=("discover.tau=6",)).discover.identity() != config.discover.identity()


def test_page_of_settings_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == settings_page(), "run `datus2 settings > docs/settings.md`"


def test_every_field_has_a_line_of_help_and_every_preset_loads() -> None:
    models = [RunConfig, *StageConfig.__subclasses__()]
    assert len(models) >= 6
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
    assert preset_names() == ["best", "demo", "fast", "paper"]
    for preset in preset_names():
        assert load(FLAGS, preset=preset).preset == preset


def test_flags_of_a_stage_reach_it_and_win_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("ingest: {image_column: a, id_column: b}")
    flags = {"source": "in", "out": "out", "image_column": "jpg", "mask_column": None, "no_refine": True}
    config = load(flags, config_file=str(file))
    assert (config.ingest.image_column, config.ingest.id_column, config.ingest.mask_column) == ("jpg", "b", None)
    assert not config.refine.enabled


def test_passes_fit_the_device_unless_settings_say_otherwise() -> None:
    fast, paper = (load(FLAGS, preset=preset).discover for preset in ("fast", "paper"))
    assert [fast.arithmetic(device) for device in ("cpu", "cuda")] == ["float32", "bfloat16"]
    assert [paper.arithmetic(device) for device in ("cpu", "cuda")] == ["float32", "float32"]
    assert [fast.batch_sizes(device) for device in ("cpu", "cuda")] == [(4, 4), (8, 32)]
    given = load(FLAGS, assignments=("discover.batch_size=3", "discover.crop_batch_size=5")).discover
    assert given.batch_sizes("cuda") == (3, 5)
