"""Patch vectors against a naive reading of each architecture; and no leaks, no effects of the batch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.nn import functional

from datus2_ray.core.backbone.architecture import IMAGENET_MEAN, IMAGENET_STD
from datus2_ray.core.backbone.compiler import has_compiler
from datus2_ray.core.backbone.spec import patch_side
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, Backbone, load_backbone
from datus2_ray.core.images.normalise import Normalisation
from datus2_ray.errors import BackboneError

SMALL = {"embed_dim": 128, "depth": 3, "num_heads": 2}

# How timm's attention layers make queries, keys and values; and which tokens come before the patches.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], int]] = {
    "ViT": ("vit_small_patch16_224", SMALL, 1),
    "ViT without biases": ("vit_small_patch16_224", {**SMALL, "qkv_bias": False}, 1),
    "ViT without CLS": ("vit_small_patch16_224", {**SMALL, "class_token": False, "global_pool": "avg"}, 0),
    "DeiT, distilled": ("deit_small_distilled_patch16_224", SMALL, 2),
    "DINOv2": ("vit_small_patch14_dinov2", SMALL, 1),
    "DINOv2, registers": ("vit_small_patch14_reg4_dinov2", SMALL, 5),
    "ViT, differential attention": ("vit_dwee_patch16_reg1_gap_256", SMALL, 1),
    "EVA-02, separate": ("eva02_base_patch14_224", {**SMALL, "qkv_fused": False}, 1),
    "EVA, fused": ("eva02_tiny_patch14_224", SMALL, 1),
    "DINOv3": ("vit_small_patch16_dinov3", SMALL, 5),
    "DINOv3, biases": ("vit_small_patch16_dinov3_qkvb", SMALL, 5),
    "Perception Encoder": ("vit_pe_core_tiny_patch16_384", SMALL, 1),
    "ViT, mixed rotation": ("vit_small_patch16_rope_mixed_224", SMALL, 1),
}


pytestmark = pytest.mark.usefixtures("one_thread")


def build(name: str, **arguments: Any) -> Any:
    """Build a timm model of which no tensor has the value it starts with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name, dynamic_img_size=True, **arguments).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


def wrap(model: Any, input_size: int, **arguments: Any) -> Backbone:
    normalisation = Normalisation(IMAGENET_MEAN, IMAGENET_STD, torch.device("cpu"))
    return Backbone("model", model, normalisation, input_size=input_size, trained=False, **arguments)


def images(side: int, batch: int = 2, *, width: int | None = None) -> Tensor:
    shape = (batch, side, width or side, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def naive_projections(block: Any, inputs: Tensor) -> dict[str, Tensor]:
    """Multiply by each weight on its own, from the block's input, as the papers write it."""
    attention = block.attn
    normed = block.norm1(inputs)
    found = {}
    for third, kind in enumerate(("query", "key", "value")):
        if attention.qkv is None:
            linear = getattr(attention, f"{kind[0]}_proj")
            weight, bias = linear.weight, linear.bias
        else:
            weight = attention.qkv.weight.chunk(3)[third]
            bias = None if attention.qkv.bias is None else attention.qkv.bias.chunk(3)[third]
            bias = getattr(attention, f"{kind[0]}_bias", None) if bias is None else bias
        found[kind] = torch.einsum("bnd,ed->bne", normed, weight) + (0 if bias is None else bias)
    return found


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_taps_against_a_naive_reading(case: str) -> None:
    name, arguments, prefix = ARCHITECTURES[case]
    model = build(name, **arguments)
    patch = model.patch_embed.patch_size[0]
    backbone = wrap(model, 4 * patch)
    assert model.num_prefix_tokens == prefix
    pixels = images(4 * patch, width=3 * patch)
    assert backbone.grid(4 * patch, 3 * patch) == (4, 3)

    inputs: list[Tensor] = []
    handles = [block.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for block in model.blocks]
    with torch.inference_mode():
        final = model.forward_features(backbone.normalise(pixels))
        early = model.forward_intermediates(
            backbone.normalise(pixels), indices=[0, 1], norm=True, output_fmt="NLC", intermediates_only=True
        )
        naive = [naive_projections(block, x) for block, x in zip(model.blocks, inputs[: backbone.depth], strict=True)]
    for handle in handles:
        handle.remove()

    taps = [Tap(kind, block) for kind in ("key", "query", "value", "token") for block in (0, 1, 2)]  # type: ignore[arg-type]
    found = backbone.extract(pixels, taps)
    for tap, vectors in found.items():
        assert vectors.shape == (2, 12, 128)
        assert vectors.dtype == torch.float32
        if tap.kind == "token":
            expected = final[:, prefix:] if tap.block == 2 else early[tap.block]
            assert torch.equal(vectors, expected)
        else:
            torch.testing.assert_close(vectors, naive[tap.block][tap.kind][:, prefix:], rtol=1e-4, atol=1e-4)
    if model.cls_token is not None:
        assert torch.equal(backbone.extract(pixels, [Tap("cls")])[Tap("cls")], final[:, 0])


def test_fused_projections_are_bitwise_those_of_the_layer() -> None:
    model = build("vit_small_patch16_224", **SMALL)
    outputs = []
    handle = model.blocks[-1].attn.qkv.register_forward_hook(lambda *args: outputs.append(args[2]))
    found = wrap(model, 64).extract(images(64), [Tap("query"), Tap("key"), Tap("value")])
    handle.remove()
    assert torch.equal(torch.cat(list(found.values()), dim=-1), outputs[0][:, 1:])


def test_one_forward_pass_serves_all_taps_and_negative_blocks_count_from_the_end() -> None:
    model = build("vit_small_patch16_224", **SMALL)
    backbone = wrap(model, 64)
    passes = []
    handle = model.patch_embed.register_forward_hook(lambda *_: passes.append(1))
    taps = [Tap("key"), Tap("key", 2), Tap("token", -3), Tap("token", 0), Tap("cls", 1), Tap("cls", -2), Tap("value")]
    found = backbone.extract(images(64), taps)
    handle.remove()
    assert len(passes) == 1
    assert list(found) == taps
    for one, other in ((0, 1), (2, 3), (4, 5)):
        assert torch.equal(found[taps[one]], found[taps[other]])
    assert not torch.equal(found[taps[0]], found[taps[6]])


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_a_pass_ends_where_the_last_vectors_are_met_and_gives_the_same_bits(case: str) -> None:
    name, arguments, _ = ARCHITECTURES[case]
    model = build(name, **arguments)
    backbone = wrap(model, 4 * model.patch_embed.patch_size[0])
    pixels = images(backbone.input_size)
    taps = [Tap(kind, block) for kind in ("key", "token") for block in (0, 1, 2)]  # type: ignore[arg-type]
    together = backbone.extract(pixels, taps)
    done: list[int] = []
    handles = [b.mlp.register_forward_hook(lambda *_, i=i: done.append(i)) for i, b in enumerate(model.blocks)]
    for chosen, blocks in (([taps[1]], [0]), ([taps[2]], [0, 1]), ([taps[3], taps[1]], [0]), ([taps[4]], [0, 1]),
                           ([taps[0], taps[5]], [0, 1, 2])):  # fmt: skip
        done.clear()
        for tap, vectors in backbone.extract(pixels, chosen).items():
            assert torch.equal(vectors, together[tap])
        assert done == blocks
    for handle in handles:
        handle.remove()


def test_patches_come_in_raster_order() -> None:
    model = build("vit_small_patch16_224", img_size=64, **SMALL)
    with torch.no_grad():
        model.pos_embed.zero_()
        for block in model.blocks:
            block.attn.proj.weight.zero_()  # no patch sees another
    pixels = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    pixels[0, 16:32, 48:64] = 255  # row 1, column 3
    tokens = wrap(model, 64).extract(pixels, [Tap("token")])[Tap("token")][0]
    odd = (tokens - tokens[0]).abs().amax(dim=1) > 1e-3
    assert odd.nonzero().flatten().tolist() == [1 * 4 + 3]


def test_positions_are_interpolated_once_from_the_files_own_grid(tmp_path: Path) -> None:
    large = build("vit_small_patch14_dinov2", img_size=518, embed_dim=64, depth=1, num_heads=1)
    torch.save(large.state_dict(), tmp_path / "dinov2.pth")
    small = timm.create_model("vit_small_patch14_dinov2", img_size=224, embed_dim=64, depth=1, num_heads=1).eval()
    small.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(large.state_dict(), small))
    backbone = load_backbone(str(tmp_path / "dinov2.pth"))
    assert backbone.input_size == 224
    assert backbone.grid(224, 224) == (16, 16)
    with torch.inference_mode():
        expected = small.forward_features(backbone.normalise(images(224)))
    assert torch.equal(backbone.extract(images(224), [Tap("token")])[Tap("token")], expected[:, 1:])


def test_pixels_are_normalised_as_torchvision_does() -> None:
    backbone = wrap(build("vit_small_patch16_224", **SMALL), 64)
    pixels = images(32, 3)
    arrays = [Image.fromarray(np.asarray(one)) for one in pixels]
    steps = torchvision.transforms.Compose(
        [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )
    before = pixels.clone()
    found = backbone.normalise(pixels)
    assert torch.equal(found, torch.stack([steps(array) for array in arrays]))
    assert found.is_contiguous()
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3_qkvb"])
def test_a_result_does_not_depend_on_its_batch(name: str) -> None:
    backbone = wrap(build(name, **SMALL), 224)
    taps = [Tap("key"), Tap("token"), Tap("cls"), Tap("token", 0)]
    pixels = images(224, 7)
    together = backbone.extract(pixels, taps)
    for start, stop in ((0, 1), (1, 3), (3, 7)):
        alone = backbone.extract(pixels[start:stop], taps)
        assert all(torch.equal(alone[tap], together[tap][start:stop]) for tap in taps)


def test_a_real_image_does_not_depend_on_its_batch_or_the_threads(real_data: Path) -> None:
    files = sorted((real_data / "camvid" / "val" / "images").iterdir())[:3]
    arrays = [
        np.asarray(Image.open(file).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)) for file in files
    ]
    pixels = torch.from_numpy(np.stack(arrays))
    backbone = load_backbone(f"untrained:{DEFAULT_BACKBONE}")
    threads = torch.get_num_threads()
    try:
        found = []
        for count, size in ((1, 3), (2, 1), (1, 2)):
            torch.set_num_threads(count)
            found.append(torch.cat([backbone.extract(part, [Tap("key")])[Tap("key")] for part in pixels.split(size)]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_no_hook_stays_behind_even_after_an_error() -> None:
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in backbone.model.modules())

    for name in ("vit_small_patch16_224", "vit_small_patch16_dinov3_qkvb"):
        backbone = wrap(build(name, **SMALL), 64)
        taps = [Tap("key"), Tap("value", 0), Tap("token", 1), Tap("cls", 0)]
        for _ in range(3):
            backbone.extract(images(64), taps)
        assert hooks() == 0
        with pytest.raises(RuntimeError):
            backbone.extract(images(64)[..., :2], taps)
        assert hooks() == 0


def test_a_loaded_model_is_frozen() -> None:
    backbone = load_backbone("untrained:test_vit")
    assert not any(module.training for module in backbone.model.modules())
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    assert not backbone.trained
    assert backbone.name == "untrained:test_vit"
    pixels = images(64)
    assert torch.equal(*(backbone.extract(pixels, [Tap("cls")])[Tap("cls")] for _ in range(2)))


def test_the_packaged_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped.safetensors"
    monkeypatch.setattr("datus2_ray.core.backbone.spec.PACKAGED_WEIGHTS", shipped)
    untrained = load_backbone(DEFAULT_BACKBONE)
    assert (untrained.name, untrained.trained) == (DEFAULT_BACKBONE, False)
    assert (untrained.patch_size, untrained.dim, untrained.depth, untrained.input_size) == (8, 192, 12, 224)
    assert (untrained.mean, untrained.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert untrained.model.blocks[0].attn.num_heads == 3
    assert untrained.grid(224, 224) == (28, 28)
    source = build("vit_tiny_patch16_224", patch_size=8, num_classes=0)
    safetensors.torch.save_file(source.state_dict(), shipped)
    trained = load_backbone(DEFAULT_BACKBONE)
    assert trained.trained
    assert (trained.mean, trained.input_size) == (IMAGENET_MEAN, 224)
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in trained.model.state_dict().items())


def test_the_side_of_patches_is_told_without_weights_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", fetch)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    file = tmp_path / "teacher.pth"
    torch.save({"teacher": {f"backbone.{key}": value for key, value in build("vit_tiny_patch16_224", patch_size=4,
                num_classes=0).state_dict().items()}}, file)  # fmt: skip
    sides = {
        DEFAULT_BACKBONE: 8,
        "vit_small_patch8_224.dino": 8,
        "untrained:vit_small_patch14_dinov2": 14,
        str(file): 4,
    }
    assert {spec: patch_side(spec) for spec in sides} == sides


def test_what_a_model_does_not_have_is_an_error() -> None:
    name, arguments, _ = ARCHITECTURES["ViT without CLS"]
    without_cls = wrap(build(name, **arguments), 64)
    with pytest.raises(
        BackboneError, match=r"has no CLS token; describe segments without one: --set discover.descriptor=tokens"
    ):
        without_cls.extract(images(64), [Tap("cls")])
    for block in (3, -4):
        with pytest.raises(BackboneError, match=f"model has 3 blocks, so there is no block {block}"):
            without_cls.extract(images(64), [Tap("key", block)])
    parallel = wrap(build("vit_base_patch16_18x2_224", embed_dim=128, depth=2, num_heads=2), 64)
    with pytest.raises(
        BackboneError, match=r"model has no key vectors of length 128; use --set discover.feature=token"
    ):
        parallel.extract(images(64), [Tap("key")])
    assert parallel.extract(images(64), [Tap("token")])[Tap("token")].shape == (2, 16, 128)


def test_sides_are_multiples_of_the_patch() -> None:
    with pytest.raises(BackboneError, match=r"patch size 16, not 100x100; give an input size of 96"):
        load_backbone("untrained:test_vit", input_size=100)
    backbone = load_backbone("untrained:test_vit", input_size=96)
    assert backbone.input_size == 96
    with pytest.raises(BackboneError, match="multiples of its patch size 16, not 64x72"):
        backbone.extract(images(64, width=72), [Tap("key")])


def test_bfloat16_gives_float32_vectors_near_those_of_float32() -> None:
    for name in ("vit_small_patch16_224", "vit_small_patch16_dinov3_qkvb"):
        model = build(name, **SMALL)
        taps = [Tap("key"), Tap("token"), Tap("cls")]
        exact = wrap(model, 64).extract(images(64), taps)
        coarse = wrap(model, 64, dtype="bfloat16").extract(images(64), taps)
        for tap in taps:
            assert coarse[tap].dtype == torch.float32
            assert not torch.equal(coarse[tap], exact[tap])
            assert functional.cosine_similarity(coarse[tap], exact[tap], dim=-1).min() > 0.99


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gpu_gives_what_the_cpu_gives(dtype: Any) -> None:
    pixels = images(224)
    cpu, gpu = load_backbone(DEFAULT_BACKBONE), load_backbone(DEFAULT_BACKBONE, device="cuda", dtype=dtype)
    expected, found = (one.extract(pixels, [Tap("key")])[Tap("key")] for one in (cpu, gpu))
    assert found.device.type == "cuda"
    assert functional.cosine_similarity(found.cpu(), expected, dim=-1).min() > 0.99


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_give_the_same_vectors() -> None:
    plain, compiled = (load_backbone("untrained:vit_tiny_patch16_224", compiled=flag) for flag in (False, True))
    torch._dynamo.utils.counters.clear()
    taps = [Tap("key"), Tap("token", 3), Tap("cls"), Tap("value", 5)]
    for count, wanted in ((3, taps), (2, taps[:1]), (3, taps[2:3])):
        pixels = torch.from_numpy(np.random.default_rng(count).integers(0, 256, (count, 224, 224, 3), np.uint8))
        expected, found = plain.extract(pixels, wanted), compiled.extract(pixels, wanted)
        for tap in wanted:
            torch.testing.assert_close(found[tap], expected[tap], rtol=1e-4, atol=1e-4)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    assert all("forward" not in vars(block) for block in compiled.model.blocks)


def test_without_a_compiler_compiled_blocks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackboneError, match=r"install g\+\+"):
        load_backbone("untrained:vit_tiny_patch16_224", compiled=True)
