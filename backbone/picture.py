"""Draw what a backbone sees: demo scenes, the first principal components of their patches, and where CLS looks.

python backbone/picture.py OUT.png [--backbone NAME_OR_FILE] [FOLDER_OF_IMAGES]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, Backbone, load_backbone
from datus2_ray.core.images.decode import decode, resize
from datus2_ray.demo.write import write_demo

mpl.use("Agg")
from matplotlib import pyplot as plt

SHOWN = 5


def cls_attention(backbone: Backbone, pixels: torch.Tensor) -> NDArray[np.float32]:
    """Return the attention of the last block's CLS token to each patch: mean over the heads, shape (B, N)."""
    kept = {}
    attention = backbone.model.blocks[-1].attn
    handle = attention.qkv.register_forward_hook(lambda _module, _inputs, output: kept.update(qkv=output))
    backbone.extract(pixels, [Tap("token")])
    handle.remove()
    count, tokens, _ = kept["qkv"].shape
    query, key, _ = kept["qkv"].view(count, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    weights = (query[:, :, :1] @ key.transpose(-2, -1) * attention.scale).softmax(-1)
    found: NDArray[np.float32] = weights[:, :, 0, backbone.model.num_prefix_tokens :].mean(1).float().cpu().numpy()
    return found


def principal_colours(tokens: torch.Tensor) -> NDArray[np.float32]:
    """Return the first three principal components of all patches, each stretched to 0..1, shape (B, N, 3)."""
    flat = tokens.flatten(0, 1)
    centred = flat - flat.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:3]
    shown = centred @ directions.T
    low, high = (torch.quantile(shown, share, dim=0) for share in (0.02, 0.98))
    stretched: NDArray[np.float32] = ((shown - low) / (high - low)).clamp(0, 1).view(*tokens.shape[:2], 3).numpy()
    return stretched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    arguments = parser.parse_args()
    backbone = load_backbone(arguments.backbone)
    with tempfile.TemporaryDirectory() as made:
        if arguments.folder is None:
            write_demo(Path(made), 24, seed=0)
        folder = arguments.folder or Path(made) / "images"
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        pictures = [decode(file.read_bytes()) for file in files[:: max(1, len(files) // SHOWN)][:SHOWN]]
    side = backbone.input_size
    pixels = torch.from_numpy(np.stack([resize(picture, side, side) for picture in pictures]))
    colours = principal_colours(backbone.extract(pixels, [Tap("token")])[Tap("token")])
    looks = cls_attention(backbone, pixels)
    grid = side // backbone.patch_size
    figure, axes = plt.subplots(3, len(pictures), figsize=(2.4 * len(pictures), 5.6), squeeze=False)
    for column, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        shown = {"extent": (0, width, height, 0), "interpolation": "nearest"}
        axes[0, column].imshow(picture, **shown)
        axes[1, column].imshow(colours[column].reshape(grid, grid, 3), **shown)
        axes[2, column].imshow(looks[column].reshape(grid, grid), cmap="magma", **shown)
    for axis, title in zip(axes[:, 0], ("image", "patches, PCA", "CLS attention"), strict=True):
        axis.set_ylabel(title)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.4)
    figure.savefig(arguments.out, dpi=100)


if __name__ == "__main__":
    main()
