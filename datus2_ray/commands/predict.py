"""Masks for images that a run never saw: by what labelled its own, or by its centroids where it was not refined.

Where clusters of the run are named, the masks are of classes: by the layer that was taught, with a confidence, or as
the clusters are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from datus2_ray.commands.plan import check_place, list_shown, plan_stages
from datus2_ray.commands.weights import check_same_backbone
from datus2_ray.config import RunConfig
from datus2_ray.config.load import change, parse_assignments, read_config
from datus2_ray.config.presets import merge
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.naming import Naming, find_naming
from datus2_ray.engine.run import open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.engine.stage import Stage
from datus2_ray.errors import UsageError
from datus2_ray.store import storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Exported, HeadLearned, Ingested, LayerFitted, Refined, Taught
from datus2_ray.store.run_folder import RunFolder

#: Settings that belong to the run's machines and source, of which this command has its own. That a run trusted the
#: paths in its shards says nothing of those in others.
PLACES: dict[str, dict[str, Any]] = {
    "ingest": {
        **dict.fromkeys(("image_column", "id_column", "mask_column", "masks")),
        "ignore_id": (),
        "outside_paths": False,
    },
    "discover": {"actors": None, "max_actors": None, "gpus_per_actor": None},
    "cluster": {"workers": None},
}

#: Settings that may differ from those of the run: they say how new images are read and where they are computed.
SETTABLE = frozenset(
    ["no_progress_seconds", "ingest.max_megapixels"]
    + [f"{stage}.{key}" for stage, keys in PLACES.items() for key in keys]
)


def predict(
    run: str,
    source: str,
    out: str,
    *,
    limit: int | None = None,
    max_error_rate: float = 0.05,
    device: str | None = None,
    columns: dict[str, str | None] | None = None,
    assignments: Sequence[str] = (),
) -> str:
    """Label the images of a folder with the clusters or classes of a finished run; no ground truth is needed.

    Parameters
    ----------
    run : str
        Folder of the finished run.
    source : str
        Folder or shards of images.
    out : str
        Folder for the masks, as tables and as palette PNG files; ``datus2 export`` takes it for other formats.
    limit : int, optional
        Only the first N image ids in sorted order.
    max_error_rate : float
        The command ends when more than this share of the images cannot be used.
    device : str, optional
        ``auto``, ``cpu`` or ``cuda``; default ``auto``, whatever the run had.
    columns : dict, optional
        ``image_column`` and ``id_column`` of shards, where they are not the usual ones.
    assignments : sequence of str
        ``stage.key=value`` items of :data:`SETTABLE`; all others are the run's.

    Returns
    -------
    str
        Folder of the PNG files.

    Raises
    ------
    StorageError
        If `run` is no finished run.
    UsageError
        If the names are of another clustering, or were changed after they were taught.
    BackboneError
        If a layer or a head reads tokens of the images, and the backbone is missing or not the one of its training.
    DatusError
        If the images cannot be used, as for a run.
    """
    model = RunFolder.of_finished(run)
    kept = read_config(model.path("config.json"))
    clustered, fitted, refined = model.require(Clustered), model.find(LayerFitted), model.find(Refined)
    k = storage.read_json(model.path("summary.json"))["clusters"]
    ranges = {kind: values for kind, *values in model.require(Ingested).facts.ranges}
    config = _config(kept, k, ranges, source, out, limit, max_error_rate, device, columns, assignments)
    RunFolder(config.out).check_apart(model.uri)
    found = find_naming(model, k)
    taught = _find_taught(model, found)
    # Single segments are those of the run's images: an image of the same name here is another one.
    naming = found and replace(found, names=replace(found.names, segments={}))
    segmenter: Commit[Any] | None = taught or refined or fitted
    head = model.find(HeadLearned) if segmenter is None else None
    reads_tokens = taught or head or (fitted if refined is None else None)
    if reads_tokens is not None:
        check_same_backbone(config, reads_tokens.facts.backbone)

    if segmenter is None:
        # Else discover would keep the tokens of these images, for a layer that nobody fits.
        config = config.model_copy(update={"refine": config.refine.model_copy(update={"enabled": False})})
    stages = _stages(naming, segmenter)
    machines = check_place(config, "predict")
    listing = list_shown(config, labelled=False)
    models = {commit.facts.stage: commit for commit in (clustered, head, segmenter) if commit is not None}
    plan_stages(config, stages, listing, machines, models)
    with open_run(config, "predict", listing, machines) as opened:
        start_ray(config.no_progress_seconds)

        from datus2_ray.engine.execute import execute

        labelled, _ = execute(opened.after(models).by(naming).on(Machines.now()), stages)
        # Masks of an earlier call, such as of names that there are not any more, would be exported before these.
        current = {stage.name for stage in stages} & labelled.folder.current().keys()
        labelled.folder.set_current({name: labelled.commits[name].fingerprint for name in sorted(current)})
        storage.write_json(storage.join(config.out, "config.json"), config.model_dump(mode="json"))
    exported = labelled.commit(Exported)
    return exported.path(exported.facts.format, "masks")


def _find_taught(model: RunFolder, naming: Naming | None) -> Commit[Taught] | None:
    """Return the layer that was taught the names; None where nothing was taught or nothing is named."""
    taught = model.find(Taught) if naming else None
    if taught is not None and naming is not None and taught.facts.names != naming.names.fingerprint():
        raise UsageError(
            f"the names of {model.uri} were changed after a layer was taught them; teach it again by "
            f"`datus2 name {model.uri} --teach`"
        )
    return taught


def _stages(naming: Naming | None, segmenter: Commit[Any] | None) -> Sequence[Stage[Any]]:
    from datus2_ray import stages

    if segmenter is None:
        return stages.LABEL_NAMES_COMMAND if naming else stages.LABEL_COMMAND
    if isinstance(segmenter.facts, Taught):
        return stages.PREDICT_TAUGHT_COMMAND
    return stages.PREDICT_NAMES_COMMAND if naming else stages.PREDICT_COMMAND


def _config(
    kept: RunConfig,
    k: int,
    ranges: dict[str, list[float]],
    source: str,
    out: str,
    limit: int | None,
    max_error_rate: float,
    device: str | None,
    columns: dict[str, str | None] | None,
    assignments: Sequence[str] = (),
) -> RunConfig:
    """Return the settings of the finished run, applied to other images."""
    # A protocol is of scores; new images are labelled whole.
    whole = {"dataset": "folder", "split": None, "protocol": "datus2"}
    changes = {**whole, "limit": limit, "clusters": k, "max_error_rate": max_error_rate}
    places = {"source": storage.absolute(source), "out": storage.absolute(out), "device": device or "auto"}
    settings: dict[str, Any] = {**kept.model_dump(), **changes, **places, "export": {"format": "png"}}
    settings |= {stage: {**settings[stage], **values} for stage, values in PLACES.items()}
    settings["ingest"] |= {"stretch": ranges, **(columns or {})}
    for assignment in assignments:
        if assignment.partition("=")[0].strip() not in SETTABLE:
            raise UsageError(
                f"--set {assignment}: settings are those of the run; only {', '.join(sorted(SETTABLE))} may differ"
            )
    return change(RunConfig.model_validate(settings), **merge(settings, parse_assignments(assignments)))
