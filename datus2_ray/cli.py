"""The command line: commands and nothing else."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any, get_args

import typer

from datus2_ray import config as configuration
from datus2_ray.errors import DatusError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segments and classes in images without a single label: DatUS² on Ray.",
)


def _help(field: str) -> str:
    return str(configuration.RunConfig.model_fields[field].description)


def _one_of_devices(name: str | None) -> str | None:
    known = get_args(configuration.RunConfig.model_fields["device"].annotation)
    if name is not None and name not in known:
        raise UsageError(f"--device {name}: there are {', '.join(known)}")
    return name


Source = Annotated[str, typer.Argument(help="Folder of images or data-set root; a local path or s3:// URI.")]
Out = Annotated[str, typer.Option("--out", help="Run folder; a local path or s3:// URI.")]
Config = Annotated[str | None, typer.Option("--config", help="YAML file of settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="stage.key=value; may be given again.")]
Dataset = Annotated[str | None, typer.Option("--dataset", help=_help("dataset"))]
Split = Annotated[str | None, typer.Option("--split", help=_help("split"))]
Preset = Annotated[str, typer.Option("--preset", help="Preset that the settings start from: paper or demo.")]
Backbone = Annotated[str | None, typer.Option("--backbone", help=_help("backbone"))]
Clusters = Annotated[int | None, typer.Option("--clusters", help=_help("clusters"))]
Device = Annotated[
    str | None, typer.Option("--device", metavar="[auto|cpu|cuda]", help=_help("device"), callback=_one_of_devices)
]
Seed = Annotated[int | None, typer.Option("--seed", help=_help("seed"))]
Limit = Annotated[int | None, typer.Option("--limit", help=_help("limit"))]
MaxErrorRate = Annotated[float | None, typer.Option("--max-error-rate", help=_help("max_error_rate"))]
NoRefine = Annotated[bool, typer.Option("--no-refine", help="Stop at the initial masks.")]
SavePng = Annotated[bool, typer.Option("--save-png", help=_help("save_png"))]
Debug = Annotated[bool, typer.Option("--debug", help="Show Python's trace of an error.")]


@app.command()
def run(
    source: Source,
    out: Out,
    dataset: Dataset = None,
    split: Split = None,
    preset: Preset = "paper",
    backbone: Backbone = None,
    clusters: Clusters = None,
    device: Device = None,
    config: Config = None,
    assignments: Set = None,
    seed: Seed = None,
    limit: Limit = None,
    max_error_rate: MaxErrorRate = None,
    no_refine: NoRefine = False,
    save_png: SavePng = False,
    debug: Debug = False,
) -> None:
    """Find segments and classes in the images of SOURCE; write masks, scores and a report to the run folder."""
    flags: dict[str, Any] = {
        "source": source, "out": out, "dataset": dataset, "split": split, "backbone": backbone, "clusters": clusters,
        "device": device, "seed": seed, "limit": limit, "max_error_rate": max_error_rate, "save_png": save_png or None,
        "refine": {"enabled": False} if no_refine else None,
    }  # fmt: skip
    settings = configuration.load(flags, preset=preset, config_file=config, assignments=tuple(assignments or ()))

    from datus2_ray.pipeline import run as run_pipeline
    from datus2_ray.report.terminal import print_summary

    print_summary(run_pipeline(settings), settings.out)


@app.command()
def plan(
    source: Source,
    out: Out,
    dataset: Dataset = None,
    split: Split = None,
    preset: Preset = "paper",
    backbone: Backbone = None,
    clusters: Clusters = None,
    device: Device = None,
    config: Config = None,
    assignments: Set = None,
    seed: Seed = None,
    limit: Limit = None,
    max_error_rate: MaxErrorRate = None,
    no_refine: NoRefine = False,
    save_png: SavePng = False,
    debug: Debug = False,
) -> None:
    """Say what `run` with the same flags would put on this cluster, or why it cannot run there; does none of it."""
    flags: dict[str, Any] = {
        "source": source, "out": out, "dataset": dataset, "split": split, "backbone": backbone, "clusters": clusters,
        "device": device, "seed": seed, "limit": limit, "max_error_rate": max_error_rate, "save_png": save_png or None,
        "refine": {"enabled": False} if no_refine else None,
    }  # fmt: skip
    settings = configuration.load(flags, preset=preset, config_file=config, assignments=tuple(assignments or ()))

    from datus2_ray.plan import plan_run, see_weights
    from datus2_ray.report.terminal import print_plan

    planned = plan_run(settings)
    see_weights(settings)
    print_plan(planned)


@app.command()
def demo(
    out: Out = "demo",
    images: Annotated[int, typer.Option(min=2, help="Scenes to render.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help=_help("seed"))] = 0,
    debug: Debug = False,
) -> None:
    """Render scenes with exact masks and run every step on them: nothing to download."""
    from pathlib import Path

    from datus2_ray.datasets.demo import write_demo

    folder = Path(out) / f"scenes-{seed}"
    write_demo(folder, images, seed)
    run(source=str(folder), out=str(Path(out) / "run"), dataset="demo", preset="demo", seed=seed, limit=images)


@app.command()
def predict(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    source: Annotated[str, typer.Argument(metavar="NEW_IMAGES", help="Folder of images that the run never saw.")],
    out: Annotated[str, typer.Option("--out", help="Folder for the masks.")],
    limit: Annotated[int | None, typer.Option(min=1, help=_help("limit"))] = None,
    max_error_rate: Annotated[float, typer.Option(min=0, max=1, help=_help("max_error_rate"))] = 0.05,
    device: Device = None,
    debug: Debug = False,
) -> None:
    """Label new images with the clusters of a finished run, without ground truth."""
    from datus2_ray import storage
    from datus2_ray.prediction import predict as predict_images
    from datus2_ray.report.terminal import print_warnings

    print_warnings(storage.read_json(storage.join(run_folder, "summary.json")))
    pictures = predict_images(run_folder, source, out, limit=limit, max_error_rate=max_error_rate, device=device)
    typer.echo(f"masks: {pictures}")


@app.command()
def pretrain(
    source: Source,
    out: Out,
    dataset: Dataset = None,
    split: Split = None,
    backbone: Annotated[str | None, typer.Option(help="Backbone to go on from; default from scratch.")] = None,
    device: Device = None,
    config: Config = None,
    assignments: Set = None,
    seed: Seed = None,
    limit: Limit = None,
    max_error_rate: MaxErrorRate = None,
    debug: Debug = False,
) -> None:
    """Train a backbone on the images of SOURCE, without labels: a safetensors file for --backbone."""
    flags = {
        "source": source, "out": out, "dataset": dataset, "split": split, "backbone": backbone, "device": device,
        "seed": seed, "limit": limit, "max_error_rate": max_error_rate,
    }  # fmt: skip
    settings = configuration.load(flags, config_file=config, assignments=tuple(assignments or ()))

    from datus2_ray.pretraining import pretrain as pretrain_backbone

    file, commit = pretrain_backbone(settings)
    rank = commit.facts["effective_rank"]
    scored = "" if rank is None else f", effective rank {rank:.1f} (no labels; higher is better)"
    typer.echo(f"backbone: {file}\nloss {commit.facts['loss']:.3f}{scored}")


@app.command()
def evaluate(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    out: Annotated[str | None, typer.Option("--out", help="JSON file for the scores of several runs.")] = None,
    debug: Debug = False,
) -> None:
    """Print the scores of a finished run; of several (seeds, say) their mean and standard deviation."""
    from rich.console import Console

    from datus2_ray import storage
    from datus2_ray.core.seed_statistics import over_seeds
    from datus2_ray.report.terminal import print_summary, seeds_table

    summaries = [storage.read_json(storage.join(run, "summary.json")) for run in runs]
    if len(runs) == 1:
        print_summary(summaries[0], runs[0])
        return
    unscored = [run for run, summary in zip(runs, summaries, strict=True) if summary["metrics"] is None]
    if unscored:
        raise UsageError(f"{unscored[0]} has no scores: its images have no ground truth")
    scores = over_seeds([summary["metrics"] for summary in summaries])
    Console(highlight=False).print(seeds_table(scores))
    if out is not None:
        storage.write_json(out, scores)


@app.command()
def status(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    debug: Debug = False,
) -> None:
    """Say what of a run is done, begun, or not begun."""
    from rich.console import Console

    from datus2_ray import storage
    from datus2_ray.report.terminal import status_table
    from datus2_ray.run_folder import RunFolder
    from datus2_ray.status import survey

    Console(highlight=False).print(status_table(survey(RunFolder(storage.absolute(run_folder)))))


@app.command()
def report(out: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")], debug: Debug = False) -> None:
    """Write the report of a finished run again."""
    from datus2_ray.report.html import write_report
    from datus2_ray.run_folder import RunFolder

    typer.echo(write_report(RunFolder(out)))


@app.command()
def doctor(
    source: Annotated[str | None, typer.Option("--source", help="Folder or s3:// URI to be listed.")] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", help="Weights to be loaded, as for run.")] = None,
    debug: Debug = False,
) -> None:
    """Check Ray, memory, GPUs, storage and weights, and say what to do; exit code 1 where a run cannot work."""
    from datus2_ray.doctor import Subject, diagnose
    from datus2_ray.report.terminal import print_findings

    findings = diagnose(Subject(source, backbone))
    print_findings(findings)
    if any(finding.state == "failure" for _, finding in findings):
        raise typer.Exit(1)


@app.command()
def settings() -> None:
    """List every setting with its default, as a Markdown page."""
    from datus2_ray.settings_page import settings_page

    typer.echo(settings_page(), nl=False)


def main() -> None:
    """Run the command line; an error is one line and an exit code, a trace only with ``--debug``."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        known = isinstance(error, DatusError)
        text = str(error) if known else f"{type(error).__name__}: {' '.join(str(error).split())}; --debug shows where"
        print(f"error: {text}", file=sys.stderr)
        if isinstance(error, UsageError):
            command = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "run"
            print(f"see `datus2 {command} --help`", file=sys.stderr)
        raise SystemExit(error.exit_code if isinstance(error, DatusError) else 1) from None
