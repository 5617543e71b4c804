"""What a backbone's name may be, and the fingerprint that tells when results may be reused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import timm

from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE, Spec, fingerprint, parse_spec
from datus2_ray.errors import BackboneError


def test_names_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(b"weights")
    (tmp_path / "bare").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    dino = "vit_small_patch8_224.dino"
    assert parse_spec(dino) == Spec(dino, architecture=dino)
    assert parse_spec(f"untrained:{dino}") == Spec(f"untrained:{dino}", architecture=dino, untrained=True)
    assert parse_spec(str(file)) == Spec("w.pth", file=file)
    assert parse_spec("w.pth") == Spec("w.pth", file=Path("w.pth"))
    assert parse_spec("bare") == Spec("bare", file=Path("bare"))
    assert parse_spec(f"{file}::{dino}") == Spec("w.pth", architecture=dino, file=file)


def test_the_packaged_model_is_untrained_until_its_weights_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped.safetensors"
    monkeypatch.setattr("datus2_ray.core.backbone.spec.PACKAGED_WEIGHTS", shipped)
    assert parse_spec(DEFAULT_BACKBONE) == Spec(DEFAULT_BACKBONE, architecture=DEFAULT_BACKBONE, untrained=True)
    untrained = fingerprint(DEFAULT_BACKBONE)
    assert "untrained" in untrained
    shipped.write_bytes(b"weights")
    assert parse_spec(DEFAULT_BACKBONE) == Spec(DEFAULT_BACKBONE, file=shipped)
    assert fingerprint(DEFAULT_BACKBONE) != untrained
    assert parse_spec(f"untrained:{DEFAULT_BACKBONE}").untrained


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "vit_smal_patch8_224.dino",
            r"unknown model 'vit_smal_patch8_224.dino'.*did you mean .*vit_small_patch8_224.dino",
        ),
        ("untrained:resnet5", r"unknown model 'resnet5'.*resnet50"),
        ("datus2-vit-tiny8", rf"did you mean {DEFAULT_BACKBONE}"),
        ("zzzzzzzzzz", r"unknown model 'zzzzzzzzzz', which is not a file either"),
        ("vit_small_patch8_224.supervised", r"timm has no weights vit_small_patch8_224.supervised; it has .*dino"),
        ("folder/w.pth", r"there is no weights file folder/w.pth"),
        ("w.safetensors", r"there is no weights file w.safetensors"),
        (".", r"the folder . has no model.safetensors or pytorch_model.bin; give the weights file itself"),
        ("w.pth::vit_small_patch8_224", r"there is no weights file w.pth"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(text: str, message: str) -> None:
    for ask in (parse_spec, fingerprint):
        with pytest.raises(BackboneError, match=message) as caught:
            ask(text)
        assert "\n" not in str(caught.value)


def test_a_fingerprint_changes_with_the_content_and_with_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(b"weights")
    seen = [fingerprint(str(file))]
    copied = shutil.copy(file, tmp_path / "copy.bin")
    assert fingerprint(str(copied)) == seen[0]
    seen.append(fingerprint(f"{file}::test_vit"))
    (tmp_path / "w.json").write_text('{"input_size": 64}')
    seen.append(fingerprint(str(file)))
    (tmp_path / "w.json").write_text('{"input_size": 96}')
    seen.append(fingerprint(str(file)))
    file.write_bytes(b"Weights")
    seen.append(fingerprint(str(file)))
    seen += [fingerprint(name) for name in ("test_vit", "test_vit2", "untrained:test_vit", "resnet50")]
    assert len(set(seen)) == len(seen)
    assert timm.__version__ in fingerprint("test_vit")
    assert str(tmp_path) not in "".join(seen)
