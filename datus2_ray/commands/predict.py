"""Masks for images that a run never saw: its segmenter, or its centroids where it has none, on another source."""

from __future__ import annotations

from datus2_ray.config.load import RunConfig
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.session import start_ray
from datus2_ray.errors import StorageError
from datus2_ray.store import storage
from datus2_ray.store.run_folder import FINISHED, RunFolder

#: Settings that suit the run's cluster and source, of which this command may have others.
PLACES: dict[str, dict[str, None]] = {
    "ingest": {"image_column": None, "id_column": None, "mask_column": None},
    "discover": {"actors": None, "max_actors": None, "gpus_per_actor": None},
    "cluster": {"workers": None},
}


def predict(
    run: str,
    source: str,
    out: str,
    *,
    limit: int | None = None,
    max_error_rate: float = 0.05,
    device: str | None = None,
    columns: dict[str, str | None] | None = None,
) -> str:
    """Label the images of a folder with the clusters of a finished run; no ground truth is needed.

    Parameters
    ----------
    run : str
        Folder of the finished run.
    source : str
        Folder or shards of images.
    out : str
        Folder for the masks: ``images/`` and ``masks/`` as tables, ``png/`` as palette files.
    limit : int, optional
        Only the first N image ids in sorted order.
    max_error_rate : float
        The command ends when more than this share of the images cannot be used.
    device : str, optional
        ``auto``, ``cpu`` or ``cuda``; default ``auto``, whatever the run had.
    columns : dict, optional
        ``image_column`` and ``id_column`` of shards, where they are not the usual ones.

    Returns
    -------
    str
        Folder of the PNG files.

    Raises
    ------
    StorageError
        `run` is no finished run.
    BackboneError
        Its segmenter reads tokens, and the backbone is not there or not the one that it was trained with.
    DatusError
        An image set that cannot be used, as for a run.
    """
    model = RunFolder(storage.absolute(run))
    for name in FINISHED:
        if not storage.exists(model.path(name)):
            raise StorageError(f"{run} is no finished run, it has no {name}; run the same `datus2 run` again")
    clusters = model.require("clusters")
    masks = model.require("masks/initial")
    kept = RunConfig.model_validate(storage.read_json(model.path("config.json")))
    number = clusters.facts["clusters"]
    changes = {"dataset": "folder", "split": None, "limit": limit, "clusters": number, "max_error_rate": max_error_rate}
    settings = kept.model_dump() | changes | {"source": source, "out": out, "device": device or "auto"}
    settings |= {stage: settings[stage] | places for stage, places in PLACES.items()}
    settings["ingest"] |= columns or {}
    if kept.discover.resolution == "auto":
        # What was chosen for the images that the centroids come from, not for these.
        settings["discover"]["resolution"] = model.require("sample").facts["resolution"]
    config = RunConfig.model_validate(settings)
    RunFolder(config.out).keep_apart(model.uri)
    context = RunContext.open(config, "predict")
    start_ray(context.config.no_progress_seconds)

    from datus2_ray.stages.discover.discover import discover
    from datus2_ray.stages.export import export_png
    from datus2_ray.stages.ingest.ingest import ingest
    from datus2_ray.stages.label.label import label
    from datus2_ray.stages.predict.predict import predict_images, segmenter_uri
    from datus2_ray.stages.refine.start import check_same_backbone

    refinement = model.commit_of("refine")
    if refinement is not None and ("skipped" in refinement.facts or not kept.refine.enabled):
        refinement = None
    if refinement is not None and refinement.facts.get("network") == "linear":
        check_same_backbone(config, refinement.facts["backbone"])
    images = ingest(context, labelled=False)
    if refinement is not None:
        inputs = [images.fingerprint, masks.fingerprint, refinement.fingerprint]
        size = int(refinement.facts["size"])
        refined = predict_images(context, segmenter_uri(model, refinement), size, images.parts, inputs)
        export_png(context, number, {"refined": refined})
        return context.folder.path("png", "refined")
    initial = label(context, discover(context, images, keep_tokens=False), model)
    export_png(context, number, {"initial": initial})
    return context.folder.path("png", "initial")
