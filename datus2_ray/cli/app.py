"""The commands of the command line."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer

from datus2_ray.cli.advice import fit_advice
from datus2_ray.cli.flags import (
    SETTING_OF,
    Debug,
    Device,
    IdColumn,
    ImageColumn,
    Out,
    numbers,
    option,
    shares,
    takes_settings,
)
from datus2_ray.config import RunConfig, load
from datus2_ray.errors import DatusError, UsageError

#: Characters that are shown of an error that is not ours.
MAX_TEXT = 500

EXPERIMENTS_HELP = (
    "presets, ablation, clusters, names, resolution, patch-size, data-size, dedicated, backbones, or paper: all of the "
    "paper's experiments and questions, with a page."
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segments and classes in images without a single label: DatUS² on Ray.",
)


@app.command()
@takes_settings()
def run(config: RunConfig) -> None:
    """Find segments and classes in the images of SOURCE; write masks, scores and a report to the run folder."""
    from datus2_ray.cli.terminal import print_summary
    from datus2_ray.commands.run import run as run_pipeline

    print_summary(run_pipeline(config), config.out)


@app.command()
@takes_settings()
def plan(config: RunConfig) -> None:
    """Show what `run` with the same flags would put on this cluster, or why it cannot run there; run nothing."""
    from datus2_ray.cli.terminal import print_plan
    from datus2_ray.commands.plan import plan_run
    from datus2_ray.commands.weights import check_weights

    planned = plan_run(config)
    check_weights(config)
    print_plan(planned)


@app.command()
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


@app.command()
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


@app.command()
@takes_settings(
    "no_refine",
    out=Annotated[str, typer.Option("--out", help="Folder for runs, table, plot and CSV; a local path or s3:// URI.")],
)  # fmt: skip
def experiment(
    config: RunConfig,
    name: Annotated[str, typer.Argument(help=EXPERIMENTS_HELP)],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per variant, from --seed on.")] = 3,
    values: Annotated[str | None, typer.Option(help="Points of a sweep, such as 6,9,12.")] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Refine the masks of every run.")] = False,
    backbones: Annotated[
        list[str] | None,
        typer.Option(
            help="Of backbones: what --backbone takes, or FILE@-3 for a block; of paper: one with patches of another "
            "size; once for each."
        ),
    ] = None,
) -> None:
    """Compare variants of a preset on the images of SOURCE, over several seeds: what each part brings and costs."""
    points = numbers("--values", values)
    if name == "backbones":
        _compare_backbones(config, backbones or [], seeds, refine, values)
        return
    if backbones and name != "paper":
        raise UsageError(f"--backbones are those of `datus2 experiment backbones` and `paper`, not of {name}")
    if not refine:
        config = config.model_copy(update={"refine": config.refine.model_copy(update={"enabled": False})})

    from datus2_ray.commands.experiments import answer
    from datus2_ray.commands.experiments.run import run_experiment

    def note(line: str) -> None:
        typer.echo(f"=== {line}")

    if name == "paper":
        from datus2_ray.commands.experiments.paper import run_paper, write_paper

        if points:
            raise UsageError("--values are those of a sweep; `experiment paper` has none")
        typer.echo(write_paper(config, run_paper(config, seeds, backbones or (), note)))
        return
    results = run_experiment(name, config, seeds, points, note)
    table, uris = answer.write_answer(name, results, config.out)
    typer.echo(table + "\n".join(uris))


def _compare_backbones(config: RunConfig, backbones: list[str], seeds: int, refine: bool, values: str | None) -> None:
    """Run `experiment backbones`: the masks of the preset are refined as it says, those of `paper` if asked for."""
    from datus2_ray.commands.experiments.backbones import run_backbones
    from datus2_ray.commands.experiments.backbones_answer import write_backbones

    if values:
        raise UsageError("--values are those of a sweep; backbones have none")
    results = run_backbones(config, backbones, seeds, refine, lambda line: typer.echo(f"=== {line}"))
    table, uris = write_backbones(results, config.out)
    typer.echo(table + "\n".join(uris))


@app.command()
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
    report(best, beside=paper)


@app.command()
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
    from datus2_ray.commands.predict import predict as predict_images
    from datus2_ray.store import storage

    print_warnings(storage.read_json(storage.join(run_folder, "summary.json")))
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


@app.command()
def export(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run, or of predicted masks.")],
    format_name: Annotated[str, option("--format", "export.format")],
    masks: Annotated[str | None, option("--masks", "export.masks")] = None,
    instances: Annotated[bool, option("--instances", "export.instances")] = False,
    min_area: Annotated[int, option("--min-area", "export.min_area")] = 0,
    min_confidence: Annotated[float, option("--min-confidence", "export.min_confidence")] = 0.0,
    splits: Annotated[str | None, option("--splits", "export.splits", metavar="train=0.8,val=0.2")] = None,
    image_url: Annotated[str, option("--image-url", "export.image_url")] = "",
    debug: Debug = False,
) -> None:
    """Write the masks of a finished run in a format that other tools read."""
    from datus2_ray.commands.export import export as export_masks

    given = {"splits": shares("--splits", splits)} if splits else {}
    objects = {"masks": masks, "instances": instances, "min_area": min_area, "min_confidence": min_confidence}
    typer.echo(export_masks(run_folder, format_name, image_url=image_url, **objects, **given))


@app.command(name="import")
def import_masks(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    coco: Annotated[str | None, typer.Option("--coco", help="COCO file of annotations.")] = None,
    cvat: Annotated[str | None, typer.Option("--cvat", help='Zip file of CVAT, "Segmentation mask 1.1".')] = None,
    debug: Debug = False,
) -> None:
    """Take masks that were drawn or corrected elsewhere as names of clusters and segments; score the run by them."""
    from datus2_ray.cli.terminal import print_imported
    from datus2_ray.commands.annotations import import_annotations

    if (coco is None) == (cvat is None):
        raise UsageError("give the file to import: --coco FILE or --cvat FILE")
    print_imported(import_annotations(run_folder, str(coco or cvat), "coco" if coco else "cvat"))


@app.command()
def relabel(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    clusters: Annotated[int, option("--clusters", "clusters")],
    debug: Debug = False,
) -> None:
    """Write masks, scores and report of a finished run for another number of clusters, read off its tree."""
    from datus2_ray.cli.terminal import print_summary
    from datus2_ray.commands.relabel import relabel as relabel_run

    print_summary(relabel_run(run_folder, clusters), run_folder)


@app.command()
def explore(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of this machine; default 8237 or a free one.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only show the address.")] = False,
    debug: Debug = False,
) -> None:
    """Look at the clusters of a finished run in a browser: name, join, split, correct, teach."""
    import webbrowser

    from datus2_ray.commands.explore import explore as serve

    def ready(address: str) -> None:
        typer.echo(f"explorer: {address}\nCtrl+C ends it; all that you did is saved")
        if not no_browser:
            webbrowser.open(address)

    serve(run_folder, port, ready)


@app.command()
def name(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    file: Annotated[
        str | None, typer.Option("--file", help="YAML file of names to take, as RUN/names.yaml is.")
    ] = None,
    carry_over: Annotated[
        bool, typer.Option("--carry-over", help="Map names of an earlier clustering to the current one by overlap.")
    ] = False,
    masks: Annotated[bool, typer.Option("--masks", help="Write the masks of classes, and score them.")] = False,
    teach: Annotated[
        bool, typer.Option("--teach", help="Teach a layer the named segments; write its masks, with confidence, too.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Show how far the clusters of a finished run are named; take names from a file, write masks of classes."""
    from rich.console import Console

    from datus2_ray.cli.terminal import names_table
    from datus2_ray.commands import name as naming
    from datus2_ray.commands.carry_over import carry_over_names

    if carry_over:
        typer.echo("\n".join(carry_over_names(run_folder)))
    if file is not None:
        naming.take_names(run_folder, file)
    typer.echo(naming.naming_progress(run_folder))
    if masks or teach:
        summary = naming.name(run_folder, teach=teach)
        if scores := (summary["metrics"] or {}).get("names"):
            Console(highlight=False).print(names_table(scores))


@app.command()
def evaluate(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    out: Annotated[str | None, typer.Option("--out", help="JSON file for the scores of several runs.")] = None,
    debug: Debug = False,
) -> None:
    """Print the scores of a finished run, or mean and standard deviation over several, such as seeds."""
    from rich.console import Console

    from datus2_ray.cli.terminal import print_summary, seeds_table
    from datus2_ray.commands.evaluate import read_metrics, read_summary
    from datus2_ray.core.score.seeds import over_seeds
    from datus2_ray.store import storage

    if len(runs) == 1:
        print_summary(read_summary(runs[0]), runs[0])
        return
    scores = over_seeds(read_metrics(runs))
    Console(highlight=False).print(seeds_table(scores))
    if out is not None:
        storage.write_json(out, scores)


@app.command()
def status(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    debug: Debug = False,
) -> None:
    """Show which stages of a run are done, begun, or not begun."""
    from rich.console import Console

    from datus2_ray.cli.terminal import status_table
    from datus2_ray.commands.status import read_status
    from datus2_ray.store import storage
    from datus2_ray.store.run_folder import RunFolder

    folder = storage.absolute(run_folder)
    Console(highlight=False).print(status_table(read_status(RunFolder(folder))))
    typer.echo(f"a result lies in {folder}/STAGE/RESULT/")


@app.command()
def clean(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    debug: Debug = False,
) -> None:
    """Remove from a run folder what is not current: results of other settings, rests of killed writes."""
    from datus2_ray.cli.terminal import size
    from datus2_ray.commands.clean import clean as clean_folder
    from datus2_ray.store import storage

    found = clean_folder(storage.absolute(run_folder), dry_run)
    for item in found:
        typer.echo(f"{size(item.bytes):>10}  {item.uri}")
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{len(found)} results and files, {size(sum(item.bytes for item in found))}, {verb}")


@app.command(context_settings={"allow_interspersed_args": False})
def submit(
    line: Annotated[list[str], typer.Argument(metavar="COMMAND ...", help="run, ingest, ... with its flags.")],
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="URL of the cluster's dashboard.")
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[str, typer.Option(help="Clone of the project that is sent, or the URI of a zip.")] = ".",
    runtime_env: Annotated[str | None, typer.Option(help="YAML file: env_vars, pip and so on for the job.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not follow the job's log to its end.")] = False,
    debug: Debug = False,
) -> None:
    """Run COMMAND as a job of a Ray cluster and follow its log; given again, follow the same job, or go on."""
    from datus2_ray.commands import submit

    job = submit.read_command(app, line)
    job.fingerprint()
    environment = submit.read_runtime_env(working_dir, runtime_env)
    client = submit.connect(address)
    submission_id, submitted = submit.start(client, job, environment)
    typer.echo(f"job {submission_id}: {'submitted' if submitted else 'runs already'}")
    if not no_wait:
        submit.follow(client, submission_id)


@app.command()
def report(
    out: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    beside: Annotated[str | None, typer.Option(help="Another run over the same images, to show beside it.")] = None,
    debug: Debug = False,
) -> None:
    """Write the report of a finished run again, optionally beside another run."""
    from datus2_ray.report.html import write_report
    from datus2_ray.store.run_folder import RunFolder

    typer.echo(write_report(RunFolder(out), RunFolder(beside) if beside else None))


@app.command()
def doctor(
    source: Annotated[str | None, typer.Option("--source", help="Folder or s3:// URI to list.")] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", help="Weights to load, as for run.")] = None,
    debug: Debug = False,
) -> None:
    """Check Ray, memory, GPUs, storage and weights, and print what to do; exit code 1 if a run cannot work."""
    from datus2_ray.cli.terminal import print_findings
    from datus2_ray.commands.doctor import diagnose

    findings = diagnose(source, backbone)
    print_findings(findings)
    if any(finding.state == "failure" for _, finding in findings):
        raise typer.Exit(1)


@app.command()
def settings(
    key: Annotated[str | None, typer.Argument(help="A setting, such as discover.place, or a stage.")] = None,
    debug: Debug = False,
) -> None:
    """Show a setting or those of a stage, with defaults and help; without KEY, all of them as a Markdown page."""
    from datus2_ray.cli.settings_page import settings_page
    from datus2_ray.config.catalogue import find_settings

    typer.echo(settings_page() if key is None else "\n".join(map(str, find_settings(key))), nl=key is not None)


def flags_of(command: str) -> set[str]:
    """Return the flags of a command; none of one that there is not."""
    group = typer.main.get_command(app)
    found = getattr(group, "commands", {}).get(command)
    return {flag for parameter in found.params for flag in parameter.opts} if found else set()


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="A data set, as for --dataset.")] = None,
    debug: Debug = False,
) -> None:
    """Show a data set: classes, splits, origin, licence, folders; without NAME, all of them as a Markdown page."""
    from datus2_ray.cli.datasets_page import datasets_page, describe_dataset

    typer.echo(datasets_page() if name is None else describe_dataset(name), nl=name is not None)


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
        command = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "run"
        print(f"error: {fit_advice(_one_line(error), flags_of(command), SETTING_OF)}", file=sys.stderr)
        if isinstance(error, UsageError):
            print(f"see `datus2 {command} --help`", file=sys.stderr)
        raise SystemExit(error.exit_code if isinstance(error, DatusError) else 1) from None


def _one_line(error: Exception) -> str:
    """Return what the terminal shows of an error: never the trace that Ray's errors have for a message."""
    if isinstance(error, DatusError):
        return str(error)
    if "ray" in sys.modules:
        from ray.exceptions import RayError

        from datus2_ray.engine.failure import cause_of

        if isinstance(error, RayError):
            return str(cause_of(error))
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:MAX_TEXT]}{'…' * (len(text) > MAX_TEXT)}; --debug shows where"
