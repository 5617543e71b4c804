"""Pre-training on one's own images: ingest them and train a backbone without a label."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec

from datus2_ray.commands.plan import plan_pretraining
from datus2_ray.commands.weights import check_pretraining
from datus2_ray.config import RunConfig
from datus2_ray.config.load import resolve_paths
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.run import open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.errors import UsageError
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Pretrained
from datus2_ray.trackers.follow import check_tracker, follow


def pretrain(config: RunConfig) -> Commit[Pretrained]:
    """Train a backbone on the images of a source.

    Parameters
    ----------
    config : RunConfig
        Source, folder, ``backbone`` (the one to start from; None trains from scratch) and the settings of ``pretrain``.

    Returns
    -------
    Commit
        Its folder holds ``backbone.safetensors``, which ``--backbone`` takes.

    Raises
    ------
    DatusError
        If lightly is not installed, settings do not fit each other, the machines or the images, or the training fails.
    """
    if find_spec("lightly") is None:
        raise UsageError("pre-training needs the library lightly; install it with: pip install 'datus2-ray[pretrain]'")
    check_tracker(config.tracker)
    config = resolve_paths(config)
    plan = plan_pretraining(config)
    check_pretraining(config)
    with open_run(config, "pretrain", plan.source, plan.machines) as run:
        start_ray(config.no_progress_seconds)

        from datus2_ray.engine.execute import execute
        from datus2_ray.stages import PRETRAIN_COMMAND

        following = follow(run)
        run, _ = execute(run.on(Machines.now()), PRETRAIN_COMMAND, following.after_stage)
        following.finish(run, asdict(run.facts(Pretrained)))
    return run.commit(Pretrained)
