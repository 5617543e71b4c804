"""Large images: what is found in a mosaic is what is found in each of its images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.core.graph.louvain import number_by_first
from datus2_ray.core.views.windows import Windows
from datus2_ray.demo.scenes import render
from datus2_ray.engine.heartbeat import Unheard
from datus2_ray.engine.operators import embed
from datus2_ray.engine.operators.embed import EmbedImages
from datus2_ray.engine.operators.segment import FindSegments
from datus2_ray.store.columns import list_arrays

#: Side of an image in pixels, of a patch, and images along a side of the mosaic.
SIDE, PATCH, IMAGES = 64, 8, 5

CELLS = SIDE // PATCH


class MeanColours:
    """Stands for a backbone: the vector of a patch is its mean colour in whole numbers, whatever is around it."""

    patch_size, dim, device = PATCH, 3, torch.device("cpu")

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return height // PATCH, width // PATCH

    def extract(self, pixels: Tensor, taps: Any) -> dict[Any, Tensor]:
        assert max(pixels.shape[1:3]) <= SIDE, "seen whole"
        height, width = self.grid(*pixels.shape[1:3])
        patches = pixels.float().reshape(len(pixels), height, PATCH, width, PATCH, 3)
        means = patches.mean(dim=(2, 4)).round().flatten(1, 2)
        return {tap: means.clone() for tap in taps}


def block(images: list[np.ndarray]) -> pa.Table:
    """Return images as they are read, each of which is as large as it is shown."""
    heights, widths = ([image.shape[axis] for image in images] for axis in (0, 1))
    columns = {
        "image_id": [f"image {number}" for number in range(len(images))],
        "height": heights, "width": widths, "pixel_height": heights, "pixel_width": widths,
        "pixels": pa.array([image.tobytes() for image in images], pa.binary()),
    }  # fmt: skip
    return pa.table(columns)


@pytest.mark.parametrize(
    "settings",
    [
        {"tau": 1},
        {"tau": 1, "mirror": True, "place": 0, "colour": 0},
        {"tau": 2, "noise": "kept"},
        {"graph": "binary", "place": 0, "colour": 0, "noise": "kept", "tau": 1},
    ],
)
def test_a_mosaic_has_the_segments_of_its_images(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "load_backbone", lambda *_, **__: MeanColours())
    config = DiscoverConfig(**settings)
    windows = Windows(SIDE, SIDE, PATCH)
    scenes = [render(number, height=SIDE, width=SIDE)[0] for number in range(IMAGES**2)]
    rows = [np.concatenate(scenes[start : start + IMAGES], axis=1) for start in range(0, len(scenes), IMAGES)]
    beats = SimpleNamespace(count=0)
    heartbeat = Unheard()
    monkeypatch.setattr(heartbeat, "beat", lambda memory=0: setattr(beats, "count", beats.count + 1), raising=False)
    images = EmbedImages("", config, "cpu", heartbeat, True, True, windows)
    find = FindSegments(config, 0, True, windows)

    # Among ordinary images, which are not seen in windows.
    found = find(images(block([scenes[0], np.concatenate(rows), scenes[1]])))
    alone = find(images(block(scenes)))
    assert found["grid_height"].to_pylist() == [CELLS, IMAGES * CELLS, CELLS]
    maps, scenes_alone = list_arrays(found["patch_map"]), list_arrays(alone["patch_map"])
    np.testing.assert_array_equal(maps[0], scenes_alone[0])
    np.testing.assert_array_equal(maps[2], scenes_alone[1])
    mosaic = np.asarray(maps[1]).reshape(IMAGES * CELLS, -1)
    for number, (down, across) in enumerate(windows.blocks(*mosaic.shape)):
        own, other = mosaic[down, across], np.asarray(scenes_alone[number]).reshape(CELLS, CELLS)
        np.testing.assert_array_equal(own < 0, other < 0)
        np.testing.assert_array_equal(number_by_first(own), number_by_first(other))
    assert len(np.asarray(list_arrays(found["sizes"])[1])) == sum(map(len, list_arrays(alone["sizes"])))
    communities = alone["communities"].to_pylist()
    assert found["communities"][1].as_py() == (sum(communities) if max(communities) > 1 else 1)
    # A window of a large backbone takes seconds: each is a sign of life.
    assert beats.count > IMAGES**2


def test_patches_as_units_of_a_large_image_are_numbered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "load_backbone", lambda *_, **__: MeanColours())
    config, windows = DiscoverConfig(unit="patches"), Windows(SIDE, SIDE, PATCH)
    image = np.zeros((IMAGES * SIDE, SIDE, 3), np.uint8)
    embedded = EmbedImages("", config, "cpu", Unheard(), False, True, windows)(block([image]))
    (found,) = list_arrays(FindSegments(config, 0, True, windows)(embedded)["patch_map"])
    assert np.asarray(found).tolist() == list(range(IMAGES * CELLS * CELLS))
