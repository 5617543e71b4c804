"""A run: the steps in their order, each given what the one before it committed."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from datus2_ray.commands.plan import plan_run, see_backbone, see_weights
from datus2_ray.config.load import RunConfig
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.session import start_ray
from datus2_ray.store import storage
from datus2_ray.store.weights_cache import local_spec
from datus2_ray.version import VERSION


def run(config: RunConfig) -> dict[str, Any]:
    """Find segments and classes in the images of a source, write their masks, score them, and report.

    Every step whose settings and input are unchanged is taken from the run folder; an interrupted one goes on.

    Parameters
    ----------
    config : RunConfig
        Source, run folder and settings.

    Returns
    -------
    dict
        What ``summary.json`` holds: counts, seconds a step, and the scores where there is ground truth.

    Raises
    ------
    DatusError
        Something that the message explains in one line.
    """
    # Imported here and below: timm, torch and Ray Data take seconds, and a wrong flag should be answered at once.
    # What cannot run is refused before any of it, and before Ray starts.
    plan = plan_run(config)
    see_weights(config)

    from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE, describe_weights, parse_spec

    spec = config.backbone or DEFAULT_BACKBONE
    fetched = local_spec(spec)
    if fetched != spec:
        see_backbone(config, fetched)  # of others see_weights has seen to it
    backbone = parse_spec(fetched)
    named = config.discover.cnn if config.discover.descriptor == "cnn" else None
    cnn = parse_spec(local_spec(named)) if named else None
    context = RunContext.open(config)
    if not context.is_finished(config):
        context.folder.unfinish()
    start_ray(config.no_progress_seconds)

    from datus2_ray.report.html import write_report
    from datus2_ray.stages.cluster.baseline import baseline
    from datus2_ray.stages.cluster.cluster import cluster
    from datus2_ray.stages.discover.discover import discover
    from datus2_ray.stages.evaluate import evaluate
    from datus2_ray.stages.export import export_png
    from datus2_ray.stages.ingest.ingest import ingest
    from datus2_ray.stages.label.label import label
    from datus2_ray.stages.predict.predict import predict
    from datus2_ray.stages.refine.refine import refine
    from datus2_ray.stages.sample.sample import choose

    context.events.open("run", source=config.source, preset=config.preset, seed=config.seed)
    images = ingest(context, listing=plan.source)
    names = images.facts["classes"]
    labelled = images.facts["labelled"] > 0
    score_tokens = labelled and config.evaluate.token_kmeans
    context, clusters = choose(context, images, config.clusters or len(names) or None)
    segments = discover(context, images, keep_tokens=score_tokens)
    centroids = cluster(context, segments, clusters)
    initial = label(context, segments, context.folder)
    masks = {"initial": initial}
    refinement = refine(context, clusters, initial.fingerprint) if config.refine.enabled else None
    if refinement is not None and "skipped" not in refinement.facts:
        masks["refined"] = predict(context, images, refinement)
    # What an earlier run with other settings left, and this one does not make, must not pass for its result.
    unmade = {
        "sample": config.discover.resolution != "auto" and (config.clusters or names),
        "masks/refined": "refined" not in masks,
        "evaluate": not labelled,
        "png": not config.save_png,
    }
    for stage in (stage for stage, is_unmade in unmade.items() if is_unmade):
        context.folder.discard(stage)
    for name, stage in (
        ("quarantine/sample.parquet", "sample"),
        ("quarantine/predict.parquet", "masks/refined"),
        ("quarantine/evaluate.parquet", "evaluate"),
        ("metrics.json", "evaluate"),
        ("quarantine/export.parquet", "png"),
    ):
        if unmade[stage]:
            storage.remove(context.folder.path(name))
    metrics = None
    if labelled:
        if score_tokens:
            baseline(context, segments, clusters)
        metrics = evaluate(context, names, clusters, masks)
    if config.save_png:
        export_png(context, clusters, masks)
    if context.is_finished(config) and not context.events.grew:
        summary: dict[str, Any] = storage.read_json(context.folder.path("summary.json"))
        return summary
    summary = {
        "images": images.rows_out,
        "quarantined": count_quarantined(context),
        "segments": centroids.facts["segments"],
        "clusters": clusters,
        "resolution": context.config.discover.resolution,
        "backbone": describe_weights(backbone),
        "cnn": describe_weights(cnn) if cnn else None,
        "refinement": refinement.facts if refinement else {"skipped": "switched off (--no-refine)"},
        "seconds": {stage: round(seconds, 2) for stage, seconds in context.events.stage_seconds().items()},
        "versions": {"datus2-ray": VERSION, **{name: version(name) for name in ("ray", "torch", "timm", "numpy")}},
        "machine": {"system": platform.platform(), "processors": os.cpu_count()},
        "metrics": metrics,
    }
    storage.write_json(context.folder.path("config.json"), config.model_dump(mode="json"))
    storage.write_json(context.folder.path("summary.json"), summary)
    write_report(context.folder)
    return summary


def count_quarantined(context: RunContext) -> int:
    """Count the images that some step of the run could not use."""
    folder = context.folder.path("quarantine")
    files = [entry.path for entry in storage.list_files(folder)]
    return sum(storage.count_rows(storage.join(folder, file)) for file in files if file.endswith(".parquet"))
