"""The dedicated method beside ours, and the paper's experiments on one page, of which nothing runs twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from datus2_ray.cli.app import app
from datus2_ray.commands.experiments.conclusions import conclude
from datus2_ray.commands.experiments.paper import PARTS
from datus2_ray.commands.experiments.run import Result, run_experiment
from datus2_ray.commands.experiments.variants import EXPERIMENTS, PUBLISHED, Variant, published_head
from datus2_ray.config.load import RunConfig, load
from datus2_ray.core.head.recipes import Recipe
from datus2_ray.core.refine import em
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts import known
from datus2_ray.sources.list_source import list_source
from datus2_ray.sources.listing import Listing
from tests.in_process import commands_without_ray

QUICK = (
    "ingest.images_per_part=8",
    "discover.input_size=64",
    "discover.tau=0",
    "cluster.restarts=1",
    "cluster.fine=8",
    "evaluate.token_restarts=1",
    "refine.min_images=2",
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Run commands in this process, learn in a few steps, and of the ablation and the sweeps take the ends only."""
    with pytest.MonkeyPatch.context() as patch:
        commands_without_ray(patch)
        patch.setattr("datus2_ray.core.head.recipes.Recipe", partial(Recipe, steps=4, points=8))
        patch.setattr(em, "Recipe", partial(em.Recipe, steps=10, batch=64))
        for name in ("ablation", "clusters", "data-size"):
            axis = EXPERIMENTS[name]
            patch.setitem(EXPERIMENTS, name, replace(axis, variants=partial(_ends, axis.variants)))
        yield


def _ends(variants: Any, *given: Any) -> list[Any]:
    found = variants(*given)
    return [found[0], found[-1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paper")


def base(scenes: Path, out: Path, **flags: Any) -> RunConfig:
    return load({"source": str(scenes), "out": str(out), "dataset": "demo", "limit": 8, **flags}, assignments=QUICK)


def test_the_rows_are_tokens_and_codes_per_patch_and_of_segments(scenes: Path) -> None:
    listing: Listing = list_source(load({"source": str(scenes), "out": "unused", "dataset": "demo"}))
    config = load({"source": str(scenes), "out": "unused", "dataset": "demo"})
    variants = {
        variant.name: variant.apply(config) for variant in EXPERIMENTS["dedicated"].variants(config, (), listing)
    }
    assert len(variants) == 9
    assert variants["tokens of segments, merged"].identity() == config.identity()
    alone = variants[PUBLISHED]
    assert (alone.discover.unit, alone.cluster.descriptors, alone.cluster.fine) == ("patches", "stego-coco", None)
    assert alone.cluster.projection == ("none", None, 0.0)
    assert {one.cluster.descriptors for name, one in variants.items() if name.startswith("codes")} == {
        "stego-coco",
        "head",
    }
    assert len({str(one.identity()) for one in variants.values()}) == 9
    stego = config.model_copy(update={"cluster": config.cluster.model_copy(update={"descriptors": "stego-potsdam"})})
    given = EXPERIMENTS["dedicated"].variants(stego, (), listing)
    assert given[-1].apply(stego).cluster.descriptors == "stego-potsdam"
    assert given[4].apply(stego).cluster.descriptors == "tokens"
    with pytest.raises(UsageError, match="a comparison with a dedicated method has none"):
        EXPERIMENTS["dedicated"].variants(config, (1.0,), listing)


def test_shifts_are_those_of_a_set_like_it() -> None:
    heads = {
        "camvid": "stego-cityscapes",
        "cityscapes19": "stego-cityscapes",
        "cityscapes27": "stego-cityscapes",
        "potsdam3": "stego-potsdam",
        "potsdam6": "stego-potsdam",
        "cocostuff27": "stego-coco",
        "suim6": "stego-coco",
        "folder": "stego-coco",
    }
    assert {name: published_head(name) for name in heads} == heads
    assert all(known.find(name) for name in heads)


def made(variant: str, seed: int, miou: float, value: float | None = None) -> Result:
    scores = {"miou": miou / 100, "pixel_accuracy": miou / 50}
    metrics = {"initial": {"one_to_one": scores, "many_to_one": scores}}
    return Result(
        Variant(variant, value=value),
        seed,
        {"images": 9, "segments": 9, "seconds": {"discover": 18.0}, "metrics": metrics},
    )


def test_words_follow_from_the_numbers() -> None:
    def of(experiment: str, **scores: tuple[float, float]) -> str:
        values = {"eight": 8.0, "sixteen": 16.0}
        results = [made(name, seed, pair[seed], values.get(name)) for name, pair in scores.items() for seed in (0, 1)]
        return " ".join(conclude(experiment, results).sentences)

    falling = of("patch-size", eight=(20, 22), sixteen=(15, 16))
    assert "Best of 2 sizes: eight, with 21.0 ± 1.4 % mIoU" in falling
    assert (
        "From eight to sixteen: −5.5 ± 0.7 mIoU and −11.0 ± 1.4 points of accuracy, more than its deviation" in falling
    )
    assert "smaller patches are better at every step" in falling
    rising = of("patch-size", eight=(20, 22), sixteen=(25, 20))
    assert "sixteen, with" in rising
    assert "no more than its deviation over 2 seeds" in rising
    assert "not better at every step" in rising
    parts = of("ablation", best=(20, 22), binary=(15, 16), wide=(25, 28), other=(20, 23))
    assert "Lower mIoU by more than the deviation of the change: binary (−5.5 ± 0.7)." in parts
    assert "Higher by more than it: wide (+5.5 ± 0.7)." in parts
    assert "Of 3 variants 1 stay within it." in parts
    sizes = of("data-size", eight=(20, 20.2), sixteen=(22, 24))
    assert "mIoU is 20.1 ± 0.1 % with eight and 23.0 ± 1.4 % with sixteen; from sixteen on" in sizes
    assert "1.12 s per image of the whole set" in sizes
    more = of("clusters", eight=(20, 22), sixteen=(15, 16))
    assert "One-to-one, eight has the highest mIoU: 21.0 ± 1.4 %" in more


def test_the_paper_is_one_page_that_a_second_call_writes_without_a_run(scenes: Path, folder: Path) -> None:
    line = ["experiment", "paper", str(scenes), "--out", str(folder), "--dataset", "demo", "--limit", "8"]
    line += ["--seeds", "1", "--backbones", "untrained:vit_tiny_patch16_224"]
    line += [part for setting in QUICK for part in ("--set", setting)]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == str(folder / "paper.html")
    page = (folder / "paper.html").read_text()
    assert not re.search(r"(src|href)=\"(?!#)", page)
    for part in PARTS:
        assert f'<section id="{part.experiment}">' in page
        assert {path.suffix for path in folder.glob(f"{part.experiment}.*")} == {".csv", ".md", ".svg"}
    assert "untrained:vit_tiny_patch16_224, patches of 16 pixels, the same grid" in page
    assert page.count("<svg") == len(PARTS) + 1  # the cost beside the quality

    ran = (folder / "runs" / "events.jsonl").read_text()
    assert CliRunner().invoke(app, line, catch_exceptions=False).exit_code == 0
    assert (folder / "runs" / "events.jsonl").read_text() == ran
    assert (folder / "paper.html").read_text() == page


def test_what_is_added_is_the_difference_of_the_scores(scenes: Path, folder: Path) -> None:
    results = run_experiment("dedicated", base(scenes, folder), 1, (), lambda line: None)
    assert all({"initial", "refined", "token_kmeans"} <= result.summary["metrics"].keys() for result in results)
    by_name = {result.variant.name: result for result in results}

    def miou(name: str, masks: str) -> float:
        return 100 * float(by_name[name].summary["metrics"][masks]["one_to_one"]["miou"])

    found = {row[:2]: row[2] for row in conclude("dedicated", results).rows}
    whole, ours = "codes of segments, merged", "tokens of segments, merged"
    alone = miou("codes per patch", "initial")
    for what, to, difference in (
        ("segments", "codes per patch, initial masks", miou("codes of segments", "initial") - alone),
        ("EM", "codes per patch, initial masks", miou("codes per patch", "refined") - alone),
        ("a head", f"{ours}, masks after EM", miou(whole, "refined") - miou(ours, "refined")),
    ):
        assert found[(what, to)] == f"{round(difference, 1) + 0.0:+.1f}".replace("-", "−")  # no −0.0
    words = conclude("dedicated", results).sentences[0]
    assert f"{miou(PUBLISHED, 'initial'):.1f} % mIoU" in words
    assert f"{miou('codes per patch', 'token_kmeans'):.1f} % mIoU" in words
