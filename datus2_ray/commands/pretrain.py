"""Pre-training on one's own images: ingest them, train a backbone without a label, and say where it lies."""

from __future__ import annotations

from importlib.util import find_spec

from datus2_ray.commands.plan import plan_pretraining
from datus2_ray.config.load import RunConfig
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.session import start_ray
from datus2_ray.errors import UsageError
from datus2_ray.store.run_folder import Commit


def pretrain(config: RunConfig) -> tuple[str, Commit]:
    """Train a backbone on the images of a source.

    Parameters
    ----------
    config : RunConfig
        Source, folder, ``backbone`` (what to go on from; None trains from scratch) and the settings of ``pretrain``.

    Returns
    -------
    str
        URI of the safetensors file that ``--backbone`` takes.
    Commit
        Its facts.

    Raises
    ------
    DatusError
        Something that the message explains in one line.
    """
    if find_spec("lightly") is None:
        raise UsageError("pre-training needs the library lightly; install it with: pip install 'datus2-ray[pretrain]'")
    plan = plan_pretraining(config)
    context = RunContext.open(config, "pretrain")
    start_ray(config.no_progress_seconds)

    from datus2_ray.stages.ingest.ingest import ingest
    from datus2_ray.stages.pretrain.pretrain import pretrain as pretrain_stage
    from datus2_ray.stages.pretrain.training import MODEL

    commit = pretrain_stage(context, ingest(context, labelled=False, listing=plan.source))
    return context.folder.path("pretrain", MODEL), commit
