from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.images.decode import decode
from datus2_ray.core.images.resize import resize
from datus2_ray.core.pretrain.model import build_start, config_json, to_bytes
from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.core.pretrain.step import Pretraining, draw_whole, learning_rate, teacher_momentum
from datus2_ray.core.pretrain.texture import TAUGHT, TextureTarget
from datus2_ray.errors import BackboneError

TINY = Recipe(
    patch_size=8, dim=64, depth=2, image_size=64, global_size=48, local_size=24, region_area=(0.5, 1.0),
    global_area=(0.3, 1.0),
    local_area=(0.1, 0.4), local_views=2, colour=0.5, patch_objective="correspondence", prototypes=64, hidden_dim=64,
    bottleneck_dim=32, batch_size=16, steps=40, warmup_steps=4, learning_rate=2e-3, weight_decay=0.04, temperature=0.04,
    momentum=0.9,
)  # fmt: skip
OBJECTIVES = ("correspondence", "masked", "texture", "none")


pytestmark = pytest.mark.usefixtures("one_thread")


def read(files: list[Path]) -> torch.Tensor:
    pixels = [torch.from_numpy(resize(decode(file.read_bytes()), 64, 64)) for file in files]
    return torch.stack(pixels).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def batch(scenes: Path) -> torch.Tensor:
    return read(sorted((scenes / "images").iterdir())[: TINY.batch_size])


def tiny(**changes: Any) -> Recipe:
    return TINY.model_copy(update=changes)


def training(recipe: Recipe, seed: int = 0, start: str | None = None, **options: Any) -> Pretraining:
    return Pretraining(recipe, seed, partial(build_start, recipe, start), torch.device("cpu"), **options)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_falls_and_nothing_collapses(batch, objective):
    pretraining = training(tiny(patch_objective=objective))
    results = [pretraining.step(batch) for _ in range(TINY.steps)]
    losses = [float(result.loss) for result in results]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert float(results[-1].deviation) > 0.1
    assert float(results[-1].information) > 0.1
    assert (objective == "none") == (float(results[0].patch_loss) == 0)
    assert (objective == "texture") == (float(results[0].texture_loss) > 0)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_falls_on_real_images_and_nothing_collapses(real_data, objective):
    # Of all kinds: of one drive through one street, one prototype says it all.
    underwater, nature = real_data / "suim_sample" / "images", real_data / "unlabelled" / "bsds500"
    images = read((sorted(underwater.iterdir()) + sorted(nature.iterdir()))[: 2 * TINY.batch_size])
    pretraining = training(tiny(patch_objective=objective, steps=80))
    results = [pretraining.step(images[16 * (step % 2) :][:16]) for step in range(80)]
    losses = [float(result.loss) for result in results]
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])
    assert float(results[-1].deviation) > 0.1
    assert float(results[-1].information) > 0.1


@pytest.mark.parametrize("objective", ["correspondence", "texture"])
def test_bfloat16_follows_float32_for_some_steps(batch, objective):
    recipe = tiny(patch_objective=objective)
    whole = training(recipe)
    half = training(recipe, bfloat16=True)
    curves = [[float(one.step(batch).loss) for _ in range(10)] for one in (whole, half)]
    assert curves[0] != curves[1]
    assert curves[0] == pytest.approx(curves[1], rel=2e-2)
    assert not any(getattr(module, "fused_attn", False) for module in half.student.modules())
    assert any(getattr(module, "fused_attn", False) for module in whole.student.modules())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_training_goes_on_as_if_it_had_not_been_interrupted(batch, objective):
    recipe = tiny(patch_objective=objective)
    whole, first, second = training(recipe), training(recipe), training(recipe)
    expected = [float(whole.step(batch).loss) for _ in range(6)]
    assert [float(first.step(batch).loss) for _ in range(3)] == expected[:3]
    second.load_state_dict(first.state_dict())
    assert [float(second.step(batch).loss) for _ in range(3)] == expected[3:]
    for name, value in whole.backbone().state_dict().items():
        assert torch.equal(value, second.backbone().state_dict()[name]), name


def test_texture_is_taught_beside_what_correspondence_teaches(batch):
    pretraining = training(tiny(patch_objective="texture"))
    results = [pretraining.step(batch) for _ in range(TINY.steps)]
    for loss in ("cls_loss", "patch_loss", "texture_loss"):
        losses = [float(getattr(result, loss)) for result in results]
        assert sum(losses[-5:]) < 0.98 * sum(losses[:5]), loss
    last = results[-1]
    parts = float(0.5 * last.cls_loss + 0.5 * last.patch_loss + 4 * last.texture_loss)
    assert float(last.loss) == pytest.approx(parts, rel=1e-5)


def test_prototypes_of_patches_do_not_see_what_texture_teaches():
    encoder = training(tiny(patch_objective="texture")).student
    tokens = torch.randn(5, TINY.dim)
    changed = tokens.clone()
    changed[:, :TAUGHT] += 1
    assert torch.equal(encoder.patch_logits(tokens), encoder.patch_logits(changed))
    changed[:, TAUGHT] += 1
    assert not torch.equal(encoder.patch_logits(tokens), encoder.patch_logits(changed))


def test_a_shown_patch_is_taught_its_own_texture(batch):
    mine, target = batch[8:].float() / 255, TextureTarget(TINY.patch_size)
    images, shown, hidden, textures = draw_whole(mine, target, np.random.default_rng(0), slice(8, 16), 16)
    every = target.eval()(images)
    for number, places in enumerate(shown):
        torch.testing.assert_close(textures[number], every[number, places], atol=1e-4, rtol=0)
    assert shown.shape == hidden.shape
    turned = [torch.equal(image, one.flip(-1)) for image, one in zip(images, mine, strict=True)]
    kept = [torch.equal(image, one) for image, one in zip(images, mine, strict=True)]
    assert [not one for one in turned] == kept
    assert set(kept) == {True, False}


def test_a_worker_draws_its_slice_of_what_one_worker_would_draw(batch):
    images, target = batch.float() / 255, TextureTarget(TINY.patch_size).eval()
    target.load_state_dict({"count": torch.ones(()), "total": target.total, "squares": target.squares})
    whole = draw_whole(images, target, np.random.default_rng(0), slice(0, 16), 16)
    half = draw_whole(images[8:], target, np.random.default_rng(0), slice(8, 16), 16)
    for drawn, expected in zip(half, whole, strict=True):
        torch.testing.assert_close(drawn, expected[8:])


def test_the_learning_rate_rises_and_falls():
    recipe = Recipe(steps=100, warmup_steps=10, learning_rate=0.5)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert max(rates) == pytest.approx(0.5)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.005)


def test_the_teacher_slows_down_to_a_stop():
    recipe = Recipe(steps=100, warmup_steps=10, momentum=0.9)
    assert teacher_momentum(recipe, 0) == pytest.approx(0.9)
    assert teacher_momentum(recipe, 99) == pytest.approx(1)


def test_two_workers_agree_with_one(batch, tmp_path):
    objectives = ("correspondence", "texture")  # the others are simpler
    recipes = {objective: tiny(patch_objective=objective, steps=6, warmup_steps=2) for objective in objectives}
    torch.save(batch, tmp_path / "images.pt")
    torch.save({name: recipe.model_dump() for name, recipe in recipes.items()}, tmp_path / "jobs.pt")
    script = [sys.executable, Path(__file__).with_name("two_workers.py")]
    workers = [subprocess.Popen([*script, str(rank), tmp_path]) for rank in range(2)]
    expected = {}
    for name, recipe in recipes.items():
        one = training(recipe)
        results = [one.step(batch) for _ in range(recipe.steps)]
        expected[name] = torch.stack([torch.stack(list(vars(result).values())) for result in results])
    assert [worker.wait() for worker in workers] == [0, 0]
    for rank in range(2):
        for name, curve in torch.load(tmp_path / f"{rank}.pt").items():
            losses, of_one = curve[:, :4], expected[name][:, :4]  # deviation and information are of a worker's images
            # Sums in another order: the same up to rounding at first, and that grows from step to step.
            torch.testing.assert_close(losses[:3], of_one[:3], rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(losses, of_one, rtol=0.02, atol=1e-6)


def test_another_seed_is_another_training(batch):
    first, second = (training(TINY, seed).step(batch) for seed in (0, 1))
    assert float(first.loss) != float(second.loss)


def test_the_global_random_state_is_left_alone(batch):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    training(TINY).step(batch)
    assert torch.equal(torch.get_rng_state(), before)


def write_backbone(pretraining: Pretraining, file: Path) -> str:
    file.write_bytes(to_bytes(pretraining.backbone()))
    file.with_suffix(".json").write_bytes(config_json(pretraining.recipe, build_start(pretraining.recipe, None)))
    return str(file)


@pytest.mark.parametrize("dim", [64, 1152])  # heads of the latter are not 64 wide in the models that are so wide
def test_the_file_is_the_teacher_and_loads_as_a_backbone(batch, tmp_path, dim):
    recipe = tiny(dim=dim, depth=1)
    pretraining = training(recipe)
    pretraining.step(batch[:4])
    backbone = load_backbone(write_backbone(pretraining, tmp_path / "own.safetensors"))
    assert (backbone.patch_size, backbone.dim, backbone.depth, backbone.input_size) == (8, dim, 1, 64)
    for size in (64, 96):  # also one whose position embeddings are interpolated, by another code than in training
        pixels = torch.nn.functional.interpolate(batch[:3].float(), (size, size)).to(torch.uint8)
        found = backbone.extract(pixels.permute(0, 2, 3, 1), [Tap("token")])[Tap("token")]
        torch.testing.assert_close(found, pretraining.patch_tokens(pixels), atol=0.03, rtol=0.03)  # a float16 file


def test_a_training_goes_on_from_a_backbone(batch, tmp_path):
    before = training(TINY, seed=1)
    before.step(batch)
    file = write_backbone(before, tmp_path / "own.safetensors")
    going_on = training(TINY, start=file)
    for name, value in before.backbone().state_dict().items():
        torch.testing.assert_close(going_on.backbone().state_dict()[name], value, atol=1e-3, rtol=1e-3, msg=name)
    first = going_on.student.vit.vit.blocks[0].attn.qkv.weight.clone()
    going_on.step(batch)
    assert not torch.equal(first, going_on.student.vit.vit.blocks[0].attn.qkv.weight)


def test_every_weight_that_can_learn_is_reached_by_the_loss(batch):
    # A worker that waits for the gradient of a weight that has none waits for ever.
    start = build_start(TINY, None)
    assert all(not name.startswith(("head", "fc_norm")) for name, p in start.vit.named_parameters() if p.requires_grad)
    for objective in OBJECTIVES:
        pretraining = training(tiny(patch_objective=objective, warmup_steps=0))
        pretraining.step(batch)
        lost = [name for name, p in pretraining.student.named_parameters() if p.requires_grad and p.grad is None]
        assert lost == []


def test_a_backbone_whose_tokens_are_too_short_for_texture_is_refused(tmp_path):
    short = timm.create_model("vit_tiny_patch16_224", num_classes=0, patch_size=8, embed_dim=32, depth=1, num_heads=1,
                              img_size=64)  # fmt: skip
    file = tmp_path / "short.safetensors"
    file.write_bytes(to_bytes(short))
    architecture = {"name": "vit_tiny_patch16_224", "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 1,
                    "img_size": 64}  # fmt: skip
    file.with_suffix(".json").write_text(json.dumps({"architecture": architecture, "input_size": 64}))
    assert build_start(TINY, str(file)).vit.embed_dim == 32
    with pytest.raises(BackboneError, match=r"tokens of 32: pretrain\.patch_objective=texture needs more than 44"):
        build_start(tiny(patch_objective="texture"), str(file))


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("untrained:vit_small_patch16_dinov3", "plain ViTs with a CLS token"),
        ("untrained:deit_tiny_distilled_patch16_224", "plain ViTs with a CLS token"),
        ("untrained:vit_tiny_patch16_224", "multiples of its patch size 16"),
    ],
)
def test_a_backbone_that_cannot_be_trained_is_refused(start, reason):
    with pytest.raises(BackboneError, match=reason):
        build_start(TINY, start)
