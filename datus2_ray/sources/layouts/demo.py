"""The scenes that the project renders itself, as a data set that everybody may have."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.labels import encode_palette_png
from datus2_ray.demo.scenes import CLASSES, render
from datus2_ray.sources.layouts.ground_truth import class_ids
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders

__all__ = ["DEMO", "write_demo"]

# In the order of CLASSES.
_PALETTE = np.array(
    [(112, 184, 240), (140, 200, 60), (24, 84, 168), (196, 84, 60), (16, 104, 56), (240, 180, 40)], np.uint8
)


def _read_mask(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    return class_ids(data, height, width, len(CLASSES))


DEMO = LabelledFolders(
    name="demo",
    title="rendered demo scenes",
    splits=(),
    class_names=CLASSES,
    palette=_PALETTE,
    split_folders=(),
    folders=("images", "masks"),
    read_mask=_read_mask,
)


def write_demo(folder: Path, count: int = 120, seed: int = 0) -> None:
    """Write scenes as ``images/scene_0000.jpg`` (JPEG quality 92, 4:4:4) and ``masks/scene_0000.png`` (palette PNG).

    Parameters
    ----------
    folder : Path
        The root; made where it is missing. A scene that is there stays: another seed belongs into another folder.
    count : int
        Number of scenes.
    seed : int
        Another seed, other scenes.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image_file, mask_file = (
            folder / "images" / f"scene_{index:04d}.jpg",
            folder / "masks" / f"scene_{index:04d}.png",
        )
        if image_file.exists() and mask_file.exists():
            continue
        pixels, labels = render(index, seed)
        image = BytesIO()
        Image.fromarray(pixels).save(image, format="JPEG", quality=92, subsampling=0)
        image_file.write_bytes(image.getvalue())
        mask_file.write_bytes(encode_palette_png(labels, _PALETTE))
