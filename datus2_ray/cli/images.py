"""Commands that read a source of images: run, plan, ingest, pretrain, predict, demo."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from datus2_ray.cli.flags import Debug, Device, IdColumn, ImageColumn, Out, option, takes_settings
from datus2_ray.config import RunConfig, load


@takes_settings()
def run(config: RunConfig) -> None:
    """Find segments and classes in the images of SOURCE; write masks, scores and a report to the run folder."""
    from datus2_ray.cli.terminal import print_summary
    from datus2_ray.commands.run import run as run_pipeline

    print_summary(run_pipeline(config), config.out)


@takes_settings()
def plan(config: RunConfig) -> None:
    """Show what `run` with the same flags would put on this cluster, or why it cannot run there; run nothing."""
    from datus2_ray.cli.terminal import print_plan
    from datus2_ray.commands.plan import plan_run
    from datus2_ray.commands.weights import check_weights

    planned = plan_run(config)
    check_weights(config)
    print_plan(planned)


@takes_settings(
    "preset", "backbone", "clusters", "device", "seed", "no_refine", "image_column", "id_column", "mask_column",
    "ignore_id", "bands", "protocol", "tracker",
    out=Annotated[str, typer.Option("--out", help="Folder for the shards; a local path or s3:// URI.")],
)  # fmt: skip
def ingest(config: RunConfig) -> None:
    """Check the images of SOURCE and pack them, with their ground truth, into Parquet shards for `datus2 run`."""
    from datus2_ray.commands.ingest import ingest as ingest_images

    commit = ingest_images(config)
    refused = f", {commit.rows_quarantined:,} in quarantine" if commit.rows_quarantined else ""
    unusable = sum(commit.facts.unusable.values())
    masks = f", {unusable:,} masks that cannot be used (column mask_fault)" if unusable else ""
    typer.echo(f"shards: {commit.uri}\n{commit.rows_out:,} images in {len(commit.parts):,} shards{refused}{masks}")


@takes_settings(
    "preset", "clusters", "no_refine", "mask_column", "ignore_id", "protocol",
    backbone=Annotated[str | None, typer.Option(help="Backbone to go on from; default from scratch.")],
)  # fmt: skip
def pretrain(config: RunConfig) -> None:
    """Train a backbone on the images of SOURCE, without labels: a safetensors file for --backbone."""
    from datus2_ray.commands.pretrain import pretrain as pretrain_backbone

    commit = pretrain_backbone(config)
    rank = commit.facts.effective_rank
    scored = "" if rank is None else f", effective rank {rank:.1f} (no labels; higher is better)"
    typer.echo(f"backbone: {commit.path('backbone.safetensors')}\nloss {commit.facts.loss:.3f}{scored}")


def predict(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    source: Annotated[
        str, typer.Argument(metavar="NEW_IMAGES", help="Folder or shards of images that the run never saw.")
    ],
    out: Annotated[str, typer.Option("--out", help="Folder for the masks.")],
    limit: Annotated[int | None, option("--limit", "limit", min=1)] = None,
    max_error_rate: Annotated[float, option("--max-error-rate", "max_error_rate", min=0, max=1)] = 0.05,
    image_column: ImageColumn = None,
    id_column: IdColumn = None,
    device: Device = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="How new images are read, such as ingest.max_megapixels=200.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Label new images with the clusters of a finished run, without ground truth."""
    from datus2_ray.cli.terminal import print_warnings
    from datus2_ray.commands.evaluate import read_summary
    from datus2_ray.commands.predict import predict as predict_images

    print_warnings(read_summary(run_folder))
    columns = {"image_column": image_column, "id_column": id_column}
    pictures = predict_images(
        run_folder,
        source,
        out,
        limit=limit,
        max_error_rate=max_error_rate,
        device=device,
        columns=columns,
        assignments=assignments or (),
    )
    typer.echo(f"masks: {pictures}")


def demo(
    out: Out = "demo",
    images: Annotated[int, typer.Option(min=2, help="Scenes to render.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes and of the runs.")] = 0,
    debug: Debug = False,
) -> None:
    """Render scenes with exact masks and run every step on them, by the paper's method and by ours: no download."""
    from pathlib import Path

    from datus2_ray.cli.terminal import print_summary
    from datus2_ray.commands.run import run as run_pipeline
    from datus2_ray.demo.write import write_demo
    from datus2_ray.store import storage

    folder, paper, best = (str(Path(storage.absolute(out)) / name) for name in (f"scenes-{seed}", "paper", "run"))
    write_demo(Path(folder), images, seed)
    scenes: dict[str, Any] = {"source": folder, "dataset": "demo", "seed": seed, "limit": images}
    for config in (
        load({**scenes, "out": paper, "no_refine": True}, preset="paper"),
        load({**scenes, "out": best}),
    ):
        print_summary(run_pipeline(config), config.out)
    from datus2_ray.cli.runs import report

    report(best, beside=paper)
