"""What DeepLabV3 starts from: told apart by the content of weights, said in the facts, read back as it was."""

from __future__ import annotations

from pathlib import Path

from datus2_ray.config.load import RunConfig, load
from datus2_ray.core.refine.deeplab import SegmenterSpec
from datus2_ray.core.refine.file import from_bytes, to_bytes
from datus2_ray.stages.refine.start import start_identity, write_start
from datus2_ray.store import storage


def config(tmp_path: Path, *assignments: str, **flags: str) -> RunConfig:
    return load({"source": str(tmp_path), "out": f"{tmp_path}/out", **flags}, preset="paper", assignments=assignments)


def test_only_what_the_network_starts_from_counts(tmp_path: Path) -> None:
    plain = start_identity(config(tmp_path), "cpu")
    assert plain == start_identity(config(tmp_path, backbone="untrained:vit_tiny_patch16_224"), "cpu")
    assert plain != start_identity(config(tmp_path), "cuda")  # another encoder


def test_the_start_is_written_and_said(tmp_path: Path) -> None:
    uri = f"{tmp_path}/start.safetensors"
    assert write_start(uri, config(tmp_path, "refine.size=64"), 5, "cpu") == {
        "encoder": "resnet18", "encoder_start": "random", "supervised": False, "output_stride": 16,
    }  # fmt: skip
    segmenter = from_bytes(storage.read_bytes(uri))
    assert segmenter.spec == SegmenterSpec("resnet18", 16, 5, 64)
    assert to_bytes(segmenter) == storage.read_bytes(uri)
