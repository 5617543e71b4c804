"""The paper preset against an independent, naive reading of the method, and against itself on other machinery."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.ndimage
import scipy.sparse as sp
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from sknetwork.clustering import Louvain

from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, load_backbone
from datus2_ray.demo.scenes import render
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.operators.decides import segmentation_decides
from datus2_ray.engine.run import Run
from datus2_ray.stages.cluster.cluster import CLUSTER
from datus2_ray.stages.discover.discover import DISCOVER
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.survey import SURVEY
from datus2_ray.stages.label.label import LABEL
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Discovered, Ingested, Labelled, Surveyed
from datus2_ray.store.weights_cache import fetch
from tests.in_process import without_ray

Open = Callable[..., Run]


def table(commit: Commit[Any]) -> pa.Table:
    return pa.concat_tables([parquet.read_table(commit.path(part)) for part in sorted(commit.parts)]).combine_chunks()


def discover(run: Run, tokens: bool = False) -> Commit[Discovered]:
    """Find the segments of a run's images; with ground truth to be scored against, their tokens are kept."""
    run = execute_stage(run, INGEST)
    surveyed = Surveyed(1, ("a", "b"), (0, 1)) if tokens else Surveyed(0, ())
    return execute_stage(run.with_commit(Commit("", "", 0, 0, 0, {}, surveyed)), DISCOVER).commit(Discovered)


class NaiveReading:
    """Steps 1-6 of the method as they read: an image at a time, loops, Pillow, nothing of the package but weights."""

    def __init__(self, model: torch.nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.model, self.patch = model, model.patch_embed.patch_size[0]
        self.mean, self.std = np.array(mean, dtype=np.float32), np.array(std, dtype=np.float32)

    def tensor(self, image: Image.Image) -> torch.Tensor:
        pixels = (np.asarray(image).astype(np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())

    def keys(self, image: Image.Image) -> np.ndarray:
        with torch.inference_mode():
            model = self.model
            x = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(self.tensor(image)))))
            for block in model.blocks[:-1]:
                x = block(x)
            last = model.blocks[-1]
            dim = x.shape[-1]
            weight, bias = last.attn.qkv.weight[dim : 2 * dim], last.attn.qkv.bias[dim : 2 * dim]
            return (last.norm1(x) @ weight.T + bias)[0, 1:].numpy()

    def segments(self, image: Image.Image, tau: int = 5) -> tuple[np.ndarray, list[int]]:
        keys = self.keys(image)
        n, side = len(keys), 224 // self.patch
        affinity = keys @ keys.T
        adjacency = np.array([[affinity[i, j] > 0 for j in range(n)] for i in range(n)])
        communities = Louvain().fit_predict(sp.csr_matrix(adjacency)).reshape(side, side)
        result = np.full((side, side), -1)
        seen = np.zeros((side, side), dtype=bool)
        sizes = []
        for start in np.ndindex(side, side):
            if seen[start]:
                continue
            seen[start], members, queue = True, [], [start]
            while queue:
                y, x = queue.pop()
                members.append((y, x))
                for b in np.ndindex(3, 3):
                    near = (y + b[0] - 1, x + b[1] - 1)
                    if (
                        min(near) >= 0
                        and max(near) < side
                        and not seen[near]
                        and communities[near] == communities[y, x]
                    ):
                        seen[near] = True
                        queue.append(near)
            if len(members) > tau:
                for member in members:
                    result[member] = len(sizes)
                sizes.append(len(members))
        return result, sizes

    def cls(self, image: Image.Image, inside: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(inside)
        p = self.patch
        pixels = np.asarray(image) * np.kron(inside, np.ones((p, p), dtype=np.uint8))[..., None]
        box = (columns.min() * p, rows.min() * p, (columns.max() + 1) * p, (rows.max() + 1) * p)
        crop = Image.fromarray(pixels).crop(box)
        short = min(crop.size)
        crop = crop.resize([256 if s == short else int(256 * s / short) for s in crop.size], Image.Resampling.BICUBIC)
        left, top = round((crop.width - 224) / 2), round((crop.height - 224) / 2)
        with torch.inference_mode():
            token = self.model.forward_features(self.tensor(crop.crop((left, top, left + 224, top + 224))))[
                0, 0
            ].numpy()
        return token / np.linalg.norm(token)


@pytest.fixture(scope="module")
def real_images(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    chosen = sorted((real_data / "camvid/val/images").iterdir())[:60:15]
    chosen += sorted((real_data / "suim/train_val/images").iterdir())[:1200:300]
    for path in chosen:
        (folder / path.name).symlink_to(path.resolve())
    return folder


@pytest.mark.slow
def test_paper_preset_equals_a_naive_reading(real_images: Path, open_here: Open) -> None:
    rows = table(discover(open_here(real_images, backbone=DEFAULT_BACKBONE, clusters=4)))
    backbone = load_backbone(DEFAULT_BACKBONE)
    naive = NaiveReading(backbone.model, backbone.mean, backbone.std)
    maps, descriptors = list_arrays(rows["patch_map"]), list_arrays(rows["descriptors"])
    assert len(rows) == 8
    for i, image_id in enumerate(rows["image_id"].to_pylist()):
        path = next(real_images.glob(f"{image_id}.*"))
        image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        expected, sizes = naive.segments(image)
        np.testing.assert_array_equal(maps[i].reshape(expected.shape), expected)
        assert rows["sizes"][i].as_py() == sizes
        for segment, descriptor in enumerate(descriptors[i]):
            assert np.linalg.norm(descriptor) == pytest.approx(1, abs=1e-5)
            # The crop's pixels differ by at most two levels from Pillow's, see test_descriptors.
            assert float(descriptor @ naive.cls(image, expected == segment)) > 0.9995


#: Of the graph of nearest neighbours, and all that goes with it.
NEIGHBOURS = (
    "discover.feature=token", "discover.graph=neighbours", "discover.resolution=2", "discover.noise=given",
    "discover.descriptor=tokens", "cluster.metric=spherical", "cluster.weights=area",
)  # fmt: skip


#: And with every other way to see an image.
VIEWS = (
    *NEIGHBOURS,
    "discover.keep_aspect=true",
    "discover.mirror=true",
    "discover.blocks=2",
    "discover.input_size=96",
)


#: And through windows, with links by place and colour, and crops beside the tokens.
WINDOWS = (
    "discover.feature=token", "discover.graph=neighbours", "discover.place=0.2", "discover.colour=0.1",
    "discover.threshold=0.05", "discover.tile=64", "discover.input_size=96",
    "discover.descriptor=tokens+cls", "cluster.metric=spherical",
)  # fmt: skip


CHAIN = (INGEST, SURVEY, DISCOVER, CLUSTER, LABEL)

#: Parts and forward passes that are cut otherwise.
OTHER_CUTS = ("ingest.images_per_part=5", "discover.batch_size=3", "discover.crop_batch_size=7")


def assert_same_bits(first: Run, second: Run) -> None:
    for facts in (Ingested, Discovered, Labelled):
        assert table(first.commit(facts)).equals(table(second.commit(facts))), facts.stage
    centroids = [parquet.read_table(run.commit(Clustered).path("centroids.parquet")) for run in (first, second)]
    assert centroids[0].equals(centroids[1])


@pytest.mark.parametrize("settings", [VIEWS, WINDOWS], ids=["neighbours", "windows"])
def test_any_parts_and_batches_give_the_same_bits(scenes: Path, open_here: Open, settings: tuple[str, ...]) -> None:
    runs = [
        execute(open_here(scenes, *settings, *cuts, name=name, dataset="demo", limit=7), CHAIN)[0]
        for name, cuts in (("a", ()), ("b", OTHER_CUTS))
    ]
    assert_same_bits(*runs)


def test_any_number_of_actors_gives_the_bits_of_one_process(scenes: Path, open_run: Open) -> None:
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        here, _ = execute(open_run(scenes, name="here", dataset="demo", limit=14), CHAIN)
    settings = (*OTHER_CUTS, "discover.actors=2", "discover.max_actors=3", "cluster.workers=3")
    assert_same_bits(here, execute(open_run(scenes, *settings, name="ray", dataset="demo", limit=14), CHAIN)[0])


def test_the_graph_of_neighbours_equals_a_naive_reading(scenes: Path, open_here: Open) -> None:
    rows = table(discover(open_here(scenes, *NEIGHBOURS, backbone=DEFAULT_BACKBONE, dataset="demo", limit=4)))
    backbone = load_backbone(DEFAULT_BACKBONE)
    noise = 0
    for i, found in enumerate(list_arrays(rows["patch_map"])):
        path = next(scenes.rglob(f"images/{rows['image_id'][i].as_py()}.*"))
        image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        tokens = backbone.extract(torch.from_numpy(np.asarray(image)[None].copy()), [Tap("token")])[Tap("token")][0]
        centred = (tokens - tokens.mean(0)).numpy()
        distances, patches = NearestNeighbors(n_neighbors=17, metric="cosine").fit(centred).kneighbors(centred)
        weights = np.zeros((784, 784))
        for patch in range(784):
            for other, distance in zip(patches[patch, 1:], distances[patch, 1:], strict=True):
                weights[patch, other] = max(weights[patch, other], 1 - distance)
                weights[other, patch] = max(weights[other, patch], 1 - distance)
        communities = Louvain(resolution=2).fit_predict(sp.csr_matrix(weights)).reshape(28, 28)
        segments, count = np.full((28, 28), -1), 0
        for community in np.unique(communities):
            parts, number = scipy.ndimage.label(communities == community, np.ones((3, 3)))
            for part in range(1, number + 1):
                if (parts == part).sum() > 5:
                    segments[parts == part], count = count, count + 1
        assert count == len(rows["sizes"][i]) > 5
        assert (found >= 0).all()
        # The same partition of what is no noise: segments correspond in pairs.
        valid = segments.ravel() >= 0
        noise += np.count_nonzero(~valid)
        assert np.count_nonzero(valid) > 584
        pairs = set(zip(segments.ravel()[valid], found[valid], strict=True))
        assert len(pairs) == len({segment for segment, _ in pairs}) == len({segment for _, segment in pairs}) == count
    assert noise  # there was some to be given to segments


def test_windows_places_colours_and_threshold_decide_the_graph(scenes: Path, open_here: Open) -> None:
    settings = (*WINDOWS, "discover.descriptor=tokens", "discover.resolution=2", "discover.tau=0")
    run = open_here(scenes, *settings, backbone=DEFAULT_BACKBONE, dataset="demo", limit=3)
    rows = table(discover(run, tokens=True))
    backbone = load_backbone(DEFAULT_BACKBONE)
    for i, found in enumerate(list_arrays(rows["patch_map"])):
        path = next(scenes.rglob(f"images/{rows['image_id'][i].as_py()}.*"))
        image = Image.open(path).convert("RGB").resize((96, 96), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(image).copy())
        # Windows of 8 x 8 patches, four patches apart: twelve patches a side.
        total, looks = torch.zeros(12, 12, 192), torch.zeros(12, 12, 1)
        for top, left in itertools.product((0, 4), (0, 4)):
            window = pixels[None, 8 * top : 8 * top + 64, 8 * left : 8 * left + 64]
            tokens = backbone.extract(window, [Tap("token")])[Tap("token")].reshape(8, 8, 192)
            total[top : top + 8, left : left + 8] += tokens
            looks[top : top + 8, left : left + 8] += 1
        tokens = (total / looks).reshape(144, 192)
        np.testing.assert_allclose(list_arrays(rows["tokens"])[i], tokens, atol=5e-3)  # kept in 16 bits
        unit = torch.nn.functional.normalize(tokens - tokens.mean(0), dim=1)
        place = torch.cartesian_prod(torch.arange(12.0), torch.arange(12.0))
        colour = pixels.float().reshape(12, 8, 12, 8, 3).mean((1, 3)).reshape(144, 3)
        weights = unit @ unit.T
        for values, loss in ((place, 0.2), (colour, 0.1)):
            distances = (values[:, None] - values[None]).square().sum(-1)
            weights -= loss * distances / distances.mean()
        weights.fill_diagonal_(-1)
        kept = torch.zeros_like(weights)
        nearest = weights.topk(16, dim=1).indices
        kept.scatter_(1, nearest, weights.gather(1, nearest))
        kept[kept <= 0.05] = 0
        graph = sp.csr_matrix(torch.maximum(kept, kept.T).double().numpy())
        communities = Louvain(resolution=2).fit_predict(graph).reshape(12, 12)
        parts = np.zeros((12, 12), int)
        for community in np.unique(communities):
            labels, _ = scipy.ndimage.label(communities == community, np.ones((3, 3)))
            parts[labels > 0] = parts.max() + labels[labels > 0]
        pairs = set(zip(parts.ravel(), np.asarray(found), strict=True))
        assert len(pairs) == len(np.unique(parts)) == len(rows["sizes"][i]) > 5


def test_weights_of_a_bucket_give_what_the_file_gives(scenes: Path, bucket: str, open_here: Open) -> None:
    uri = f"s3://{bucket}/models/vit.safetensors"
    storage.write_bytes(uri, PACKAGED_WEIGHTS.read_bytes())
    storage.write_bytes(f"s3://{bucket}/models/vit.json", PACKAGED_WEIGHTS.with_suffix(".json").read_bytes())
    there, here = (
        discover(open_here(scenes, backbone=backbone, name=name, dataset="demo", limit=2))
        for name, backbone in {"there": uri, "here": str(PACKAGED_WEIGHTS)}.items()
    )
    shutil.rmtree(fetch(uri).parent)  # of the user's own cache
    assert there.fingerprint == here.fingerprint
    assert table(there).equals(table(here))


def test_images_keep_their_aspect_and_do_not_depend_on_those_of_another_beside_them(
    tmp_path: Path, open_here: Open
) -> None:
    sizes = {"a": (240, 320), "b": (320, 240), "c": (240, 320), "d": (100, 1000), "e": (64, 64)}
    (tmp_path / "all").mkdir()
    for number, (name, (height, width)) in enumerate(sizes.items()):
        Image.fromarray(render(number, height=height, width=width)[0]).save(tmp_path / "all" / f"{name}.png")
    (tmp_path / "all" / "f.png").write_bytes((tmp_path / "all" / "a.png").read_bytes()[:2000])  # cut off
    (tmp_path / "two").mkdir()
    for name in "bc":
        shutil.copy(tmp_path / "all" / f"{name}.png", tmp_path / "two")
    found = []
    for folder in ("all", "two"):
        views = (*VIEWS, "discover.batch_size=2")
        run = open_here(tmp_path / folder, *views, name=f"run-{folder}", clusters=2, max_error_rate=0.5)
        found.append({row["image_id"]: row for row in table(discover(run, tokens=True)).to_pylist()})
    assert {name: (row["grid_height"], row["grid_width"]) for name, row in found[0].items()} == {
        "a": (6, 8), "b": (8, 6), "c": (6, 8), "d": (6, 18), "e": (6, 6),
    }  # fmt: skip
    for row in found[0].values():
        assert len(row["patch_map"]) == len(row["tokens"]) == row["grid_height"] * row["grid_width"]
        assert sum(row["sizes"]) == len(row["patch_map"])
    assert {name: found[0][name] for name in "bc"} == found[1]


def test_reduced_decoding_touches_large_jpegs_alone(tmp_path: Path, open_here: Open) -> None:
    (tmp_path / "in").mkdir()
    large, small = (Image.fromarray(render(3, height=height, width=height * 4 // 3)[0]) for height in (480, 240))
    for name, image in {"large.jpg": large, "lossless.png": large, "small.jpg": small}.items():
        image.save(tmp_path / "in" / name)
    found = []
    for reduced in ("false", "true"):
        settings = (f"discover.reduced_decoding={reduced}", "discover.descriptor=tokens")
        rows = table(discover(open_here(tmp_path / "in", *settings, name=reduced, clusters=2), tokens=True))
        found.append(dict(zip(rows["image_id"].to_pylist(), list_arrays(rows["tokens"]), strict=True)))
    same = {name: np.array_equal(found[0][name], found[1][name]) for name in found[0]}
    assert same == {"large": False, "lossless": True, "small": True}
    whole, fraction = (tokens["large"].astype(np.float32) for tokens in found)
    cosine = (whole * fraction).sum(1) / (np.linalg.norm(whole, axis=1) * np.linalg.norm(fraction, axis=1))
    assert cosine.mean() > 0.98


def test_tokens_and_crops_are_joined(scenes: Path, open_here: Open) -> None:
    found = []
    for kind in ("cls", "tokens", "tokens+cls"):
        run = open_here(scenes, f"discover.descriptor={kind}", name=kind, dataset="demo", limit=3)
        found.append(np.concatenate(list_arrays(table(discover(run))["descriptors"])))
    crops, tokens, both = found
    np.testing.assert_allclose(both, np.concatenate([tokens, crops], axis=1) / np.sqrt(2), atol=1e-6)


def test_a_grid_is_the_same_of_patches_of_any_size_and_counts_as_its_pixels(scenes: Path, open_here: Open) -> None:
    def opened(backbone: str, *settings: str) -> Run:
        flags = {"backbone": backbone, "dataset": "demo", "limit": 2, "preset": "best"}
        return open_here(scenes, "discover.resolution=2", *settings, name="-".join((backbone, *settings)), **flags)

    sizes = {DEFAULT_BACKBONE: 64, "untrained:vit_tiny_patch16_224": 128}
    for backbone, size in sizes.items():
        patches, pixels = opened(backbone, "discover.grid=8"), opened(backbone, f"discover.input_size={size}")
        decided = [segmentation_decides(run, "cpu") for run in (patches, pixels, opened(backbone, "discover.grid=9"))]
        assert decided[0] == decided[1] != decided[2]
        found = [table(discover(run)) for run in (patches, pixels)]
        assert found[0].equals(found[1])
        assert set(found[0]["grid_height"].to_pylist() + found[0]["grid_width"].to_pylist()) == {8}


def test_windows_decide_where_an_image_is_large(scenes: Path, open_here: Open) -> None:
    def decided(window: object, longest: int) -> dict[str, Any]:
        run = open_here(scenes, f"discover.window={window}", name=f"{window}-{longest}", preset="best")
        return segmentation_decides(
            run.with_commit(Commit("", "", 0, 0, 0, {}, Ingested("demo", longest=longest))), "cpu"
        )

    assert decided(1024, 4096) == decided("null", 4096) == decided(1025, 4096) == decided("null", 4097)
    assert decided(1024, 4097) == {**decided("null", 4097), "window": 1024} != decided(500, 4097)


def test_images_without_structure_are_one_segment_each_and_counted(scenes: Path, open_here: Open) -> None:
    # At this resolution no two patches gain by being one community.
    whole, parted = (
        discover(open_here(scenes, f"discover.resolution={value}", name=str(value), dataset="demo", limit=3))
        for value in (1_000_000, 1)
    )
    assert (whole.facts.unstructured, parted.facts.unstructured) == (3, 0)
    assert table(whole)["communities"].to_pylist() == [1, 1, 1]
    assert [len(sizes) for sizes in table(whole)["sizes"].to_pylist()] == [1, 1, 1]
    assert all((np.asarray(patch_map) == 0).all() for patch_map in list_arrays(table(whole)["patch_map"]))
    assert table(whole)["modularity"].to_pylist() == pytest.approx([1 - 1e6] * 3)


def test_patches_as_units_are_their_tokens_and_take_no_graph(
    scenes: Path, open_here: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for builder in ("binary_affinity", "nearest_neighbours", "pair_penalties"):
        monkeypatch.setattr(f"datus2_ray.engine.operators.embed.{builder}", None)
    settings = ("discover.unit=patches", "discover.descriptor=tokens", "discover.tau=1000")
    found = discover(open_here(scenes, *settings, dataset="demo", limit=3), tokens=True)
    assert found.facts.unstructured == 0
    rows = table(found)
    for name in ("communities", "modularity"):
        assert rows[name].null_count == 3
    for patch_map, sizes, descriptors, tokens in zip(
        *(list_arrays(rows[name]) for name in ("patch_map", "sizes", "descriptors", "tokens")), strict=True
    ):
        np.testing.assert_array_equal(patch_map, np.arange(196))
        np.testing.assert_array_equal(sizes, np.ones(196))
        lengths = np.linalg.norm(tokens.astype(np.float64), axis=1, keepdims=True)
        np.testing.assert_allclose(descriptors, tokens / lengths, atol=1e-6)


@pytest.mark.parametrize("descriptor", ["tokens", "cnn"])
def test_other_descriptors(scenes: Path, open_here: Open, descriptor: str) -> None:
    settings = [f"discover.descriptor={descriptor}", "discover.cnn=untrained:resnet18"]
    rows = table(discover(open_here(scenes, *settings, dataset="demo", limit=4), tokens=True))
    maps, tokens = list_arrays(rows["patch_map"]), list_arrays(rows["tokens"])
    for i, found in enumerate(list_arrays(rows["descriptors"])):
        assert found.shape == (len(rows["sizes"][i]), 192 if descriptor == "tokens" else 512)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
        if descriptor == "tokens":
            means = np.array([tokens[i][maps[i] == s].astype(float).mean(axis=0) for s in range(len(found))])
            np.testing.assert_allclose(found, means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-5)


def test_tokens_are_kept_where_a_layer_or_the_baseline_reads_them(scenes: Path, open_here: Open) -> None:
    small = ("discover.input_size=64", "discover.tau=0", "discover.resolution=2", "discover.mirror=true")
    layer, baseline, none = ((True, False), (False, True), (False, False))
    found = {}
    for em, labelled in (layer, baseline, none):
        settings = (*small, f"refine.em={em}", "refine.network=deeplabv3")
        run = open_here(scenes, *settings, preset="best", dataset="demo", limit=4, name=f"{em}-{labelled}")
        found[em, labelled] = table(discover(run, tokens=labelled))
    assert found[none]["tokens"].null_count == 4
    assert found[layer].equals(found[baseline])
    rows = found[layer]
    columns = (list_arrays(rows[name]) for name in ("tokens", "patch_map", "descriptors"))
    for tokens, patch_map, means in zip(*columns, strict=True):
        # They are what describes the segments: here the mean of two views.
        first = np.asarray(tokens)[np.asarray(patch_map) == 0].astype(float).mean(0)
        np.testing.assert_allclose(means[0], first / np.linalg.norm(first), rtol=1e-5, atol=1e-6)
    assert found[none].drop_columns(["tokens"]).equals(rows.drop_columns(["tokens"]))
