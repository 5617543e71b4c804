"""The stage that teaches names: which segments it learns from, and what its result depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datus2_ray.core.names.names import NamedClass, Names
from datus2_ray.core.refine.em import Recipe
from datus2_ray.core.refine.token_layer import from_bytes
from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.naming import Naming
from datus2_ray.engine.run import Run
from datus2_ray.stages.em.teach import TEACH
from datus2_ray.store import storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Taught
from tests.stages.em.test_em import CLASSES, IMAGES, image, with_segments

TITLES = tuple(NamedClass(f"class {number}", "#000000", number == 2) for number in range(CLASSES))


def named(clusters: dict[int, int], segments: dict[str, dict[int, int]] | None = None) -> Naming:
    """Name fine clusters, which are the given classes of the segments."""
    return Naming(Names("c", TITLES, clusters, segments or {}), (0,) * CLASSES)


@pytest.fixture
def run(open_here: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("datus2_ray.core.names.teach.RECIPE", Recipe(rounds=1, steps=60, batch=256, exponent=0.0))
    return with_segments(open_here(tmp_path / "in", preset="best", clusters=CLASSES))


def taught(run: Run, naming: Naming) -> Commit[Taught]:
    return execute_stage(run.by(naming), TEACH).commit(Taught)


def model(commit: Commit[Taught]) -> bytes:
    return storage.read_bytes(commit.path(commit.facts.model))


def found(commit: Commit[Taught]) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of every token by the layer, and the true one."""
    made = [image(number) for number in range(IMAGES)]
    tokens = np.concatenate([tokens[patch_map >= 0] for patch_map, tokens, _, _ in made])
    truth = np.concatenate([classes[patch_map[patch_map >= 0]] for patch_map, _, classes, _ in made])
    with torch.inference_mode():
        return from_bytes(model(commit))(torch.from_numpy(tokens)).argmax(1).numpy(), truth


def test_names_are_learned_and_ignored_classes_are_classes_too(run: Run) -> None:
    # The classes have other ids than the clusters.
    commit = taught(run, named({0: 1, 1: 2, 2: 0}))
    classes, truth = found(commit)
    assert (classes == np.array([1, 2, 0])[truth]).mean() > 0.9
    assert commit.facts.classes == TITLES
    assert commit.facts.names == named({0: 1, 1: 2, 2: 0}).names.fingerprint()
    assert len(commit.facts.agreements) == 1
    assert 0.7 < commit.facts.agreements[0] < 1


def test_what_nobody_named_teaches_nothing(run: Run) -> None:
    commit = taught(run, named({0: 0, 1: 1}))
    classes, truth = found(commit)
    assert set(classes) <= {0, 1}
    assert (classes[truth < 2] == truth[truth < 2]).mean() > 0.8  # a fifth of the names is wrong


def test_a_single_segment_teaches_its_own_class(run: Run) -> None:
    ids = [f"i{number:02d}" for number in range(IMAGES)]
    segments = {
        image_id: dict.fromkeys(np.flatnonzero(image(number)[3] == 2).tolist(), 2)
        for number, image_id in enumerate(ids)
        if number and (image(number)[3] == 2).any()
    }
    commit, by_clusters = taught(run, named({0: 0, 1: 1}, segments)), taught(run, named({0: 0, 1: 1, 2: 2}))
    assert commit.fingerprint != by_clusters.fingerprint
    assert model(commit) == model(by_clusters)


def test_names_decide_the_result_and_neither_k_nor_colours_of_clusters_do(run: Run) -> None:
    naming = named({0: 0, 1: 1})
    commit = taught(run, naming)
    assert taught(run, replace(naming, cluster_classes=(1, 1, 1))) == commit
    other = run.config.model_copy(update={"clusters": 2})
    assert TEACH.identify(replace(run, config=other).by(naming), "cpu").fingerprint == commit.fingerprint
    assert TEACH.identify(run.by(named({0: 0})), "cpu").fingerprint != commit.fingerprint
