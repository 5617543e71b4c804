"""Learning a head: classes planted in tokens, and that the seed alone decides."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datus2_ray.core.head.fit import SHARES, Learned, learn
from datus2_ray.core.head.network import Head, HeadSpec
from datus2_ray.core.head.pairs import Draws, nearest_images
from datus2_ray.core.head.recipes import Recipe, find_recipe
from datus2_ray.engine.training_workers import TOKEN_WORKERS

pytestmark = pytest.mark.usefixtures("one_thread")

DIM, CLASSES, IMAGES = 12, 4, 20
SPEC = HeadSpec(DIM, 8, {})
QUICK = Recipe(steps=150, images=8, points=24, learning_rate=5e-3)


def planted(seed: int = 0) -> tuple[dict[int, torch.Tensor], np.ndarray]:
    """Make images of different sizes, each with two of four classes; return their tokens, and the class of each."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(CLASSES, DIM))
    scales = 10.0 ** rng.integers(-2, 3, DIM)  # coordinates of very different size
    images, classes = {}, []
    for number in range(IMAGES):
        of_image = rng.choice(rng.permutation(CLASSES)[:2], rng.integers(20, 60))
        tokens = (means[of_image] + rng.normal(size=(len(of_image), DIM))) * scales + 3 * scales
        images[number] = torch.from_numpy(tokens.astype(np.float16))
        classes.append(of_image)
    return images, np.concatenate(classes)


def contrast(codes: np.ndarray, classes: np.ndarray) -> float:
    """Return by how much the mean cosine within classes is above the one between them."""
    unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    cosines, same = unit @ unit.T, classes[:, None] == classes
    return float(cosines[same].mean() - cosines[~same].mean())


def same(one: Learned, other: Learned) -> bool:
    equal = all(map(torch.equal, one.head.state_dict().values(), other.head.state_dict().values()))
    return equal and (one.losses, one.shifts, one.tokens) == (other.losses, other.shifts, other.tokens)


def test_codes_of_planted_classes_come_closer() -> None:
    images, classes = planted()
    tokens = np.concatenate([image.numpy() for image in images.values()])
    learned = learn(images, IMAGES, SPEC, 0, QUICK)
    at_first = learn(images, IMAGES, SPEC, 0, replace(QUICK, steps=1, learning_rate=1e-9)).head
    standardised = learned.head.standardise(torch.from_numpy(tokens)).numpy()
    before = max(contrast(at_first.encode(tokens), classes), contrast(standardised, classes))
    assert contrast(learned.head.encode(tokens), classes) > before + 0.05
    losses = np.array(learned.losses) @ QUICK.weights
    assert losses[-10:].mean() < losses[:3].mean()
    assert (learned.images, learned.tokens) == (IMAGES, len(tokens))
    assert len(learned.losses) == QUICK.steps


def test_tokens_are_standardised_by_their_mean_and_deviation() -> None:
    images, _ = planted()
    for image in images.values():
        image[:, 3] = 700.0  # constant
    head = learn(images, IMAGES, SPEC, 0, replace(QUICK, steps=1)).head
    tokens = torch.cat(list(images.values())).double()
    torch.testing.assert_close(head.mean, tokens.mean(0).float())
    expected = tokens.std(0, correction=0).float()
    expected[3] = 1
    torch.testing.assert_close(head.deviation, expected)


def test_shifts_are_quantiles_of_the_centred_similarities() -> None:
    images, _ = planted()
    shifts = [
        learn(images, IMAGES, SPEC, 0, replace(QUICK, steps=1, quantiles=q)).shifts for q in ((0.6,) * 3, (0.9,) * 3)
    ]
    assert all(low < high for low, high in zip(*shifts, strict=True))
    # Of an image and itself more is alike than of two images, and centred means are zero.
    assert -1 < shifts[0][0] < shifts[1][0] < 1


def test_the_seed_decides_and_threads_do_not() -> None:
    images, _ = planted()
    quick, steps = replace(QUICK, steps=20), list[int]()
    first = learn(images, IMAGES, SPEC, 0, quick)
    assert same(first, learn(images, IMAGES, SPEC, 0, quick, threads=4, on_step=steps.append))
    assert steps == list(range(1, 21))
    assert not same(first, learn(images, IMAGES, SPEC, 1, quick))


def test_two_images_are_enough() -> None:
    images, _ = planted()
    learned = learn({0: images[0], 1: images[1]}, 2, SPEC, 0, replace(QUICK, steps=3))
    assert np.isfinite(learned.losses).all()


def test_two_processes_learn_the_bits_of_one(tmp_path: Path) -> None:
    images, _ = planted()
    recipe = replace(QUICK, steps=10)
    torch.save({"images": images, "recipe": vars(recipe)}, tmp_path / "given.pt")
    line = [sys.executable, str(Path(__file__).with_name("two_workers.py"))]
    workers = [subprocess.Popen([*line, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    alone = learn(images, IMAGES, SPEC, 0, recipe)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert all(map(torch.equal, found["weights"], alone.head.state_dict().values()))
        assert (found["losses"], found["shifts"]) == (alone.losses, alone.shifts)


def test_as_many_workers_as_shares_have_something_to_do() -> None:
    assert TOKEN_WORKERS == SHARES
    assert Recipe().images % SHARES == 0


def test_a_published_recipe_has_the_loss_of_the_authors_code() -> None:
    images, _ = planted()
    recipe = replace(find_recipe("stego-cityscapes"), steps=1, images=8, points=9)
    spec = HeadSpec(DIM, recipe.codes, {})
    learned = learn(images, IMAGES, spec, 3, recipe)
    assert learned.shifts == [0.458, 0.175, 0.314]
    assert not learned.head.mean.any()

    tokens = [images[number].double() for number in range(IMAGES)]
    nearest = nearest_images(torch.stack([of_image.mean(0) for of_image in tokens]), 7).numpy()
    draws = Draws(nearest, np.array([len(of_image) for of_image in tokens]), 8, 9, 3)
    head = Head(spec, torch.Generator().manual_seed(3)).double()
    numbers, points = draws.next()
    of_points = [[tokens[n][p] for n, p in zip(*slot, strict=True)] for slot in zip(numbers, points, strict=True)]
    drawn = torch.stack([torch.stack(of_slot) for of_slot in of_points])
    codes = head(drawn).detach()

    def cosines(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        first, second = (vectors / vectors.norm(dim=-1, keepdim=True) for vectors in (first, second))
        return torch.einsum("bid,bjd->bij", first, second)

    for slot, (shift, found) in enumerate(zip(learned.shifts, learned.losses[0], strict=True)):
        alike = cosines(drawn[0], drawn[slot])
        mean = alike.mean()
        alike = alike - alike.mean(dim=2, keepdim=True)
        alike = alike - alike.mean() + mean
        expected = -(cosines(codes[0], codes[slot]).clamp(min=0) * (alike - shift)).mean()
        assert found == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", ["stego-coco", "stego-cityscapes", "stego-potsdam"])
def test_published_recipes_cost_what_ours_does(name: str) -> None:
    ours, theirs = find_recipe("head"), find_recipe(name)
    assert ours == Recipe()
    same_cost = ("steps", "images", "points", "nearest", "learning_rate")
    assert [getattr(ours, key) for key in same_cost] == [getattr(theirs, key) for key in same_cost]
