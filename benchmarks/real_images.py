"""What benchmarks on real images share: their arguments, which images of a folder they take, and how one is read."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE
from datus2_ray.core.images import decode
from datus2_ray.core.images.resize import resize
from datus2_ray.core.images.sniff import IMAGE_SUFFIXES


def parser(description: str | None, count: int) -> argparse.ArgumentParser:
    """Build a parser of ``FOLDER [--images N] [--size S] [--backbone NAME]``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path)
    made.add_argument("--images", type=int, default=count)
    made.add_argument("--size", type=int, default=224)
    made.add_argument("--backbone", default=DEFAULT_BACKBONE)
    return made


def evenly(folder: Path, count: int) -> list[Path]:
    """Return images taken at equal distances from all below a folder, sorted by path."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if len(files) < count:
        raise SystemExit(f"{folder} has {len(files)} images, fewer than {count}")
    return [files[i * len(files) // count] for i in range(count)]


def read(file: Path, size: int) -> torch.Tensor:
    """Decode an image to a square, as a batch of one: uint8, shape (1, size, size, 3)."""
    return torch.from_numpy(resize(decode.decode(file.read_bytes()), size, size)[None])
