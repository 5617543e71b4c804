from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from datus2_ray.core.refine import encoder_start
from datus2_ray.core.refine.deeplab import SegmenterSpec, build_segmenter
from datus2_ray.errors import BackboneError

SPEC = SegmenterSpec(encoder="resnet18", output_stride=16, classes=3, size=64)


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return timm.create_model("resnet18", pretrained=False).state_dict()


def plain(file, state):
    torch.save(state, file)


def safe(file, state):
    save_file(state, file)


def moco(file, state):
    body = {f"module.encoder_q.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    body["module.encoder_q.fc.0.weight"] = torch.zeros(4, 4)
    body["module.queue"] = torch.zeros(4, 4)
    torch.save({"epoch": 200, "arch": "resnet18", "state_dict": body}, file)


def dino(file, state):
    body = {f"module.backbone.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    torch.save({"teacher": body, "student": {}, "epoch": 1}, file)


@pytest.mark.parametrize(
    ("name", "write"), [("a.pth", plain), ("a.safetensors", safe), ("a.pth.tar", moco), ("b.pth", dino)]
)
def test_a_file_of_self_supervised_weights_becomes_the_encoder(tmp_path, published, name, write):
    write(tmp_path / name, published)
    segmenter = build_segmenter(SPEC, seed=0)
    assert encoder_start.start_encoder(segmenter, str(tmp_path / name)) is False
    encoder = segmenter.network.encoder.state_dict()
    assert all(torch.equal(value, published[key]) for key, value in encoder.items())
    assert encoder_start.label(str(tmp_path / name)) == name


def test_random_changes_nothing():
    segmenter = build_segmenter(SPEC, seed=0)
    before = {key: value.clone() for key, value in segmenter.state_dict().items()}
    assert encoder_start.start_encoder(segmenter, "random") is False
    assert all(torch.equal(value, before[key]) for key, value in segmenter.state_dict().items())


def test_weights_of_another_resnet_are_refused_whole_and_the_keys_named(tmp_path, published):
    file = tmp_path / "deep.pth"
    torch.save(published, file)
    segmenter = build_segmenter(SegmenterSpec("resnet34", 16, 3, 64), seed=0)
    before = segmenter.network.encoder.conv1.weight.clone()
    with pytest.raises(BackboneError, match=r"layer1\.2\.conv1\.weight.*missing.*refine\.encoder is resnet34"):
        encoder_start.start_encoder(segmenter, str(file))
    assert torch.equal(segmenter.network.encoder.conv1.weight, before)


def test_a_name_that_is_neither_file_nor_model_is_refused():
    with pytest.raises(BackboneError, match="resnet18x"):
        encoder_start.start_encoder(build_segmenter(SPEC, seed=0), "resnet18x")


@pytest.mark.parametrize("start", ["supervised", "resnet18.a1_in1k"])
def test_weights_that_cannot_be_fetched_are_one_line_with_a_remedy(monkeypatch, start):
    def refuse(*arguments, **keywords):
        raise OSError("no way to the hub")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", refuse)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    reason = "no way to the hub|<urlopen error"  # of the hub's client, and of a URL in earlier versions of the library
    with pytest.raises(BackboneError, match=rf"could not be fetched from the model hub \(({reason}).*give") as raised:
        encoder_start.start_encoder(build_segmenter(SPEC, seed=0), start)
    assert "\n" not in str(raised.value)


def test_weights_that_were_trained_with_labels_are_told(monkeypatch, published):
    def create(name, pretrained, **arguments):
        model = timm.models.resnet.resnet18(pretrained=False)
        model.load_state_dict(published)
        model.pretrained_cfg = {
            "mean": (0.5, 0.5, 0.5),
            "std": (0.2, 0.2, 0.2),
            "num_classes": 1000,
            "input_size": (3, 224, 224),
        }
        return model

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *arguments: None)
    monkeypatch.setattr("timm.create_model", create)
    segmenter = build_segmenter(SPEC, seed=0)
    assert encoder_start.start_encoder(segmenter, "resnet18.a1_in1k") is True
    assert torch.equal(segmenter.network.encoder.conv1.weight, published["conv1.weight"])
    torch.testing.assert_close(segmenter.mean.flatten(), torch.full((3,), 0.5))


def test_a_file_is_known_by_its_content(tmp_path, published):
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save(published, first)
    second.write_bytes(first.read_bytes())
    assert encoder_start.fingerprint(str(first)) == encoder_start.fingerprint(str(second))
    second.write_bytes(first.read_bytes() + b"x")
    assert encoder_start.fingerprint(str(first)) != encoder_start.fingerprint(str(second))
    assert encoder_start.fingerprint("random") == "random"
