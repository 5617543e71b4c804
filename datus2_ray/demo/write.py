"""Write rendered scenes as a data set of the layout ``demo``."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from datus2_ray.core.images.labels import encode_palette_png
from datus2_ray.demo.scenes import render
from datus2_ray.sources.layouts.demo import PALETTE


def write_demo(folder: Path, count: int = 120, seed: int = 0) -> None:
    """Write scenes as ``images/scene_0000.jpg`` (JPEG quality 92, 4:4:4) and ``masks/scene_0000.png`` (palette PNG).

    Another seed gives other scenes. Existing scenes are kept: another seed belongs into another folder.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image_file = folder / "images" / f"scene_{index:04d}.jpg"
        mask_file = folder / "masks" / f"scene_{index:04d}.png"
        if image_file.exists() and mask_file.exists():
            continue
        pixels, labels = render(index, seed)
        image = BytesIO()
        Image.fromarray(pixels).save(image, format="JPEG", quality=92, subsampling=0)
        image_file.write_bytes(image.getvalue())
        mask_file.write_bytes(encode_palette_png(labels, PALETTE))
