"""Weights in a bucket: the same model and name as on a disk, and one download however many processes ask."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS, fingerprint
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.errors import BackboneError
from datus2_ray.store import s3, storage
from datus2_ray.store.weights_cache import cache_folder, fetch, is_on_hub, local_spec


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
    for spec in (
        "vit_small_patch8_224.dino", "/a/b.pth", "/a/b.pth::vit_tiny_patch16_224", "untrained:resnet50",
        "folder/w.pth", "folder/w.pth.tar", "./w.safetensors", "a/b/c", "~/w",
    ):  # fmt: skip
        assert local_spec(spec) == spec
    assert not cache_folder().exists()


def test_a_model_of_a_bucket_is_the_one_of_the_disk_with_what_lies_beside_it(uri: str) -> None:
    assert fingerprint(local_spec(uri)) == fingerprint(str(PACKAGED_WEIGHTS))
    there, here = load_backbone(local_spec(uri)), load_backbone(str(PACKAGED_WEIGHTS))
    assert (there.name, there.mean, there.depth) == ("vit.safetensors", here.mean, here.depth)
    for key, tensor in here.model.state_dict().items():
        assert torch.equal(tensor, there.model.state_dict()[key])
    assert local_spec(f"{uri}::vit_tiny_patch16_224") == f"{fetch(uri)}::vit_tiny_patch16_224"


def test_a_model_of_several_files_comes_with_all_of_them(bucket: str) -> None:
    root, name = f"s3://{bucket}/split", "model-00001-of-00001.safetensors"
    storage.write_bytes(f"{root}/{name}", PACKAGED_WEIGHTS.read_bytes())
    places = {"weight_map": dict.fromkeys(load_backbone(str(PACKAGED_WEIGHTS)).model.state_dict(), name)}
    storage.write_json(f"{root}/model.safetensors.index.json", places)
    fetched = load_backbone(local_spec(f"{root}/model.safetensors.index.json"))
    for key, tensor in load_backbone(str(PACKAGED_WEIGHTS)).model.state_dict().items():
        assert torch.equal(tensor, fetched.model.state_dict()[key])


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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a cache of the hub's client of its own, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def publish(hub: Path, repository: str, revision: str = "main") -> Path:
    """Put the packaged weights into the hub's cache as a repository of timm has them."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / f"commit-of-{revision}"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / revision).write_text(snapshot.name)
    shutil.copy(PACKAGED_WEIGHTS, snapshot / "model.safetensors")
    own = json.loads(PACKAGED_WEIGHTS.with_suffix(".json").read_bytes())
    architecture = own["architecture"]
    config = {"architecture": architecture.pop("name"), "model_args": architecture, "pretrained_cfg": own}
    (snapshot / "config.json").write_text(json.dumps(config))
    return snapshot


@pytest.mark.parametrize("spec", ["me/vit", "hf-hub:me/vit", "hf_hub:me/vit", "me/vit@v2"])
def test_a_repository_of_the_model_hub_is_a_backbone_by_its_name(spec: str, hub: Path) -> None:
    snapshot = publish(hub, "me/vit", "v2" if "@" in spec else "main")
    assert is_on_hub(spec)
    assert local_spec(spec) == str(snapshot / "model.safetensors")
    assert local_spec(f"{spec}::vit_tiny_patch16_224") == f"{snapshot / 'model.safetensors'}::vit_tiny_patch16_224"
    there, here = load_backbone(local_spec(spec)), load_backbone(str(PACKAGED_WEIGHTS))
    assert (there.name, there.mean, there.std) == ("me/vit", here.mean, here.std)
    assert all(torch.equal(there.model.state_dict()[key], value) for key, value in here.model.state_dict().items())


def test_a_folder_comes_before_a_repository_of_its_name(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me" / "vit").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert local_spec("me/vit") == "me/vit"


@pytest.fixture
def hub_server(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Start a model hub on the loopback device; the dict's ``files`` are the repository's, ``refusal`` what it says."""
    served: dict[str, Any] = {"files": {}, "refusal": None, "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/resolve/main/")[2]
            served["asked"].append((self.command, name))
            status, code = served["refusal"] or ((200, "") if name in served["files"] else (404, "EntryNotFound"))
            data = served["files"].get(name, b"") if status == 200 else b""
            self.send_response(status)
            headers = {"Content-Length": str(len(data)), "ETag": f'"{name}"', "X-Repo-Commit": "c" * 40}
            for key, value in {**headers, "X-Error-Code": code}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield served
    server.shutdown()
    server.server_close()


def test_a_repository_is_downloaded_once_with_what_describes_it(hub_server: dict[str, Any], hub: Path) -> None:
    processor = b'{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.1, 0.3]}'
    beside = publish(hub, "other/vit")
    for file in beside.iterdir():
        hub_server["files"][file.name] = file.read_bytes()
    hub_server["files"]["preprocessor_config.json"] = processor
    file = Path(local_spec("me/vit"))
    assert file.read_bytes() == PACKAGED_WEIGHTS.read_bytes()
    assert load_backbone(str(file)).mean == (0.5, 0.4, 0.3)
    asked = len(hub_server["asked"])
    assert local_spec("me/vit") == str(file)
    assert len(hub_server["asked"]) == asked


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((401, "RepoNotFound"), "neither a file me/vit nor a public repository me/vit of the model hub"),
        ((403, "GatedRepo"), "only to those who accept its licence.*HF_TOKEN"),
        ((418, ""), "could not be fetched from the model hub .*give their folder"),
        (None, "me/vit has no model.safetensors or pytorch_model.bin"),
    ],
)
def test_what_the_hub_answers_is_one_line(
    refusal: tuple[int, str] | None, message: str, hub_server: dict[str, Any]
) -> None:
    hub_server["refusal"] = refusal
    with pytest.raises(BackboneError, match=message) as caught:
        local_spec("me/vit")
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_one_line_at_once(hub: Path) -> None:
    with pytest.raises(
        BackboneError, match=r"me/vit is no file, and could not be fetched .*give their folder"
    ) as caught:
        local_spec("me/vit")
    assert "\n" not in str(caught.value)
