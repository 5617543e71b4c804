"""What every fit to the tokens of discover shares: which images it takes, what its file says of them, who computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from datus2_ray.engine import training_workers
from datus2_ray.engine.clustering.vectors import count_vectors
from datus2_ray.engine.operators.decides import input_side, large_windows
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement
from datus2_ray.engine.training.job import Job
from datus2_ray.engine.training.shares import hash_id, image_ids
from datus2_ray.engine.training.worker import Fit, Member, run_fit
from datus2_ray.store import parquet, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered

#: File of what is fitted.
MODEL = "model.safetensors"


@dataclass(frozen=True)
class TokenSample:
    """Images whose tokens are used: all, or of more than memory holds those with the smallest hashes of their ids.

    Parameters
    ----------
    parts : tuple of str
        Parts that may hold them.
    ids : tuple of str
        In the order of their hashes, which neither parts nor workers change.
    below : int
        Their hashes are smaller.
    share : float
        Their share of all images.
    tokens : int
        About how many tokens they have.
    dim : int
        Length of a token.
    """

    parts: tuple[str, ...]
    ids: tuple[str, ...]
    below: int
    share: float
    tokens: int
    dim: int


def sample_images(tokens: Commit[Discovered], images: Commit[Any], seed: int) -> TokenSample:
    """Choose the images whose tokens are used, among those of a table with the same parts."""
    parts = tuple(sorted(images.parts))
    ids = sorted(image_ids(images.uri, parts), key=lambda image_id: (hash_id(seed, image_id), image_id))
    column = parquet.read_schema(tokens.path(min(tokens.parts))).field("tokens")
    total, dim = sum(count_vectors(tokens.uri, "patch_map", list(parts)).values()), column.type.value_type.list_size
    count = max(1, min(len(ids), len(ids) * training_workers.TOKEN_MEMORY // (2 * dim * max(1, total))))
    below = hash_id(seed, ids[count]) if count < len(ids) else 2**64
    return TokenSample(parts, tuple(ids[:count]), below, count / len(ids), total * count // len(ids), dim)


def describe_tokens(run: Run) -> dict[str, Any]:
    """Return which tokens are read, for the header of a file: fingerprint of the backbone, blocks, views."""
    from datus2_ray.core.backbone.spec import fingerprint
    from datus2_ray.store.weights_cache import local_spec

    config = run.config.discover
    names = ("keep_aspect", "tile", "mirror", "block", "blocks")
    views = {"input_size": input_side(run), **{name: getattr(config, name) for name in names}}
    if (windows := large_windows(run)) is not None:
        views["window"] = windows.window
    return {"backbone": fingerprint(local_spec(run.backbone)), **views}


def fit_to_tokens(
    run: Run,
    placement: Placement,
    progress: Progress,
    name: str,
    plan: Any,
    steps: int,
    compute: Callable[[Any, Member], Fit],
) -> dict[str, Any]:
    """Fit on the device, in one process or under Ray Train, and return the file, as ``model``, and the history.

    Parameters
    ----------
    plan : object
        Passed on; its ``workers`` are how many fit, on its ``device``.
    compute : callable
        Fits by the plan, as one of the processes.
    """
    loop, remedy = partial(run_fit, compute, MODEL), "give fewer workers (--set refine.workers=N)"
    patience = run.config.no_progress_seconds

    def show(step: int) -> None:
        progress.advance(0, note=f"step {step}")

    if plan.workers == 1:
        from datus2_ray.engine.training import alone

        return alone.run_alone(
            Job(name, loop, plan, steps, remedy, None, lowest=None), placement.device, patience, show
        )
    from datus2_ray.engine.training import run as training  # imports Ray Train, which takes as long as torch

    scaling, folder = training.plan_scaling(plan.workers, placement.device), placement.path("training")
    # Nothing to go on from: a fit has no checkpoint but the last.
    storage.remove(folder)
    trained = training.run_training(Job(name, loop, plan, steps, remedy, scaling, None), folder, name, patience, show)
    model = storage.read_bytes(storage.join(folder, name, trained.checkpoint, MODEL))
    storage.remove(folder)
    return {"model": model, **trained.history}
