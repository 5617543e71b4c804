from __future__ import annotations

import json

import numpy as np
import pytest

from datus2_ray.core.score.confusion import score
from datus2_ray.core.score.seeds import over_seeds


def metrics(seed, refined=True):
    rng = np.random.default_rng(seed)
    tables = rng.integers(0, 50, (3, 4, 6))
    tables[:, 3] = 0
    return {
        "classes": ["a", "b", "c", "d"],
        "clusters": 5,
        "seed": seed,
        "images": 9,
        "initial": score(tables[0]),
        "refined": score(tables[1]) if refined else None,
        "token_kmeans": score(tables[2]),
    }


def test_every_score_has_the_mean_and_the_sample_deviation_of_its_seeds():
    runs = [metrics(seed) for seed in range(3)]
    result = over_seeds(runs)
    assert result["seeds"] == runs
    assert list(result["mean"]) == list(result["std"]) == ["initial", "refined", "token_kmeans"]
    for masks in result["mean"]:
        assert "matching" not in result["mean"][masks]
        for rule, name in [("one_to_one", "miou"), ("many_to_one", "mean_f1"), ("datus2", "coverage")]:
            values = [run[masks][rule][name] for run in runs]
            assert result["mean"][masks][rule][name] == pytest.approx(np.mean(values))
            assert result["std"][masks][rule][name] == pytest.approx(np.std(values, ddof=1))
        ari = [run[masks]["ari"] for run in runs]
        assert result["std"][masks]["ari"] == pytest.approx(np.std(ari, ddof=1))
        classes = np.array([run[masks]["one_to_one"]["per_class_iou"][:3] for run in runs])
        np.testing.assert_allclose(result["mean"][masks]["one_to_one"]["per_class_iou"][:3], classes.mean(axis=0))
        assert result["mean"][masks]["one_to_one"]["per_class_iou"][3] is None
    assert json.loads(json.dumps(result)) == result


def test_masks_that_a_seed_does_not_have_have_no_mean():
    result = over_seeds([metrics(0), metrics(1, refined=False)])
    assert list(result["mean"]) == ["initial", "token_kmeans"]


def test_one_seed_has_a_mean_but_no_deviation():
    result = over_seeds([metrics(0)])
    assert result["mean"]["initial"]["nmi"] == metrics(0)["initial"]["nmi"]
    assert result["std"]["initial"]["nmi"] is None


def test_a_score_that_is_null_for_a_seed_is_left_out_of_its_mean():
    runs = [metrics(seed) for seed in range(3)]
    runs[1]["initial"]["one_to_one"]["per_class_iou"][0] = None
    values = [
        runs[0]["initial"]["one_to_one"]["per_class_iou"][0],
        runs[2]["initial"]["one_to_one"]["per_class_iou"][0],
    ]
    assert over_seeds(runs)["mean"]["initial"]["one_to_one"]["per_class_iou"][0] == pytest.approx(np.mean(values))
