"""Weights in a bucket: the same model and name as on a disk, and one download however many processes ask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS, fingerprint
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.errors import BackboneError
from datus2_ray.store import s3, storage
from datus2_ray.store.weights_cache import cache_folder, fetch, local_spec


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def uri(bucket: str) -> str:
    uri = f"s3://{bucket}/models/vit.safetensors"
    storage.write_bytes(uri, PACKAGED_WEIGHTS.read_bytes())
    storage.write_bytes(f"s3://{bucket}/models/vit.json", PACKAGED_WEIGHTS.with_suffix(".json").read_bytes())
    return uri


def test_what_is_no_uri_stays_as_it_is() -> None:
    for spec in ("vit_small_patch8_224.dino", "/a/b.pth", "/a/b.pth::vit_tiny_patch16_224", "untrained:resnet50"):
        assert local_spec(spec) == spec
    assert not cache_folder().exists()


def test_a_model_of_a_bucket_is_the_one_of_the_disk_with_what_lies_beside_it(uri: str) -> None:
    assert fingerprint(local_spec(uri)) == fingerprint(str(PACKAGED_WEIGHTS))
    there, here = load_backbone(local_spec(uri)), load_backbone(str(PACKAGED_WEIGHTS))
    assert (there.name, there.mean, there.depth) == ("vit.safetensors", here.mean, here.depth)
    for key, tensor in here.model.state_dict().items():
        assert torch.equal(tensor, there.model.state_dict()[key])
    assert local_spec(f"{uri}::vit_tiny_patch16_224") == f"{fetch(uri)}::vit_tiny_patch16_224"


def test_an_object_that_was_replaced_is_fetched_anew_and_one_beside_it_too(uri: str, bucket: str) -> None:
    first = fetch(uri)
    assert fetch(uri) == first
    config = json.loads(PACKAGED_WEIGHTS.with_suffix(".json").read_bytes())
    storage.write_json(f"s3://{bucket}/models/vit.json", {**config, "input_size": 112})
    second = fetch(uri)
    assert second.parent != first.parent
    assert load_backbone(str(second)).input_size == 112
    assert load_backbone(str(first)).input_size == 224


ASK = """
import sys
from datus2_ray.store import storage
real = storage.download
def counted(uri, file):
    print("fetched", uri.rsplit(".", 1)[1], flush=True)
    real(uri, file)
storage.download = counted
from datus2_ray.store.weights_cache import fetch
print("file", fetch(sys.argv[1]), flush=True)
"""


def test_processes_of_a_node_that_ask_at_once_fetch_it_once(uri: str) -> None:
    asking = [subprocess.Popen([sys.executable, "-c", ASK, uri], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    lines = [line for process in asking for line in process.communicate(timeout=120)[0].splitlines()]
    assert [process.returncode for process in asking] == [0] * 4
    assert sorted(line for line in lines if line.startswith("fetched")) == ["fetched json", "fetched safetensors"]
    assert len({line for line in lines if line.startswith("file")}) == 1


def test_a_file_is_never_in_memory_as_a_whole(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "COPY_BYTES", 1_000_000)
    sizes = []
    read = s3.RetryingFile.read
    monkeypatch.setattr(s3.RetryingFile, "read", lambda file, size: sizes.append(size) or read(file, size))
    storage.download(uri, tmp_path / "deep" / "file")
    assert (tmp_path / "deep" / "file").read_bytes() == PACKAGED_WEIGHTS.read_bytes()
    assert set(sizes) == {1_000_000}


def test_an_object_that_is_not_there_is_named(bucket: str) -> None:
    with pytest.raises(BackboneError, match=rf"no weights file s3://{bucket}/none.pth"):
        fetch(f"s3://{bucket}/none.pth")


def test_a_cache_that_cannot_be_written_says_how_to_move_it(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BackboneError, match="set XDG_CACHE_HOME"):
        fetch(uri)
